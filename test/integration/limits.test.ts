/** Limits of config.json as a container meets them; the same tests on cgroup v1 and v2. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { LinuxResources } from "../../src/spec/types.ts";
import { type Bundle, type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { cgroupOf } from "../helpers/cgroup.ts";
import { createContainer, sleepingBundle, startContainer } from "../helpers/container.ts";
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
  until,
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

const MEGABYTE = 2 ** 20;

describe("memory", () => {
  const limit = 24 * MEGABYTE;

  on("memory")("a process that takes more than its limit is killed, one that takes less is not", () => {
    const take = (size: string) => `exec dd if=/dev/zero of=/dev/null bs=${size} count=1`;
    const resources = { memory: { limit, swap: limit } };
    expect(runBundle(limited(take("4M"), resources)).code).toBe(0);
    expect(runBundle(limited(take("64M"), resources)).code).toBe(137);
  });

  own("memory")("a container starts under a limit of two megabytes", () => {
    const resources = { memory: { limit: 2 * MEGABYTE, swap: 2 * MEGABYTE } };
    expect(runBundle(limited("exec true", resources)).code).toBe(0);
  });

  on("memory")("what exec runs is under the same limit", () => {
    const bundle = sleepingBundle({
      edit: (spec) => {
        spec.linux.resources = { memory: { limit, swap: limit } };
      },
    });
    const { id } = startContainer(bundle);
    expect(run(["exec", id, "dd", "if=/dev/zero", "of=/dev/null", "bs=64M", "count=1"]).code).toBe(137);
    expect(stateOf(id)?.status).toBe("running");
    runOk(["delete", "--force", id]);
  });
});

describe("pids", () => {
  const forks = "sleep 60 & sleep 60 & sleep 60 & sleep 60 & echo forked; kill -9 -1";

  on("pids")("no more processes are made than the limit says", () => {
    const few = runBundle(limited(forks, { pids: { limit: 3 } }));
    expect(few.stderr).toContain("can't fork");
    expect(runBundle(limited(forks, { pids: { limit: 30 } })).stdout).toBe("forked\n");
  });

  for (const limit of [1, 0]) {
    own("pids")(`a limit of ${limit} lets the first process in and no other`, () => {
      const result = runBundle(limited("echo first; sleep 0", { pids: { limit } }));
      expect(result.stdout).toBe("first\n");
      expect(runBundle(limited("sleep 0 & wait", { pids: { limit } })).stderr).toContain("can't fork");
    });
  }

  on("pids")("-1 is no limit", () => {
    const { id } = createContainer(limited("true", { pids: { limit: -1 } }));
    expect(readFileSync(join(cgroupOf(id, "pids"), "pids.max"), "utf8")).toBe("max\n");
    runOk(["delete", id]);
  });
});

describe("cpu", () => {
  on("cpu")("a quota throttles a busy process", async () => {
    const { id } = startContainer(limited("while :; do :; done", { cpu: { quota: 2000, period: 100000 } }));
    const throttled = () =>
      Number(/^nr_throttled (\d+)/m.exec(readFileSync(join(cgroupOf(id, "cpu"), "cpu.stat"), "utf8"))?.[1]);
    await until(() => throttled() > 0, "it is throttled");
    runOk(["delete", "--force", id]);
  });

  on("cpuset")("a cpuset is what the process may run on", () => {
    const result = runBundle(
      limited("grep Cpus_allowed_list /proc/self/status; nproc", { cpu: { cpus: "0", mems: "0" } }),
    );
    expect(result.stdout).toBe("Cpus_allowed_list:\t0\n1\n");
  });
});

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

  own("pids")("a limit that the kernel refuses is told with its file, and nothing is left", () => {
    const result = runBundle(limited("true", { cpu: { cpus: "9999" } }));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("cpuset.cpus");
    expect(result.stderr.toLowerCase()).not.toContain("no such file");
  });
});
