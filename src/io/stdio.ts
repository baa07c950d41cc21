/**
 * Pipes in place of the standard streams of a container, for programs that embed tsrun and want what it prints.
 *
 *     using pipes = new StdioPipes();
 *     createContainer({ ..., stdio: pipes.child });
 *     pipes.closeChild();
 *     const { stdout, stderr } = pipes.collect();
 */
import { POLLIN } from "../sys/constants.ts";
import { closeQuiet, read, write } from "../sys/file.ts";
import { poll } from "../sys/process.ts";
import { pipe } from "../sys/socket.ts";

/**
 * Three pipes, our ends and those of the container. Whatever is open is closed with it. @throws SyscallError without descriptors
 */
export class StdioPipes {
  /** Descriptors 0, 1 and 2 of the container. */
  readonly child: readonly [stdin: number, stdout: number, stderr: number];
  /** Our end of its standard input: writable. */
  readonly stdin: number;
  /** Our ends of its output: readable. */
  readonly stdout: number;
  readonly stderr: number;
  readonly #open = new Set<number>();

  constructor() {
    try {
      const [stdinRead, stdinWrite] = this.#pipe();
      const [stdoutRead, stdoutWrite] = this.#pipe();
      const [stderrRead, stderrWrite] = this.#pipe();
      this.child = [stdinRead, stdoutWrite, stderrWrite];
      this.stdin = stdinWrite;
      this.stdout = stdoutRead;
      this.stderr = stderrRead;
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** Closes our copies of the container's ends, once it has its own: until then its output never ends. */
  closeChild(): void {
    for (const fd of this.child) this.#close(fd);
  }

  /** Gives the container all of its input, and the end of it. For what fits a pipe (64 KiB); it waits otherwise. */
  giveInput(data: string | Uint8Array): void {
    write(this.stdin, data, "standard input");
    this.#close(this.stdin);
  }

  /**
   * Waits for the end of the output and returns it. Both streams are read as they come, so neither blocks the other; the
   * event loop is blocked meanwhile.
   */
  collect(): { stdout: Uint8Array; stderr: Uint8Array } {
    const chunks = new Map<number, Uint8Array[]>([
      [this.stdout, []],
      [this.stderr, []],
    ]);
    let reading = [this.stdout, this.stderr].filter((fd) => this.#open.has(fd));
    while (reading.length > 0) {
      const happened = poll(reading.map((fd) => ({ fd, events: POLLIN })));
      reading = reading.filter((fd, index) => {
        if (happened[index] === 0) return true;
        const chunk = new Uint8Array(65536);
        const length = read(fd, chunk);
        chunks.get(fd)?.push(chunk.slice(0, length));
        if (length === 0) this.#close(fd);
        return length > 0;
      });
    }
    return { stdout: joined(chunks.get(this.stdout)), stderr: joined(chunks.get(this.stderr)) };
  }

  [Symbol.dispose](): void {
    for (const fd of this.#open) this.#close(fd);
  }

  #pipe(): [number, number] {
    const ends = pipe();
    for (const fd of ends) this.#open.add(fd);
    return ends;
  }

  #close(fd: number): void {
    if (this.#open.delete(fd)) closeQuiet(fd);
  }
}

function joined(chunks: readonly Uint8Array[] = []): Uint8Array {
  const bytes = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
