/** The content of the file that is being unpacked; that of a sparse one comes in pieces, and the rest are holes. */
import { pwrite, truncate } from "../sys/entries.ts";
import { close, closeQuiet, write } from "../sys/file.ts";
import { shown } from "./tar/bytes.ts";
import { type TarEntry, TarError } from "./tar/header.ts";

export class FileContent {
  /** The open file, or -1. */
  fd = -1;
  #name = "";
  #pieces: readonly { offset: number; length: number }[] | undefined;
  #piece = 0;
  #pieceDone = 0;

  start(fd: number, entry: TarEntry): void {
    this.fd = fd;
    this.#name = entry.name;
    this.#pieces = entry.sparse?.pieces.filter(({ length }) => length > 0);
    this.#piece = 0;
    this.#pieceDone = 0;
  }

  write(bytes: Uint8Array): void {
    if (this.#pieces === undefined) {
      write(this.fd, bytes, shown(this.#name));
      return;
    }
    let rest = bytes;
    while (rest.length > 0) {
      const piece = this.#pieces[this.#piece];
      if (piece === undefined) throw new TarError("a sparse file has more content than its map");
      const part = rest.subarray(0, piece.length - this.#pieceDone);
      pwrite(this.fd, part, piece.offset + this.#pieceDone);
      this.#pieceDone += part.length;
      rest = rest.subarray(part.length);
      if (this.#pieceDone === piece.length) {
        this.#piece++;
        this.#pieceDone = 0;
      }
    }
  }

  /** A hole at the end has nothing that would be written. */
  stretch(entry: TarEntry): void {
    if (entry.sparse !== undefined) truncate(this.fd, entry.sparse.size);
  }

  /** Some file systems tell only here that there was no room. */
  close(): void {
    const { fd } = this;
    this.fd = -1;
    close(fd);
  }

  [Symbol.dispose](): void {
    closeQuiet(this.fd);
    this.fd = -1;
  }
}
