import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type DefaultSpecOptions, defaultSpec } from "../../../src/spec/defaults.ts";
import { inspect } from "../../../src/spec/validate.ts";

const runcVersion = spawnSync("runc", ["--version"], { encoding: "utf8" });
const runc = runcVersion.status === 0 ? /runc version (1\.1)/.exec(runcVersion.stdout)?.[1] : undefined;

function runcSpec(...args: string[]): Record<string, unknown> {
  const dir = mkdtempSync(join(tmpdir(), "tsrun-spec-"));
  try {
    execFileSync("runc", ["spec", ...args], { cwd: dir });
    return JSON.parse(readFileSync(join(dir, "config.json"), "utf8"));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** What differs on purpose. */
const OURS = { ociVersion: "1.3.0", hostname: "tsrun" };

describe("spec/defaults", () => {
  test("is valid, without a warning", () => {
    for (const spec of [defaultSpec(), defaultSpec({ rootless: { uid: 1000, gid: 100 } })]) {
      expect(inspect(spec)).toEqual({ problems: [], warnings: [], spec });
    }
  });

  test("maps the one user and group of a rootless caller", () => {
    const { linux } = defaultSpec({ rootless: { uid: 1000, gid: 100 } });
    expect(linux?.uidMappings).toEqual([{ containerID: 0, hostID: 1000, size: 1 }]);
    expect(linux?.gidMappings).toEqual([{ containerID: 0, hostID: 100, size: 1 }]);
  });

  test("has a cgroup namespace where that is asked, for a rootless caller too", () => {
    const types = (options: DefaultSpecOptions) => defaultSpec(options).linux?.namespaces?.map(({ type }) => type);
    expect(types({ cgroupNamespace: true })).toEqual(["pid", "network", "ipc", "uts", "mount", "cgroup"]);
    const rootless = { uid: 1000, gid: 100 };
    expect(types({ cgroupNamespace: true, rootless })).toEqual(["pid", "ipc", "uts", "mount", "cgroup", "user"]);
    expect(types({ rootless })).toEqual(["pid", "ipc", "uts", "mount", "user"]);
  });

  test("is a fresh object each time", () => {
    defaultSpec().process?.args?.push("x");
    expect(defaultSpec().process?.args).toEqual(["sh"]);
  });

  test.skipIf(runc === undefined)("is what runc 1.1 writes (skipped without runc 1.1)", () => {
    expect(defaultSpec()).toEqual({ ...runcSpec(), ...OURS });
  });

  test.skipIf(runc === undefined)("is what runc 1.1 writes for rootless (skipped without runc 1.1)", () => {
    const uid = process.geteuid?.() ?? 0;
    const gid = process.getegid?.() ?? 0;
    expect(defaultSpec({ rootless: { uid, gid } })).toEqual({ ...runcSpec("--rootless"), ...OURS });
  });
});

test("ranges of a caller who is not root are mapped one after the other, after himself", () => {
  const uids = [
    { first: 100000, count: 65536 },
    { first: 300000, count: 10 },
  ];
  const { linux } = defaultSpec({ rootless: { uid: 1000, gid: 1001, ranges: { uids, gids: uids.slice(0, 1) } } });
  expect(linux?.uidMappings).toEqual([
    { containerID: 0, hostID: 1000, size: 1 },
    { containerID: 1, hostID: 100000, size: 65536 },
    { containerID: 65537, hostID: 300000, size: 10 },
  ]);
  expect(linux?.gidMappings?.map(({ hostID }) => hostID)).toEqual([1001, 100000]);
});
