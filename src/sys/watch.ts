/**
 * Runs a program without blocking the event loop. Neither Node nor Bun can wait for a pidfd, but both can wait for a
 * child: so a child of a few pages waits for the pidfd.
 */

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
