/**
 * Runs a program without blocking the event loop. Neither Node nor Bun can wait for a pidfd, but both can wait for a
 * child: so a child of a few pages waits for the pidfd, and for other descriptors.
 */
import type { ChildProcess } from "node:child_process";
import { TsrunError } from "../errors.ts";

export interface WatchRequest {
  /** Descriptor of the program. */
  binary: number;
  argv: readonly [string, ...string[]];
  /** What it has as descriptors 3 and up. */
  fds: readonly number[];
}

/** Resolves when the program has ended, however it did. Rejects when it cannot be started. */
export async function untilExit({ binary, argv, fds }: WatchRequest): Promise<void> {
  // Loaded here: the CLI never comes here, and node:child_process costs Bun 1.5 ms.
  const { spawn } = await import("node:child_process");
  const [argv0, ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(`/proc/${process.pid}/fd/${binary}`, args, {
      argv0,
      env: {},
      stdio: ["ignore", "ignore", "ignore", ...fds],
    });
    child.on("error", reject);
    child.on("exit", () => resolve());
  });
}

export interface Readiness {
  fd: number;
  /** POLL* */
  events: number;
}

/** A child that waits for descriptors and tells which are ready. */
export class Relay {
  readonly #child: ChildProcess;
  readonly #watched: readonly Readiness[];
  #text = Buffer.alloc(0);
  #failure: unknown;
  /** It has told, and looks again when it is asked to. */
  #hasTold = false;
  #wake = () => {};

  private constructor(child: ChildProcess, watched: readonly Readiness[]) {
    this.#child = child;
    this.#watched = watched;
    child.stdout?.on("data", (bytes: Buffer) => {
      this.#text = Buffer.concat([this.#text, bytes]);
      this.#wake();
    });
    const fail = (error?: unknown) => {
      this.#failure = error ?? new TsrunError("the program that waits for events has ended");
      this.#wake();
    };
    child.on("error", fail);
    child.on("exit", () => fail());
    // It has ended, and `exit` tells.
    child.stdin?.on("error", () => {});
  }

  /** @param binary the descriptor of a program that does as native/relay.c */
  static async start(binary: number, argv0: string, watched: readonly Readiness[]): Promise<Relay> {
    const { spawn } = await import("node:child_process");
    const args = watched.map(({ events }) => String(events));
    const fds = watched.map(({ fd }) => fd);
    const path = `/proc/${process.pid}/fd/${binary}`;
    return new Relay(spawn(path, args, { argv0, env: {}, stdio: ["pipe", "pipe", "ignore", ...fds] }), watched);
  }

  /** Are these the very ones that it was started with? A number alone may by now be another descriptor. */
  isFor(watched: readonly Readiness[]): boolean {
    return watched.length === this.#watched.length && watched.every((one, index) => one === this.#watched[index]);
  }

  /**
   * What happened at each descriptor, all 0 when the time is over, undefined when the signal was given.
   *
   * @param timeoutMs -1 waits for ever
   */
  async next(timeoutMs: number, signal: AbortSignal | undefined): Promise<number[] | undefined> {
    if (this.#hasTold) this.#child.stdin?.write("\n");
    this.#hasTold = false;
    await this.#news(timeoutMs, signal);
    if (signal?.aborted) return undefined;
    if (this.#failure !== undefined) throw this.#failure;
    const fired = this.#watched.map(() => 0);
    // All that it tells at once comes in one write, and that is small.
    for (let at = 0; at + 4 <= this.#text.length; at += 4) {
      fired[this.#text.readUInt16LE(at)] = this.#text.readUInt16LE(at + 2);
      this.#hasTold = true;
    }
    this.#text = Buffer.alloc(0);
    return fired;
  }

  async #news(timeoutMs: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#text.length > 0 || this.#failure !== undefined || signal?.aborted) return;
    let timer: ReturnType<typeof setTimeout> | undefined;
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
      signal?.addEventListener("abort", this.#wake);
      if (timeoutMs >= 0) timer = setTimeout(resolve, timeoutMs);
    });
    clearTimeout(timer);
    signal?.removeEventListener("abort", this.#wake);
  }

  /** The end of its input is its own. */
  end(): void {
    this.#child.stdin?.destroy();
    this.#child.stdout?.destroy();
    this.#child.unref();
  }
}
