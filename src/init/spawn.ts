/**
 * Starts the native init with a plan. What it inherits is listed here and nowhere else (invariant 4): standard input,
 * output and error, the descriptors handed on to the process, and those the plan names.
 */
import { isErrno, TsrunError } from "../errors.ts";
import type { Plan } from "../plan/step.ts";
import { closeQuiet, memfdCreate, write } from "../sys/file.ts";
import { socketpair } from "../sys/socket.ts";
import { posixSpawn } from "../sys/spawn.ts";
import { initBinary } from "./binary.ts";
import { encodePlan } from "./encode.ts";
import { SyncSocket } from "./sync.ts";

export interface SpawnRequest {
  plan: Plan;
  /** What the plan's inherited descriptors are, by name; all but "sync" and "plan". */
  fds: ReadonlyMap<string, number>;
  /** Standard input, output and error; default: those of this process. */
  stdio?: readonly [number, number, number] | undefined;
  /** How many descriptors from 3 on go to the process. */
  preserved: number;
}

export interface SpawnedInit {
  /** The first process, which makes the container's and ends. */
  pid: number;
  sync: SyncSocket;
}

/** @throws SyscallError; nothing is left running then */
export function spawnInit(request: SpawnRequest): SpawnedInit {
  const [ours, theirs] = socketpair();
  const planFd = memfdCreate("tsrun-plan");
  try {
    write(planFd, encodePlan(request.plan));
    const [stdin, stdout, stderr] = request.stdio ?? [0, 1, 2];
    const fds = [
      { from: stdin, to: 0 },
      { from: stdout, to: 1 },
      { from: stderr, to: 2 },
    ];
    for (let fd = 3; fd < 3 + request.preserved; fd++) fds.push({ from: fd, to: fd });
    const numbers = { sync: -1, plan: -1 };
    for (const { name, fd } of request.plan.inherit) {
      const from = name === "sync" ? theirs : name === "plan" ? planFd : request.fds.get(name);
      if (from === undefined) throw new Error(`the plan needs a descriptor "${name}" that nobody opened`);
      if (name === "sync" || name === "plan") numbers[name] = fd;
      fds.push({ from, to: fd });
    }
    const binary = initBinary();
    const argv = ["tsrun-init", String(numbers.sync), String(numbers.plan)];
    const pid = posixSpawn({ path: `/proc/self/fd/${binary}`, argv, envp: [], fds });
    return { pid, sync: new SyncSocket(ours) };
  } catch (error) {
    closeQuiet(ours);
    if (isErrno(error, "EAGAIN")) {
      throw new TsrunError("no process can be started", {
        cause: error,
        fix: "a limit on processes is reached: RLIMIT_NPROC, pids.max or kernel.pid_max",
      });
    }
    throw error;
  } finally {
    closeQuiet(theirs);
    closeQuiet(planFd);
  }
}
