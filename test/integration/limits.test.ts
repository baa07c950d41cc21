/** Devices of config.json and the place of the cgroup, on cgroup v1 and v2. What limits do is in cgroup/modes. */
import { existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { LinuxResources } from "../../src/spec/types.ts";
import { type Bundle, type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { cgroupOf } from "../helpers/cgroup.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { cgroupLayout, needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runBundle,
  runOk,
  stateOf,
} from "../helpers/runtime.ts";
import { TEST_PREFIX } from "../helpers/scratch.ts";

const on = (...controllers: string[]) => needs({ root: true, cgroup: ["v1", "v2"], controllers });
/** crun refuses a hybrid layout; tsrun and runc do not. */
const own = (...controllers: string[]) => needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

function limited(script: string, resources: LinuxResources, edit?: (spec: FullSpec) => void): Bundle {
  return makeBundle({
    args: ["sh", "-c", script],
    edit: (spec) => {
      spec.linux.resources = { ...spec.linux.resources, ...resources };
      edit?.(spec);
    },
  });
}

describe("devices", () => {
  // A controller of v1; on v2 a program of the kernel's.
  const onDevices = cgroupLayout() === "v2" ? on() : on("devices");
  const mknod = (spec: FullSpec) => {
    for (const set of ["bounding", "effective", "permitted"] as const)
      spec.process.capabilities?.[set]?.push("CAP_MKNOD");
  };

  onDevices("a device outside of the rules cannot be used, though its node can be made", () => {
    const script = "mknod /mem c 1 1; mknod /null c 1 3; echo x > /null && echo null; head -c 1 /mem";
    const result = runBundle(limited(script, {}, mknod));
    expect(result.stdout).toBe("null\n");
    expect(result.stderr).toContain("Operation not permitted");
  });

  onDevices("a device of the rules can be used as they say", () => {
    const devices = [
      { allow: false, access: "rwm" },
      { allow: true, type: "c", major: 1, minor: 11, access: "w" },
    ];
    const script = "mknod /kmsg c 1 11 2>/dev/null; (: > /kmsg) && echo writes; (: < /kmsg) || echo unreadable";
    expect(runBundle(limited(script, { devices }, mknod)).stdout).toBe("writes\nunreadable\n");
  });

  onDevices("of 4000 rules that allow and deny by turns each one holds, for exec and after an update, too", () => {
    const rules = Array.from({ length: 4000 }, (_, i) => ({ allow: i % 2 === 0, type: "c", major: i, minor: i }));
    const bundle = limited("sleep 3600", { devices: [{ allow: false, access: "rwm" }, ...rules] }, mknod);
    const { id } = startContainer(bundle);
    // No driver has them: who may open one is told that it is not there.
    const nodes = ["60 60", "61 61", "61 60", "3998 3998", "3999 3999", "3998 3997", "4000 4000"];
    const script = nodes.map((node) => `rm -f /node; mknod /node c ${node}; (: < /node)`).join("\n");
    const open = () => run(["exec", id, "sh", "-c", `${script}\n: > /dev/null && echo null`]);
    const verdicts = () => open().stderr.replace(/^sh: can't open \/node: /gm, "");
    const [there, denied] = ["No such device or address", "Operation not permitted"];
    const expected = `${[there, denied, denied, there, denied, denied, denied].join("\n")}\n`;
    expect(verdicts()).toBe(expected);
    runOk(["update", "--resources", "-", id], { input: JSON.stringify({ devices: [{ allow: true, access: "rwm" }] }) });
    expect(verdicts()).toBe(expected);
    expect(open().stdout).toBe("null\n");
    runOk(["delete", "--force", id]);
  });

  onDevices("a rule for one minor of all majors holds beside those for whole majors", () => {
    const rules = [
      { allow: false, access: "rwm" },
      { allow: true, type: "c", major: 60, access: "rw" },
      { allow: true, type: "c", minor: 77, access: "w" },
      { allow: true, type: "c", major: 62, access: "r" },
    ];
    const script = ["60 1", "61 77", "61 78", "62 77"]
      .map((node) => `mknod /node c ${node}; (: < /node) 2>&1; (: > /node) 2>&1; rm /node`)
      .join("\n");
    const { stdout } = runBundle(limited(script, { devices: rules }, mknod));
    const [there, denied] = ["No such device or address", "Operation not permitted"];
    expect(
      stdout
        .trim()
        .replace(/^.*\/node: /gm, "")
        .split("\n"),
    ).toEqual([...[there, there], ...[denied, there], ...[denied, denied], ...[there, there]]);
  });
});

describe("the cgroup itself", () => {
  on("pids")("limits hold before the process runs", () => {
    const script = "cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; true";
    const bundle = limited(script, { pids: { limit: 77 } }, (spec) => {
      spec.linux.namespaces?.push({ type: "cgroup" });
    });
    expect(runBundle(bundle).stdout).toBe("77\n");
  });

  own("pids")("cgroupsPath is where it is, and delete takes away what was made for it", () => {
    const bundle = sleepingBundle({
      edit: (spec) => {
        spec.linux.cgroupsPath = `/${TEST_PREFIX}-parent/below/${newId()}`;
      },
    });
    const { id } = startContainer(bundle);
    const dir = cgroupOf(id, "pids");
    expect(readFileSync(`/proc/${stateOf(id)?.pid}/cgroup`, "utf8")).toContain(bundle.spec.linux.cgroupsPath);
    expect(existsSync(dir)).toBe(true);
    runOk(["delete", "--force", id]);
    expect(existsSync(dir)).toBe(false);
  });

  own("pids")("a cgroup that is not empty is warned of, and who was in it outlives the container", () => {
    const first = startContainer(sleepingBundle());
    const path = readFileSync(`/proc/${stateOf(first.id)?.pid}/cgroup`, "utf8").match(/:pids:(.*)$|^0::(.*)$/m);
    const result = runBundle(
      limited("true", {}, (spec) => {
        spec.linux.cgroupsPath = path?.[1] ?? path?.[2] ?? "";
      }),
    );
    expect(result.code).toBe(0);
    expect(result.stderr).toContain("container's cgroup is not empty: 1 process(es) found");
    expect(stateOf(first.id)?.status).toBe("running");
    runOk(["delete", "--force", first.id]);
  });
});
