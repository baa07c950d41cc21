/** `ps` as people know it: the ps of the host, and of its lines those of one container. */
import { TsrunError } from "../errors.ts";
import { capture } from "../sys/capture.ts";
import { isExecutable } from "../sys/fs.ts";
import { posixSpawn } from "../sys/spawn.ts";

/** Of a table of all processes of a large machine. */
const MAX_BYTES = 64 * 1024 * 1024;

/**
 * What `ps OPTIONS` prints, with its exit code; undefined when the host has no ps.
 *
 * @throws TsrunError when it fails, with what it said
 */
export function hostProcessTable(options: readonly string[]): string | undefined {
  const path = (process.env.PATH ?? "/usr/bin:/bin")
    .split(":")
    .map((dir) => `${dir}/ps`)
    .find((file) => file.startsWith("/") && isExecutable(file));
  if (path === undefined) return undefined;
  const envp = Object.entries(process.env).map(([name, value]) => `${name}=${value}`);
  const result = capture({
    start: (stdio) =>
      posixSpawn({ path, argv: ["ps", ...options], envp, fds: stdio.map((from, to) => ({ from, to })) }),
    input: "",
    maxBytes: MAX_BYTES,
  });
  if (result.status.exitCode === 0) return result.stdout;
  throw new TsrunError(`ps ${options.join(" ")}: ${result.stderr.trim() || `exit code ${result.status.exitCode}`}`);
}
