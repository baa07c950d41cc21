/** How a job that fails half-way takes back what it did, last thing first. */
export class Undo {
  #jobs: { job: () => void; isRecord: boolean }[] = [];

  add(job: () => void): void {
    this.#jobs.push({ job, isRecord: false });
  }

  /** As `add`, for a record of all the rest: it stays when something else could not be taken back. */
  addRecord(job: () => void): void {
    this.#jobs.push({ job, isRecord: true });
  }

  /** The job is done: nothing is taken back. */
  keep(): void {
    this.#jobs = [];
  }

  /** A step of the undoing that fails does not stop the rest: the error that led here is the one to report. */
  [Symbol.dispose](): void {
    let isLeft = false;
    for (const { job, isRecord } of this.#jobs.reverse()) {
      if (isRecord && isLeft) continue;
      try {
        job();
      } catch {
        // What is left is found again by `delete`, from the state.
        isLeft = true;
      }
    }
    this.#jobs = [];
  }
}
