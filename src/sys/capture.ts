/** Runs a program to its end, or to the end of its time, and keeps what it prints. Blocks. */
import { utf8Text } from "./call.ts";
import { POLLIN } from "./constants.ts";
import { closeQuiet, memfdCreate, read, seek, write } from "./file.ts";
import { pidfdOpen, pidfdSendSignal, poll, type WaitStatus, waitid } from "./process.ts";
import { pipe } from "./socket.ts";

const SIGKILL = 9;
/** Of each stream; what comes after it is read and dropped. */
const MAX_BYTES = 16 * 1024;
/** How often it is read from a program's output when that has ended: more than a pipe holds. */
const REST = 32;

export interface CaptureRequest {
  /** Starts the program with these descriptors as its standard input, output and error; returns its pid, a child's. */
  start: (stdio: [stdin: number, stdout: number, stderr: number]) => number;
  /** All of its standard input. */
  input: string;
  /** It is killed after this time; undefined: never. */
  timeoutMs?: number | undefined;
  /** How much is kept of each stream, in bytes. Default 16 KiB. */
  maxBytes?: number;
}

export interface Captured {
  status: WaitStatus;
  /** Its time was over, and it was killed. */
  timedOut: boolean;
  stdout: string;
  stderr: string;
  /** How long it ran. */
  milliseconds: number;
}

export function capture({ start, input, timeoutMs, maxBytes = MAX_BYTES }: CaptureRequest): Captured {
  const opened: number[] = [];
  let pidFd = -1;
  try {
    // A file and no pipe: nothing to wait for when the program does not read it.
    const stdin = memfdCreate("stdin");
    opened.push(stdin);
    write(stdin, input);
    seek(stdin, 0);
    const [out, outEnd] = pipe();
    opened.push(out, outEnd);
    const [err, errEnd] = pipe();
    opened.push(err, errEnd);
    const began = performance.now();
    pidFd = pidfdOpen(start([stdin, outEnd, errEnd]));
    for (const fd of [outEnd, errEnd]) closeQuiet(fd);
    opened.splice(0, opened.length, stdin, out, err);

    const streams = [new Stream(out, maxBytes), new Stream(err, maxBytes)];
    let timedOut = false;
    // What it started may hold its output open for ever, and write to it: its own end, and what is there then, is the end.
    for (let rest = REST; rest > 0; ) {
      const left = timeoutMs === undefined || timedOut ? -1 : Math.max(began + timeoutMs - performance.now(), 0);
      const waitFor = [{ fd: pidFd, events: POLLIN }, ...streams.map(({ fd }) => ({ fd, events: POLLIN }))];
      const [ended, ...happened] = poll(waitFor, left);
      for (const [i, stream] of streams.entries()) if (happened[i]) stream.read();
      if (ended) rest = happened.some(Boolean) ? rest - 1 : 0;
      if (!ended && left === 0) {
        timedOut = true;
        pidfdSendSignal(pidFd, SIGKILL);
      }
    }
    const milliseconds = performance.now() - began;
    const [stdout = "", stderr = ""] = streams.map((stream) => stream.text());
    return { status: waitid({ pidFd }), timedOut, stdout, stderr, milliseconds };
  } finally {
    for (const fd of opened) closeQuiet(fd);
    if (pidFd !== -1) closeQuiet(pidFd);
  }
}

/** A pipe that is read as it fills, up to a limit. */
class Stream {
  /** -1 when it has ended: poll(2) leaves those alone. */
  fd: number;
  readonly #chunks: Uint8Array[] = [];
  #room: number;

  constructor(fd: number, maxBytes: number) {
    this.fd = fd;
    this.#room = maxBytes;
  }

  read(): void {
    const chunk = new Uint8Array(16_384);
    const count = read(this.fd, chunk);
    if (count === 0) this.fd = -1;
    const kept = Math.min(count, this.#room);
    if (kept > 0) this.#chunks.push(chunk.subarray(0, kept));
    this.#room -= kept;
  }

  text(): string {
    const bytes = new Uint8Array(this.#chunks.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const chunk of this.#chunks) {
      bytes.set(chunk, at);
      at += chunk.length;
    }
    return utf8Text(bytes);
  }
}
