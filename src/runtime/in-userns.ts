/** Steps that are carried out as root of a new user namespace, by an init that is no container's. */
import { TsrunError } from "../errors.ts";
import { spawnInit } from "../init/spawn.ts";
import { CLONE_NEWUSER } from "../linux.ts";
import { PlanBuilder } from "../plan/builder.ts";
import { AWAIT, type OpName, type StepArg } from "../plan/step.ts";
import { waitid } from "../sys/process.ts";
import { stepFailure } from "./failure.ts";

export type PlainStep = readonly [op: OpName, ...args: StepArg[]];

/**
 * @param about what asked for it, for errors
 * @param onIdMaps gives the namespace of process `pid` its ids, while that waits
 * @throws StepError
 */
export function inUserNamespace(about: string, steps: readonly PlainStep[], onIdMaps: (pid: number) => void): void {
  const b = new PlanBuilder(3);
  b.inherit("sync");
  b.inherit("plan");
  b.add(about, "clone", CLONE_NEWUSER, -1);
  // The init is not dumpable, so its /proc files are root's.
  b.add(about, "dumpable", 1);
  b.add(about, "await", AWAIT.ID_MAPS);
  for (const [op, ...args] of steps) b.add(about, op, ...args);
  const plan = b.plan();
  const init = spawnInit({ plan, fds: new Map(), preserved: 0 });
  let pid = init.pid;
  try {
    using sync = init.sync;
    for (;;) {
      const message = sync.next();
      if (message.type === "fail") throw stepFailure(plan, message.step, message.code);
      if (message.type === "eof") break;
      if (message.type === "await") {
        onIdMaps(pid);
        sync.answer();
      } else if (message.type === "pid") {
        pid = message.pid;
        waitid({ pid: init.pid });
      }
    }
  } catch (error) {
    // Without its socket it ends.
    waitid({ pid });
    throw error;
  }
  const end = waitid({ pid });
  if (end.exitCode !== 0) throw new TsrunError(`${about}: the process in a user namespace did not end well`);
}
