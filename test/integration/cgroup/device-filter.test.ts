/** Whatever device rules a config may have, the kernel's verifier takes the program, and it says what the rules say. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, rmdirSync } from "node:fs";
import { afterEach, describe, expect } from "vitest";
import { attachDeviceFilter } from "../../../src/cgroup/device-attach.ts";
import { deviceFilter } from "../../../src/cgroup/device-filter.ts";
import { deviceRules } from "../../../src/cgroup/device-rules.ts";
import type { LinuxDeviceCgroup } from "../../../src/spec/types.ts";
import { needs } from "../../helpers/needs.ts";
import { newName } from "./helpers.ts";

/** In a hybrid layout, too, the v2 hierarchy takes programs. */
const mount = /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1];
const made: string[] = [];

afterEach(() => {
  for (const dir of made.splice(0)) rmdirSync(dir);
});

/** What a shell in a cgroup with this filter is told when it opens character devices that no driver has. */
function opened(rules: readonly LinuxDeviceCgroup[], numbers: readonly string[]): string[] {
  const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1] ?? "/";
  const dir = `${mount}${own === "/" ? "" : own}/${newName()}`;
  mkdirSync(dir);
  made.push(dir);
  attachDeviceFilter(dir, deviceFilter(deviceRules(rules)));
  const tries = numbers.map((number) => `mknod $d/node c ${number}; (: < $d/node) 2>&1; rm $d/node`);
  const script = `echo 0 > ${dir}/cgroup.procs && d=$(mktemp -d) && { ${tries.join("; ")}; rmdir $d; }`;
  const { stdout } = spawnSync("/bin/busybox", ["sh", "-c", script], { encoding: "utf8" });
  return stdout
    .trim()
    .split("\n")
    .map((line) => line.replace(/^.*\/node: /, ""));
}

describe("device filters", () => {
  const v2 = needs({ root: true, cgroup: ["v2", "hybrid"], files: ["/bin/busybox"] });
  const [there, denied] = ["No such device or address", "Operation not permitted"];
  const list = (rule: (i: number) => Omit<LinuxDeviceCgroup, "allow"> & { allow?: boolean }) =>
    Array.from({ length: 4096 }, (_, i) => ({ allow: true, ...rule(i) }));

  v2("4096 rules that allow and deny by turns", () => {
    const rules = list((i) => ({ allow: i % 2 === 0, type: "c", major: 60 + (i >> 11), minor: i }));
    expect(opened(rules, ["60 0", "60 1", "60 2046", "61 2048", "61 2049", "62 0"])).toEqual([
      ...[there, denied, there],
      ...[there, denied, denied],
    ]);
  });

  v2("4096 rules for devices of both types, each of another major", () => {
    const rules = list((i) => ({ major: i, minor: 3 * i }));
    expect(opened(rules, ["60 180", "60 181", "61 180", "4095 12285", "4094 12285"])).toEqual([
      ...[there, denied, denied],
      ...[there, denied],
    ]);
  });

  v2("4096 rules for majors and for minors by turns, for reading and writing apart", () => {
    const access = ["r", "w", "m", "rw"];
    const rules = list((i) => ({
      allow: i % 3 !== 0,
      ...(i % 2 === 0 ? { major: i } : { minor: i }),
      access: access[(i >> 1) % 4] as string,
    }));
    // Of reading 64, 65 and 73 say yes, 72 and 81 no, 60 and 61 nothing; the later rule holds.
    expect(opened(rules, ["64 65", "72 65", "72 73", "64 81", "60 61"])).toEqual([
      ...[there, denied, there],
      ...[denied, denied],
    ]);
  });
});
