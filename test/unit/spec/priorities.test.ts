import { describe, expect, test } from "vitest";
import type { Host } from "../../../src/host.ts";
import { scheduling } from "../../../src/host.ts";
import { priorityProblems } from "../../../src/spec/priorities.ts";
import type { Process } from "../../../src/spec/types.ts";
import { HOST } from "./helpers.ts";

const USER: Partial<Host> = { privileged: false, euid: 1000, capabilities: 0n };

function problems(process: Partial<Process>, host: Partial<Host> = USER, userns = true): string[] {
  return priorityProblems({ cwd: "/", ...process } as Process, userns, { ...HOST, ...host }).map(
    ({ path, message }) => `${path}: ${message}`,
  );
}

describe("spec/priorities", () => {
  test("a score below what the kernel lets this process have is named, to who lacks CAP_SYS_RESOURCE", () => {
    expect(problems({ oomScoreAdj: -1 })).toEqual([
      "process.oomScoreAdj: -1 is less than this process may have without CAP_SYS_RESOURCE over the machine",
    ]);
    expect(problems({ oomScoreAdj: 0 })).toEqual([]);
    // The first process writes it, in the namespace of tsrun: root may, whatever the container is in.
    expect(problems({ oomScoreAdj: -1 }, {}, true)).toEqual([]);
    expect(problems({ oomScoreAdj: -1 }, { userns: true }, true)).toHaveLength(1);
  });

  test("a realtime policy needs CAP_SYS_NICE over the machine, or a limit that allows it", () => {
    const fifo = { scheduler: { policy: "SCHED_FIFO", priority: 5 } };
    expect(problems(fifo)).toEqual([
      "process.scheduler.policy: SCHED_FIFO needs CAP_SYS_NICE over the machine, which nobody in a user namespace has, or an RLIMIT_RTPRIO of 5",
    ]);
    expect(problems(fifo, {}, false)).toEqual([]);
    expect(problems(fifo, {}, true)).toHaveLength(1);
    expect(problems(fifo, { ...USER, hardLimits: { RLIMIT_RTPRIO: 5n } })).toEqual([]);
    expect(problems(fifo, { ...USER, hardLimits: { RLIMIT_RTPRIO: 4n } })).toHaveLength(1);
    // The soft limit is what counts, and the config's own is set before.
    const rlimits = (soft: number) => [{ type: "RLIMIT_RTPRIO", soft, hard: 50 }];
    expect(problems({ ...fifo, rlimits: rlimits(5) })).toEqual([]);
    expect(problems({ ...fifo, rlimits: rlimits(4) }, { ...USER, hardLimits: { RLIMIT_RTPRIO: 50n } })).toHaveLength(1);
    expect(problems(fifo, { ...USER, scheduling: { nice: 0, priority: 5 } })).toEqual([]);
  });

  test("nothing but CAP_SYS_NICE gives a deadline or the realtime class of I/O", () => {
    const most = { ...USER, hardLimits: { RLIMIT_RTPRIO: 99n, RLIMIT_NICE: 40n } };
    const deadline = { policy: "SCHED_DEADLINE", runtime: 1e6, deadline: 2e6, period: 2e6 };
    expect(problems({ scheduler: deadline }, most)).toHaveLength(1);
    expect(problems({ ioPriority: { class: "IOPRIO_CLASS_RT" } }, most)).toEqual([
      expect.stringMatching(/^process\.ioPriority\.class: IOPRIO_CLASS_RT needs CAP_SYS_NICE/),
    ]);
    for (const name of ["IOPRIO_CLASS_BE", "IOPRIO_CLASS_IDLE"]) {
      expect(problems({ ioPriority: { class: name, priority: 0 } })).toEqual([]);
    }
  });

  test("a niceness below the caller's own is named with both, also where the config leaves it out", () => {
    const nice = (value?: number) => ({
      scheduler: { policy: "SCHED_OTHER", ...(value !== undefined && { nice: value }) },
    });
    expect(problems(nice(-5))[0]).toMatch(
      /^process\.scheduler\.nice: -5 is less than this process has \(0\): .* of 25$/,
    );
    expect(problems(nice())).toEqual([]);
    const polite = { ...USER, scheduling: { nice: 10, priority: 0 } };
    expect(problems(nice(), polite)).toHaveLength(1);
    expect(problems(nice(10), polite)).toEqual([]);
    expect(problems(nice(), { ...polite, hardLimits: { RLIMIT_NICE: 20n } })).toEqual([]);
    const kept = { policy: "SCHED_OTHER", flags: ["SCHED_FLAG_KEEP_PARAMS"] };
    expect(problems({ scheduler: kept }, polite)).toEqual([]);
    expect(problems({ scheduler: { policy: "SCHED_IDLE" } }, polite)).toEqual([]);
  });
});

test("host: niceness and realtime priority are found behind a name with spaces and parentheses", () => {
  const rest = Array.from({ length: 50 }, (_, i) => String(i + 4));
  expect(scheduling(`1 (a ) S) R ${rest.join(" ")}`)).toEqual({ nice: 19, priority: 40 });
});
