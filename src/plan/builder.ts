/**
 * A plan while it is being put together: steps in order, and the descriptor numbers they use.
 */
import type { OpName, Plan, Step, StepArg } from "./step.ts";

export class PlanBuilder {
  readonly #steps: Step[] = [];
  readonly #inherit: { name: string; fd: number }[] = [];
  #nextFd: number;

  /** @param firstFd the first descriptor that is not the process's own: 3 plus those it inherits */
  constructor(firstFd: number) {
    this.#nextFd = firstFd;
  }

  /** A descriptor number that nothing else in this plan uses. */
  newFd(): number {
    return this.#nextFd++;
  }

  /** The number of a descriptor that the runtime opens and the init inherits. */
  inherit(name: string): number {
    const fd = this.newFd();
    this.#inherit.push({ name, fd });
    return fd;
  }

  /** Adds a step. `about` names what asked for it, as a path in config.json where there is one. */
  add(about: string, op: OpName, ...args: StepArg[]): void {
    this.#steps.push({ op, args, about });
  }

  plan(): Plan {
    return { steps: this.#steps, inherit: this.#inherit };
  }
}
