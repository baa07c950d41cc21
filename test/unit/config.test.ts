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

  test("the class of Kubernetes names the runtime of containerd and of CRI-O", () => {
    const handler = /^handler: (\S+)$/m.exec(text("engines/RuntimeClass.yaml"))?.[1];
    expect(text("engines/containerd.toml")).toContain(`.containerd.runtimes.${handler}]`);
    expect(text("engines/crio.conf")).toContain(`[crio.runtime.runtimes.${handler}]`);
  });
});

function text(name: string): string {
  return readFileSync(new URL(`../../config/${name}`, import.meta.url), "utf8");
}

function read(name: string): unknown {
  return JSON.parse(text(name));
}
