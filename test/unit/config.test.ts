import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { defaultSpec } from "../../src/spec/defaults.ts";

describe("config", () => {
  test("spec.json is what `tsrun spec` writes", () => {
    expect(read("spec.json")).toEqual(JSON.parse(JSON.stringify(defaultSpec())));
  });

  test("spec-rootless.json is what `tsrun spec --rootless` writes", () => {
    const rootless = { uid: 0, gid: 0 };
    expect(read("spec-rootless.json")).toEqual(JSON.parse(JSON.stringify(defaultSpec({ rootless }))));
  });
});

function read(name: string): unknown {
  return JSON.parse(readFileSync(new URL(`../../config/${name}`, import.meta.url), "utf8"));
}
