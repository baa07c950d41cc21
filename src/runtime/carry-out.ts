/** A plan that is no container's: an init walks it to its end, and that is all. */
import { TsrunError } from "../errors.ts";
import { spawnInit } from "../init/spawn.ts";
import type { Plan } from "../plan/step.ts";
import { waitid } from "../sys/process.ts";
import { end } from "./converse.ts";
import { stepFailure } from "./failure.ts";
import { nextMessage } from "./next-message.ts";

/** @param fds what the plan inherits, by name @throws StepError */
export function carryOut(plan: Plan, fds: ReadonlyMap<string, number>): void {
  const init = spawnInit({ plan, fds, preserved: 0 });
  using sync = init.sync;
  const speaker = { pid: 0, stops: 0 };
  try {
    for (let message = nextMessage(sync, speaker); message.type !== "eof"; message = nextMessage(sync, speaker)) {
      if (message.type === "fail") throw stepFailure(plan, message.step, message.code);
      if (message.type !== "pid") continue;
      speaker.pid = message.pid;
      waitid({ pid: init.pid });
    }
  } catch (error) {
    end(speaker.pid || init.pid);
    throw error;
  }
  const { exitCode } = waitid({ pid: speaker.pid || init.pid });
  if (exitCode !== 0) throw new TsrunError("the process that was to carry out a plan did not end well");
}
