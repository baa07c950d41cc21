/**
 * How a container ended: exit code, signal, core dump, and what its cgroup has counted to the last.
 *
 * Whoever waits for the container knows its status: the monitor of `run`, or runContainer(), keep it in the state beside
 * state.json. Nobody of ours waits for a detached one. Its figures are read from its cgroup, which stays until `delete`;
 * its status is with its parent, and with the kernel as long as that has not asked (a zombie) or for who holds a pidfd
 * (Linux 6.15). Where systemd has removed the cgroup, the kernel's log has the kills, and what it says is kept. Rules: wait(2), proc_pid_stat(5), the kernel's include/uapi/linux/pidfd.h.
 */
import type { CgroupRecord } from "../cgroup/manager.ts";
import type { OomAnswer } from "../cgroup/oom-log.ts";
import { pastKills } from "../cgroup/oom-past.ts";
import { type CgroupTally, killsText, readTally, readTallyFiles, tally, tallyFiles } from "../cgroup/tally.ts";
import { isErrno } from "../errors.ts";
import { O_CREAT, O_NOFOLLOW, O_RDONLY, O_TRUNC, O_WRONLY, SIGNALS } from "../sys/constants.ts";
import { closeQuiet, open, readText, seek, write } from "../sys/file.ts";
import { geteuid, pidfdExitStatus, type WaitStatus } from "../sys/process.ts";
import { zombieStatus } from "./lifecycle.ts";
import type { ContainerExit } from "./options.ts";
import { MissingError, type StateDirectory, type StateRecord } from "./state.ts";
import { awaitWitness } from "./witness.ts";

/** Of a container that has ended; undefined when nothing is known any more. */
export function containerExit(state: StateDirectory, record: StateRecord): ContainerExit | undefined {
  const kept = openKept(state);
  try {
    const exit = exitOfEnded(record, kept, undefined);
    if (exit?.oomKilled !== undefined) return exit;
    const oom = oomOfGone(record);
    if (oom !== undefined) keepOom(state, record, oom);
    return oom === undefined ? exit : { ...exit, ...oom };
  } finally {
    closeQuiet(kept);
  }
}

/** What exitOfEnded does not know any more; undefined when nobody does. */
export function oomOfGone({ cgroup, pid }: StateRecord): OomAnswer | undefined {
  return cgroup && pastKills(cgroup, pid);
}

/** For the next who asks: by then the log may have been overwritten. Of what is kept already only the kills are new. */
function keepOom(state: StateDirectory, record: StateRecord, oom: OomAnswer): void {
  if (record.cgroup === undefined) return;
  let kept: number | undefined;
  try {
    using lock = state.lockWithin(0);
    // Whoever has it knows more than this, and will write it.
    if (lock === undefined) return;
    kept = openKept(state);
    const [status, , ...others] =
      kept === undefined ? [] : (splitExit(readText(kept, state.exitFile), record.cgroup) ?? []);
    const texts =
      others.length > 0
        ? others
        : tallyFiles(record.cgroup)
            .slice(1)
            .map(() => "");
    const known = Number(status ?? -1);
    writeExit(state.exitFile, known < 0 ? statusNow(record, undefined) : known, [killsText(oom), ...texts]);
  } catch (error) {
    // Somebody has deleted it, or it is not ours to write to.
    if (!(error instanceof MissingError) && !isErrno(error, "EACCES", "EPERM", "EROFS", "ENOSPC")) throw error;
  } finally {
    closeQuiet(kept);
  }
}

function openKept(state: StateDirectory): number | undefined {
  try {
    return open(state.exitFile, O_RDONLY | O_NOFOLLOW);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

/**
 * @param exitFd what openExit gave, or undefined
 * @param pidFd a pidfd that was opened while it lived, or undefined
 */
export function exitOfEnded(
  record: StateRecord,
  exitFd: number | undefined,
  pidFd: number | undefined,
): ContainerExit | undefined {
  if (exitFd !== undefined) awaitWitness(record.cgroup, exitFd);
  const read = () => (exitFd === undefined ? undefined : readExit(exitFd, record.cgroup));
  let kept = read();
  const counted = kept === undefined && record.cgroup !== undefined ? readTally(record.cgroup) : {};
  // The cgroup may have gone while it was read; the record is written before.
  kept ??= read();
  const status = kept?.status ?? statusNow(record, pidFd);
  const figures = kept?.figures ?? counted;
  const { oomKilled, oomKills, memoryPeak, cpu } = figures;
  const result: ContainerExit = {
    ...(status !== undefined && decodeStatus(status)),
    ...(oomKilled && { oomKilled }),
    ...(oomKills !== undefined && { oomKilled: oomKills > 0, oomKills }),
    ...(memoryPeak !== undefined && { memoryPeak }),
    ...(cpu !== undefined && { cpu }),
  };
  return Object.keys(result).length > 0 ? result : undefined;
}

interface Kept {
  status: number | undefined;
  figures: CgroupTally;
}

/** @returns undefined while it is empty, or half-written: the cgroup is there then */
function readExit(fd: number, cgroup: CgroupRecord | undefined): Kept | undefined {
  seek(fd, 0);
  return parseExit(readText(fd, "exit"), cgroup);
}

export function parseExit(text: string, cgroup: CgroupRecord | undefined): Kept | undefined {
  const fields = splitExit(text, cgroup);
  if (fields === undefined) return undefined;
  const [status, ...texts] = fields;
  const version = cgroup?.layout === "v2" ? 2 : 1;
  return { status: Number(status) < 0 ? undefined : Number(status), figures: tally(version, texts) };
}

function splitExit(text: string, cgroup: CgroupRecord | undefined): string[] | undefined {
  const fields = text.split("\0");
  const count = cgroup === undefined ? 0 : tallyFiles(cgroup).length;
  // What comes after the last NUL is nothing.
  return fields.length === count + 2 && fields.pop() === "" ? fields : undefined;
}

function statusNow(record: StateRecord, pidFd: number | undefined): number | undefined {
  // Shown as 0 to who may not look into the process.
  const zombie = geteuid() === 0 ? zombieStatus(record.pid, record.startTime) : undefined;
  return zombie ?? (pidFd === undefined ? undefined : pidfdExitStatus(pidFd));
}

/** A status of wait(2) in words: the code, or 128 and the signal; the signal; whether it left a core dump. */
export function decodeStatus(status: number): Pick<ContainerExit, "exitCode" | "signal" | "coreDumped"> {
  const signal = status & 0x7f;
  if (signal === 0) return { exitCode: (status >> 8) & 0xff };
  const name = Object.keys(SIGNALS).find((key) => SIGNALS[key] === signal) ?? `SIGRTMIN+${signal - SIGRTMIN}`;
  return { exitCode: 128 + signal, signal: name, coreDumped: (status & 0x80) !== 0 };
}

/** What waitid(2) told, as wait(2) would have. */
export function encodeStatus({ kind, exitCode, signal, coreDumped }: WaitStatus): number {
  return kind === "exited" ? exitCode << 8 : signal | (coreDumped ? 0x80 : 0);
}

/** As the C library counts: the first two are its own. */
const SIGRTMIN = 34;

/**
 * A descriptor of the record of the end, which is empty until there is one. Whoever removes the container writes the
 * record when this file is there, and the descriptor outlives the file. For who holds the lock of the state.
 *
 * @returns undefined when we may not write there
 */
export function openExit(state: StateDirectory): number | undefined {
  try {
    return open(state.exitFile, O_RDONLY | O_CREAT | O_NOFOLLOW, 0o600);
  } catch (error) {
    if (isErrno(error, "EACCES", "EPERM", "EROFS", "ENOENT")) return undefined;
    throw error;
  }
}

/**
 * Keeps how a container ended, before its cgroup goes, for who waits for it with openExit.
 *
 * @param status of wait(2), from who waited for the container; without it a record that is kept already stays
 * @param make make the record, though nobody waits for it
 */
export function keepExit(state: StateDirectory, record: StateRecord, status?: number, make = false): void {
  const { cgroup } = record;
  const kept = openKept(state);
  if (kept === undefined && !make) return;
  let known: string[] | undefined;
  try {
    if (kept !== undefined) awaitWitness(cgroup, kept);
    known = kept === undefined ? undefined : splitExit(readText(kept, state.exitFile), cgroup);
  } finally {
    closeQuiet(kept);
  }
  if (known !== undefined && status === undefined) return;
  const texts = cgroup === undefined ? [] : readTallyFiles(cgroup);
  writeExit(
    state.exitFile,
    status ?? statusNow(record, undefined),
    texts.map((now, i) => now ?? known?.[i + 1]),
  );
}

function writeExit(path: string, status: number | undefined, texts: readonly (string | undefined)[]): void {
  const fields = [status ?? -1, ...texts];
  const fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600);
  try {
    write(fd, fields.map((field) => `${field ?? ""}\0`).join(""), path);
  } finally {
    closeQuiet(fd);
  }
}
