/** Standard output and error, written to the end at once: process.stdout would buffer past an early exit. */
import { isErrno, SyscallError } from "../errors.ts";
import { writeSync } from "../sys/fs.ts";

/** The reader of our output has gone; not an error, but nothing is left to do. */
export class OutputClosed extends Error {}

/**
 * Writes all of `text` to standard output.
 *
 * @throws OutputClosed when the reader closed the pipe; SyscallError for a full disk and the like
 */
export function writeOut(text: string): void {
  writeAll(1, text);
}

/** Writes all of `text` to standard error; where that fails there is nobody left to tell. */
export function writeError(text: string): void {
  try {
    writeAll(2, text);
  } catch {
    // Standard error is closed or full.
  }
}

function writeAll(fd: number, text: string): void {
  const bytes = new TextEncoder().encode(text);
  let done = 0;
  while (done < bytes.length) {
    try {
      done += writeSync(fd, bytes, done);
    } catch (error) {
      if (isErrno(error, "EINTR")) continue;
      // A caller may hand us a non-blocking pipe: wait for its reader.
      if (isErrno(error, "EAGAIN")) pause(5);
      else if (isErrno(error, "EPIPE")) throw new OutputClosed();
      else throw new SyscallError("write", (error as { code?: string }).code ?? "EIO", { path: "standard output" });
    }
  }
}

function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
