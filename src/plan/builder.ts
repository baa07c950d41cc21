/**
 * A plan while it is being put together: steps in order, and the descriptor numbers they use.
 */
import type { OpName, Plan, Step, StepArg } from "./step.ts";

/** Well below the 1024 that a process may have open by default. */
const MANY_FDS = 512;

export class PlanBuilder {
  readonly #steps: Step[] = [];
  readonly #inherit: { name: string; fd: number }[] = [];
  #nextFd: number;
  readonly #closed: number[] = [];

  /** @param firstFd the first descriptor that is not the process's own: 3 plus those it inherits */
  constructor(firstFd: number) {
    this.#nextFd = firstFd;
  }

  /**
   * A descriptor number that nothing else in this plan uses, which makes it easy to read; of a plan with very many, one
   * whose descriptor is closed by now: RLIMIT_NOFILE limits the number itself, not how many are open.
   */
  newFd(): number {
    if (this.#nextFd < MANY_FDS) return this.#nextFd++;
    return this.#closed.pop() ?? this.#nextFd++;
  }

  /** The number of a descriptor that the runtime opens and the init inherits. */
  inherit(name: string): number {
    // It is open from the start, so the number must be nobody's before.
    const fd = this.#nextFd++;
    this.#inherit.push({ name, fd });
    return fd;
  }

  /** Adds a step. `about` names what asked for it, as a path in config.json where there is one. */
  add(about: string, op: OpName, ...args: StepArg[]): void {
    this.#steps.push({ op, args, about });
    if (op === "close" && this.#nextFd >= MANY_FDS) this.#closed.push(args[0] as number);
  }

  plan(): Plan {
    return { steps: this.#steps, inherit: this.#inherit };
  }
}
