/** A file that appears when it is whole, or standard output. */
import { isErrno } from "../../errors.ts";
import { write } from "../../sys/file.ts";
import { WholeFile } from "../../sys/whole-file.ts";
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
  return new WholeFile(absolute(output));
}
