/** What the plan does for a user namespace: who sets the container up, and what only the host may do. */
import { describe, expect, test } from "vitest";
import { PlanBuilder } from "../../../src/plan/builder.ts";
import { setupIds } from "../../../src/plan/namespaces.ts";
import { planRaisedLimits } from "../../../src/plan/process.ts";
import type { ContainerSpec, Host, ResolvedProcess } from "../../../src/spec/container.ts";
import type { LinuxIDMapping } from "../../../src/spec/types.ts";

function containerWith(mappings: LinuxIDMapping[]): ContainerSpec {
  const process = { user: { uid: 1000, gid: 1001 } };
  return { uidMappings: mappings, gidMappings: mappings, spec: { process } } as unknown as ContainerSpec;
}

describe("plan/namespaces: setupIds", () => {
  test("root of the namespace sets the container up", () => {
    const mapping = { containerID: 0, hostID: 100000, size: 65536 };
    expect(setupIds(containerWith([mapping]))).toEqual({ uid: 0, gid: 0 });
  });

  test("the user of the process does where the mappings have no root", () => {
    const mapping = { containerID: 1000, hostID: 100000, size: 10 };
    expect(setupIds(containerWith([mapping]))).toEqual({ uid: 1000, gid: 1001 });
  });

  test("a namespace that is joined without its mappings has a root", () => {
    expect(setupIds(containerWith([]))).toEqual({ uid: 0, gid: 0 });
  });
});

describe("plan/process: planRaisedLimits", () => {
  const host = { hardLimits: { RLIMIT_NOFILE: 4096n, RLIMIT_CORE: 0n } } as unknown as Host;

  function raised(type: string, soft: number, hard: number) {
    const b = new PlanBuilder(3);
    planRaisedLimits(b, { rlimits: [{ type, soft, hard }] } as unknown as ResolvedProcess, host);
    return b.plan().steps.map(({ op, args }) => [op, ...args]);
  }

  test("a hard limit above ours is raised on the host, where the right to it counts", () => {
    expect(raised("RLIMIT_NOFILE", 1024, 8192)).toEqual([["rlimit", 7, 8192n, 8192n]]);
  });

  test("one that is not above ours waits until the container is set up", () => {
    expect(raised("RLIMIT_NOFILE", 4, 8)).toEqual([]);
    expect(raised("RLIMIT_CORE", 0, 0)).toEqual([]);
  });
});
