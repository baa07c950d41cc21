/** Steps that are carried out by an init that is no container's: for what must not be done in this process. */
import { TsrunError } from "../errors.ts";
import { spawnInit } from "../init/spawn.ts";
import { CLONE_NEWUSER } from "../linux.ts";
import { PlanBuilder } from "../plan/builder.ts";
import { AWAIT, type OpName, type StepArg } from "../plan/step.ts";
import { type WaitStatus, waitid } from "../sys/process.ts";
import { stepFailure } from "./failure.ts";

/** Descriptors from FIRST_FREE_FD on are free for steps to use. */
export type PlainStep = readonly [op: OpName, ...args: StepArg[]];

/** Steps, or who puts them together. */
export type HelperSteps = readonly PlainStep[] | ((b: PlanBuilder) => void);

export const FIRST_FREE_FD = 5;

/**
 * Carries steps out as root of a new user namespace.
 *
 * @param about what asked for it, for errors
 * @param onIdMaps gives the namespace of process `pid` its ids, while that waits
 * @throws StepError
 */
export function inUserNamespace(about: string, steps: HelperSteps, onIdMaps: (pid: number) => void): WaitStatus {
  const all = (b: PlanBuilder): void => {
    b.add(about, "clone", CLONE_NEWUSER, -1);
    // The init is not dumpable, so its /proc files are root's.
    b.add(about, "dumpable", 1);
    b.add(about, "await", AWAIT.ID_MAPS);
    addSteps(b, about, steps);
  };
  return inHelper(about, all, onIdMaps);
}

function addSteps(b: PlanBuilder, about: string, steps: HelperSteps): void {
  if (typeof steps === "function") steps(b);
  else for (const [op, ...args] of steps) b.add(about, op, ...args);
}

/** Carries steps out in a process that ends with the last of them. @returns how it ended @throws StepError */
export function inHelper(about: string, steps: HelperSteps, onAwait: (pid: number) => void = () => {}): WaitStatus {
  const { pid, isProgram } = startHelper(about, steps, { onAwait });
  const end = waitid({ pid });
  // After execve(2) its exit code is the program's.
  if (end.exitCode !== 0 && !isProgram) {
    throw new TsrunError(`${about}: the process that was to do it did not end well`);
  }
  return end;
}

export interface HelperOptions {
  onAwait?: (pid: number) => void;
  /** Standard input, output and error; default: those of this process. */
  stdio?: readonly [number, number, number];
}

/**
 * Carries steps out up to the last of them, or up to the program that it executes.
 *
 * @returns the process, a child for the caller to wait for
 * @throws StepError
 */
export function startHelper(
  about: string,
  steps: HelperSteps,
  { onAwait, stdio }: HelperOptions = {},
): { pid: number; isProgram: boolean } {
  const b = new PlanBuilder(3);
  b.inherit("sync");
  b.inherit("plan");
  addSteps(b, about, steps);
  const plan = b.plan();
  const init = spawnInit({ plan, fds: new Map(), preserved: 0, stdio });
  let { pid } = init;
  try {
    using sync = init.sync;
    for (;;) {
      const message = sync.next();
      if (message.type === "fail") throw stepFailure(plan, message.step, message.code);
      if (message.type === "eof") return { pid, isProgram: plan.steps.some(({ op }) => op === "exec") };
      if (message.type === "await") {
        onAwait?.(pid);
        sync.answer();
      } else if (message.type === "pid") {
        // Who made it has ended.
        waitid({ pid });
        pid = message.pid;
      }
    }
  } catch (error) {
    // Without its socket it ends.
    waitid({ pid });
    throw error;
  }
}
