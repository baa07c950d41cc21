/**
 * Runs a program without blocking the event loop. Neither Node nor Bun can wait for a pidfd, but both can wait for a
 * child: so a child of a few pages waits for the pidfd.
 */
import { spawn } from "node:child_process";

export interface WatchRequest {
  /** Descriptor of the program. */
  binary: number;
  argv: readonly [string, ...string[]];
  /** What it has as descriptors 3 and up. */
  fds: readonly number[];
}

/** Resolves when the program has ended, however it did. Rejects when it cannot be started. */
export function untilExit({ binary, argv, fds }: WatchRequest): Promise<void> {
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
