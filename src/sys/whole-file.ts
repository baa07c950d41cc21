/** A file that appears when it is whole: it is written beside its place, and renamed. What is no file (a device, a pipe) is written as it is. */
import { SyscallError } from "../errors.ts";
import { O_CREAT, O_EXCL, O_WRONLY } from "./constants.ts";
import { Fd, fsync, open, write } from "./file.ts";
import { existsSync, renameSync, statSync, unlinkSync } from "./fs.ts";

export class WholeFile implements Disposable {
  readonly #path: string;
  /** Undefined for what is no file. */
  readonly #temporary: string | undefined;
  readonly #file: Fd;

  /** @throws SyscallError with this path, EISDIR for a directory */
  constructor(path: string) {
    const there = statSync(path);
    if (there?.isDirectory()) throw new SyscallError("open", "EISDIR", { path });
    const isInPlace = there !== undefined && !there.isFile();
    this.#path = path;
    this.#temporary = isInPlace ? undefined : `${path}.${process.pid}.new`;
    try {
      const flags = isInPlace ? O_WRONLY : O_WRONLY | O_CREAT | O_EXCL;
      this.#file = new Fd(open(this.#temporary ?? path, flags, 0o644));
    } catch (error) {
      if (!(error instanceof SyscallError)) throw error;
      throw new SyscallError("open", error.code, { path });
    }
  }

  write(bytes: Uint8Array): void {
    write(this.#file.fd, bytes, this.#path);
  }

  /** It is on the disk, and in its place. */
  finish(): void {
    if (this.#temporary === undefined) return;
    fsync(this.#file.fd, this.#path);
    renameSync(this.#temporary, this.#path);
  }

  [Symbol.dispose](): void {
    this.#file[Symbol.dispose]();
    if (this.#temporary !== undefined && existsSync(this.#temporary)) unlinkSync(this.#temporary);
  }
}
