import { describe, expect, test } from "vitest";
import { refuseAnew } from "../../../src/cgroup/vacate.ts";

const request = { id: "c", rootless: false, hierarchies: { layout: "none" as const, v1: [], unified: undefined } };

describe("cgroup/vacate", () => {
  test("criu cannot make what systemd makes, nor what nobody makes", () => {
    refuseAnew(request);
    const systemd = { names: ["system.slice", "c.scope"] } as never;
    expect(() => refuseAnew({ ...request, systemd })).toThrow("made by systemd");
    expect(() => refuseAnew({ ...request, disabled: true })).toThrow("there is no cgroup to make");
  });
});
