/** How a job that fails half-way takes back what it did, last thing first. */
export class Undo {
  #jobs: (() => void)[] = [];

  add(job: () => void): void {
    this.#jobs.push(job);
  }

  /** The job is done: nothing is taken back. */
  keep(): void {
    this.#jobs = [];
  }

  /** A step of the undoing that fails does not stop the rest: the error that led here is the one to report. */
  [Symbol.dispose](): void {
    for (const job of this.#jobs.reverse()) {
      try {
        job();
      } catch {
        // What is left is found again by `delete`, from the state.
      }
    }
    this.#jobs = [];
  }
}
