/** A file that appears when it is whole, or standard output. */
import { isErrno } from "../../errors.ts";
import { O_CREAT, O_EXCL, O_WRONLY } from "../../sys/constants.ts";
import { Fd, open, write } from "../../sys/file.ts";
import { existsSync, renameSync, unlinkSync } from "../../sys/fs.ts";
import { absolute } from "../globals.ts";
import { OutputClosed } from "../output.ts";

export interface OutputFile extends Disposable {
  write(bytes: Uint8Array): void;
  finish(): void;
}

function writeStandardOutput(bytes: Uint8Array): void {
  try {
    write(1, bytes, "standard output");
  } catch (error) {
    if (isErrno(error, "EPIPE")) throw new OutputClosed();
    throw error;
  }
}

export function createFile(output: string): OutputFile {
  if (output === "-") {
    return { write: writeStandardOutput, finish: () => {}, [Symbol.dispose]: () => {} };
  }
  const path = absolute(output);
  const temporary = `${path}.${process.pid}.new`;
  const file = new Fd(open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0o644));
  return {
    write: (bytes) => write(file.fd, bytes, path),
    finish: () => renameSync(temporary, path),
    [Symbol.dispose]: () => {
      file[Symbol.dispose]();
      if (existsSync(temporary)) unlinkSync(temporary);
    },
  };
}
