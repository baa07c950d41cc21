/** A process of the host that keeps answering, whatever a container beside it does. */
import { type ChildProcess, spawn } from "node:child_process";
import { expect } from "vitest";

/** Slower where the CPU is emulated. */
const ANSWER_MS = process.env.TSRUN_VM === "1" ? 20_000 : 2_000;

/** A shell that forks for each question: it needs a process, memory and the CPU. */
export class Witness {
  readonly #shell: ChildProcess;
  #count = 0;
  #answered: (answer: string) => void = () => {};

  constructor() {
    const script = "while read line; do echo $(echo $line); done";
    this.#shell = spawn("sh", ["-c", script], { stdio: ["pipe", "pipe", "ignore"] });
    this.#shell.stdout?.on("data", (text: Buffer) => this.#answered(text.toString().trim()));
    this.#shell.once("exit", () => this.#answered("the witness has ended"));
  }

  /** Fails when the answer is another, or takes long. */
  async ask(): Promise<void> {
    const question = `question ${++this.#count}`;
    const start = performance.now();
    const answer = new Promise<string>((resolve) => {
      this.#answered = resolve;
    });
    this.#shell.stdin?.write(`${question}\n`);
    expect(await answer).toBe(question);
    expect(performance.now() - start).toBeLessThan(ANSWER_MS);
  }

  end(): void {
    this.#shell.stdin?.end();
  }
}
