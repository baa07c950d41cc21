/**
 * The native witness: sees a cgroup to its end that somebody else removes as soon as it is empty, and writes down what was
 * counted there. It is the same program as the init; what it does is in native/witness.c.
 */
import { TsrunError } from "../errors.ts";
import { closeQuiet } from "../sys/file.ts";
import { waitid } from "../sys/process.ts";
import { recvData, socketpair } from "../sys/socket.ts";
import { posixSpawn } from "../sys/spawn.ts";
import { initBinary } from "./binary.ts";

export interface WitnessRequest {
  /** Of the container's first process. */
  pidFd: number;
  /** What is written to, if it is empty: a wait status that is not known (-1), then the files, each ended by NUL. */
  recordFd: number;
  /** cgroup.events of the v2 tree, or "" where there is none: the end of the first process is the news then. */
  news: string;
  files: readonly string[];
}

/**
 * Returns when it is ready. It ends with the cgroup, and is nobody's child.
 *
 * @returns a socket to it: told a byte there, it does not wait for what is left in the cgroup when the container has ended
 * @throws TsrunError when it cannot be started
 */
export function startWitness({ pidFd, recordFd, news, files }: WitnessRequest): number {
  const [ours, socket] = socketpair();
  let theirs: number | undefined = socket;
  try {
    const pid = posixSpawn({
      path: `/proc/self/fd/${initBinary()}`,
      argv: ["tsrun-witness", news, ...files],
      envp: [],
      fds: [
        { from: pidFd, to: 3 },
        { from: recordFd, to: 4 },
        { from: socket, to: 5 },
      ],
    });
    const { exitCode } = waitid({ pid });
    closeQuiet(socket);
    theirs = undefined;
    if (recvData(ours, 1).length === 0) throw new TsrunError(`the witness ended with ${exitCode}`);
    return ours;
  } catch (error) {
    closeQuiet(ours);
    throw error;
  } finally {
    closeQuiet(theirs);
  }
}
