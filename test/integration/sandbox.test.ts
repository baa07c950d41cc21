/** The tests' own safety: what they run as root cannot write to the machine. */
import { spawnSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { needs } from "../helpers/needs.ts";
import { ROOT } from "../helpers/runtime.ts";

const SANDBOX = join(ROOT, "test/helpers/sandbox");

describe("the sandbox", () => {
  const root = needs({ root: true, sandbox: true });

  root("the host's directories are read-only, the repository too", () => {
    for (const dir of ["/", "/etc", "/usr", "/var", "/var/lib", "/root", "/home", "/opt", ROOT]) {
      const write = () => writeFileSync(join(dir, ".tsrun-sandbox-test"), "");
      expect(write, dir).toThrow(/EROFS/);
    }
  });

  root("what a runtime needs is writable and empty at first", () => {
    for (const dir of ["/tmp", "/run", "/var/tmp", "/var/lib/tsrun", "/dev/shm"]) {
      const path = join(dir, ".tsrun-sandbox-test");
      mkdirSync(path);
      rmSync(path, { recursive: true });
    }
  });

  root("it refuses to start where it would leave the system writable", () => {
    for (const cwd of ["/", "/etc", "/usr"]) {
      const result = spawnSync(SANDBOX, ["true"], { cwd, encoding: "utf8" });
      expect(result).toMatchObject({ status: 2, stderr: `sandbox: refuses to leave ${cwd} writable\n` });
    }
  });
});
