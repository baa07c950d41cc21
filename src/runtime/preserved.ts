/** The descriptors from 3 on that a caller hands over for the process: --preserve-fds and LISTEN_FDS. */
import { isErrno, TsrunError } from "../errors.ts";
import { readlinkSync } from "../sys/fs.ts";

/**
 * To be called before anything else is opened: a number that is free now would soon be a descriptor of ours, as of the
 * state directory, and a way out of the container.
 *
 * @throws TsrunError naming one that is not open, or that is the engine's own
 */
export function checkPreserved(count: number): void {
  for (let fd = 3; fd < 3 + count; fd++) {
    const target = targetOf(fd);
    // What an engine waits with has no other use, so nobody hands it over.
    if (target !== undefined && !target.startsWith("anon_inode:[event")) continue;
    throw new TsrunError(`descriptor ${fd} is to be preserved, and was not handed over`, {
      fix: `--preserve-fds and LISTEN_FDS count descriptors from 3 on; ${count} are asked for`,
    });
  }
}

function targetOf(fd: number): string | undefined {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}
