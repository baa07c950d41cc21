/** What happens to one container, from the descriptors by which the kernel tells of it. */

import { watchFreezer } from "../cgroup/freeze-watch.ts";
import type { CgroupRecord } from "../cgroup/manager.ts";
import { watchOom } from "../cgroup/oom.ts";
import { PRESSURE_RESOURCES, type PressureResource, watchPressure } from "../cgroup/pressure.ts";
import { type CgroupStats, type Pressure, readStats } from "../cgroup/stats.ts";
import { type CgroupWatch, closeWatch } from "../cgroup/watches.ts";
import { StateError } from "../errors.ts";
import { POLLERR, POLLIN } from "../sys/constants.ts";
import { closeQuiet } from "../sys/file.ts";
import { pidfdOpen } from "../sys/process.ts";
import { waitUntil } from "../sys/wait.ts";
import type { Readiness } from "../sys/watch.ts";
import { rdtStats } from "./intel-rdt-stats.ts";
import { processStat } from "./lifecycle.ts";
import { networkInterfaces } from "./network.ts";
import type { ContainerExit } from "./options.ts";
import { exitOfEnded, oomOfGone, openExit } from "./post-mortem.ts";
import type { StateDirectory, StateRecord } from "./state.ts";

/** Something that happened to the container `id`, and what is known of it. */
export type ContainerEvent =
  | { type: "stats"; id: string; data: CgroupStats }
  /** The kernel has killed a process of the container for want of memory. */
  | { type: "oom"; id: string }
  /** Some of its tasks had to wait for longer than the threshold. */
  | { type: "pressure"; id: string; data: { resource: PressureResource } & Pressure }
  | { type: "freeze"; id: string; data: { frozen: boolean } }
  /** The last event of a container. */
  | { type: "exit"; id: string; data: ContainerExit };

/** What there is to be told of. */
export type EventType = ContainerEvent["type"];

/** Where events come from: descriptors to wait for, and what they mean. */
export interface EventSource {
  /** Nothing more will come. */
  readonly isOver: boolean;
  /** The same objects for as long as they are the same descriptors. */
  readonly watched: readonly Readiness[];
  /** @param fired what poll(2) told of each in `watched` */
  take(fired: readonly number[]): ContainerEvent[];
  /** The figures of now. */
  stats(): ContainerEvent[];
  close(): void;
}

export interface Wanted {
  types: readonly EventType[];
  pressureMs: number;
}

/** Before Linux 6.15 the monitor, which has collected the status, is the only one to tell it: in a moment. */
const EXIT_TIMEOUT_MS = 20;

/** `create` and `start` let go of it in less. */
const LOCK_TIMEOUT_MS = 500;

interface Part {
  watch: Omit<CgroupWatch<unknown>, "news">;
  take(): ContainerEvent[];
}

export class ContainerWatch implements EventSource {
  readonly #record: StateRecord;
  readonly #wanted: Wanted;
  #parts: Part[] = [];
  #pidFd: Readiness = { fd: -1, events: POLLIN };
  #exitFd: number | undefined;
  #oom: ReturnType<typeof watchOom>;
  /** For want of memory, as far as it was told. */
  #kills = 0;
  #isOver = false;

  /** Of a container that has ended, and was waited for, it is over at once. @throws SyscallError ESRCH, of such a one too */
  constructor(state: StateDirectory, record: StateRecord, wanted: Wanted) {
    this.#record = record;
    this.#wanted = wanted;
    try {
      this.#pidFd.fd = pidfdOpen(record.pid);
      this.#exitFd = openExitLocked(state);
      this.#watchCgroup(record.cgroup);
      // One that has ended just now is told of; when it was waited for, too, its number may be another's.
      this.#isOver = processStat(record.pid)?.startTime !== record.startTime;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #watchCgroup(cgroup: CgroupRecord | undefined): void {
    if (cgroup === undefined) return;
    const { types, pressureMs } = this.#wanted;
    const { id } = this.#record;
    // How it ended says so too, and of a cgroup that systemd removes with the last process there is no count then.
    const oom = types.includes("oom") || types.includes("exit") ? watchOom(cgroup) : undefined;
    if (oom !== undefined) this.#parts.push({ watch: oom, take: () => this.#ooms(oom.news()) });
    this.#oom = oom;
    const freezer = types.includes("freeze") ? watchFreezer(cgroup) : undefined;
    if (freezer !== undefined) {
      const take = (): ContainerEvent[] => {
        const frozen = freezer.news();
        return frozen === undefined ? [] : [{ type: "freeze", id, data: { frozen } }];
      };
      this.#parts.push({ watch: freezer, take });
    }
    for (const resource of types.includes("pressure") ? PRESSURE_RESOURCES : []) {
      const watch = watchPressure(cgroup, resource, pressureMs);
      if (watch === undefined) continue;
      this.#parts.push({ watch, take: () => [{ type: "pressure", id, data: { resource, ...watch.news() } }] });
    }
  }

  #ooms(count: number): ContainerEvent[] {
    this.#kills += count;
    if (!this.#wanted.types.includes("oom")) return [];
    return Array.from({ length: count }, () => ({ type: "oom", id: this.#record.id }));
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  get watched(): Readiness[] {
    return [this.#pidFd, ...this.#parts.map(({ watch }) => watch)];
  }

  take([ended = 0, ...fired]: readonly number[]): ContainerEvent[] {
    const told: ContainerEvent[] = [];
    const gone = new Set<Part>();
    for (const [index, part] of this.#parts.entries()) {
      const happened = fired[index] ?? 0;
      // The cgroup was removed: a trigger of pressure would be ready for ever.
      if (happened & POLLERR) gone.add(part);
      else if (happened !== 0) told.push(...part.take());
    }
    for (const { watch } of gone) closeWatch(watch);
    this.#parts = this.#parts.filter((part) => !gone.has(part));
    if (ended !== 0) told.push(...this.#end());
    return told;
  }

  /** What the kernel tells late is looked at once more: it has counted by now. */
  #end(): ContainerEvent[] {
    this.#isOver = true;
    const exit = this.#exit();
    const late = this.#oom === undefined ? 0 : this.#oom.news() + this.#oom.missed(exit.oomKills ?? 0);
    const told = this.#ooms(late);
    if (!this.#wanted.types.includes("exit")) return told;
    return [...told, { type: "exit", id: this.#record.id, data: { ...exit, ...this.#killed(exit) } }];
  }

  /** Nothing where the end says it. What was told before outlives the cgroup; what was not may be in the log. */
  #killed({ oomKilled }: ContainerExit): Pick<ContainerExit, "oomKilled" | "oomKills"> | undefined {
    if (oomKilled !== undefined) return undefined;
    return this.#kills > 0 ? { oomKilled: true, oomKills: this.#kills } : oomOfGone(this.#record);
  }

  #exit(): ContainerExit {
    let exit: ContainerExit = {};
    waitUntil(() => {
      exit = exitOfEnded(this.#record, this.#exitFd, this.#pidFd.fd) ?? {};
      return exit.exitCode !== undefined;
    }, EXIT_TIMEOUT_MS);
    return exit;
  }

  stats(): ContainerEvent[] {
    const data = statsOf(this.#record);
    return [{ type: "stats", id: this.#record.id, data }];
  }

  close(): void {
    for (const { watch } of this.#parts) closeWatch(watch);
    this.#parts = [];
    closeQuiet(this.#pidFd.fd);
    closeQuiet(this.#exitFd);
    this.#pidFd.fd = -1;
    this.#exitFd = undefined;
  }
}

/**
 * The lock keeps whoever removes the container from going on while the file is made. Who has the lock for long is not
 * waited for: without the record, what the kernel still tells when the container has ended has to do.
 */
function openExitLocked(state: StateDirectory): number | undefined {
  using lock = state.lockWithin(LOCK_TIMEOUT_MS);
  return lock && openExit(state);
}

/** @throws StateError when it has no cgroup */
export function statsOf(record: StateRecord): CgroupStats {
  const { cgroup } = record;
  if (cgroup === undefined || Object.keys(cgroup.paths).length === 0) {
    throw new StateError("the container has no cgroup, so nothing counts what it uses");
  }
  const stats = readStats(cgroup);
  stats.network_interfaces = networkInterfaces(record);
  if (record.intelRdt !== undefined) stats.intel_rdt = rdtStats(record.intelRdt);
  return stats;
}
