/** A plan that is no container's: an init walks it to its end, and that is all. */
import { TsrunError } from "../errors.ts";
import { spawnInit } from "../init/spawn.ts";
import type { Plan } from "../plan/step.ts";
import { waitid } from "../sys/process.ts";
import { stepFailure } from "./failure.ts";

/** @param fds what the plan inherits, by name @throws StepError */
export function carryOut(plan: Plan, fds: ReadonlyMap<string, number>): void {
  const init = spawnInit({ plan, fds, preserved: 0 });
  using sync = init.sync;
  let pid = init.pid;
  for (;;) {
    const message = sync.next();
    if (message.type === "pid") {
      pid = message.pid;
      waitid({ pid: init.pid });
    } else if (message.type === "fail") {
      waitid({ pid });
      throw stepFailure(plan, message.step, message.code);
    } else if (message.type === "eof") {
      const end = waitid({ pid });
      if (end.exitCode !== 0) throw new TsrunError("the process that was to carry out a plan did not end well");
      return;
    }
  }
}
