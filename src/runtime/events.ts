/** `events`: what a container uses, and what happens to it. Rules: runc-events(8). */
import { PRESSURE_WINDOW_MS } from "../cgroup/pressure.ts";
import type { CgroupStats } from "../cgroup/stats.ts";
import { isErrno, StateError, TsrunError } from "../errors.ts";
import { waitForAny } from "../init/relay.ts";
import { poll } from "../sys/process.ts";
import {
  type ContainerEvent,
  ContainerWatch,
  type EventSource,
  type EventType,
  statsOf,
  type Wanted,
} from "./container-watch.ts";
import { statusOf } from "./lifecycle.ts";
import type { ContainerStatus } from "./options.ts";
import { stateRoot } from "./paths.ts";
import { RootWatch } from "./root-watch.ts";
import { StateDirectory, type StateRecord } from "./state.ts";

export type { ContainerEvent, EventType };

/** What to be told of, and how often. */
export interface EventOptions {
  /** What to tell of. Default: "stats" and "oom", as `runc events`. */
  types?: readonly EventType[] | undefined;
  /** Time between two figures, above 0. Default: 5000. */
  intervalMs?: number | undefined;
  /**
   * "pressure": for how long, within two seconds, tasks had to wait for the CPU, memory or I/O. Default: 200; at most
   * 2000. The kernel tells of it once in two seconds at most.
   */
  pressureMs?: number | undefined;
}

/** What it uses now. @throws StateError when it does not run or has no cgroup */
export function containerStats(root: string | undefined, id: string): CgroupStats {
  return statsOf(runningRecord(new StateDirectory(stateRoot(root), id)));
}

/**
 * Calls `tell` for everything that happens: until the container has ended or, without an id, to all containers of the
 * root and for ever. Blocks, and does nothing between the events: the kernel tells of each.
 *
 * @throws StateError when it does not run, or has no cgroup to take figures from
 */
export function watchContainer(
  root: string | undefined,
  id: string | undefined,
  options: EventOptions,
  tell: (event: ContainerEvent) => void,
): void {
  const source = openSource(root, id, options);
  const ticks = new Ticks(options);
  try {
    while (!source.isOver) {
      for (const event of source.take(poll(source.watched, ticks.waitMs()))) tell(event);
      if (!source.isOver && ticks.isDue()) for (const event of source.stats()) tell(event);
    }
  } finally {
    source.close();
  }
}

/**
 * The same as an iterable, for a program that goes on meanwhile. It ends with the container, with the loop that reads it,
 * or with the signal.
 *
 * @throws StateError at the first step, as watchContainer
 */
export async function* containerEvents(
  root: string | undefined,
  id?: string | undefined,
  options: EventOptions & { signal?: AbortSignal | undefined } = {},
): AsyncGenerator<ContainerEvent, void, undefined> {
  const source = openSource(root, id, options);
  const ticks = new Ticks(options);
  const waiting = waitForAny(options.signal);
  try {
    while (!source.isOver) {
      const fired = await waiting.next(source.watched, ticks.waitMs());
      if (fired === undefined) return;
      yield* source.take(fired);
      if (!source.isOver && ticks.isDue()) yield* source.stats();
    }
  } finally {
    waiting.end();
    source.close();
  }
}

function openSource(root: string | undefined, id: string | undefined, options: EventOptions): EventSource {
  const { types = ["stats", "oom"], pressureMs = 200, intervalMs = 5000 } = options;
  if (!(intervalMs > 0)) throw new TsrunError(`an interval of ${intervalMs} ms is none: it must be above 0`);
  if (!Number.isInteger(pressureMs) || pressureMs < 1 || pressureMs > PRESSURE_WINDOW_MS) {
    throw new TsrunError(`pressure of ${pressureMs} ms cannot be watched for: 1 to ${PRESSURE_WINDOW_MS} ms can`);
  }
  const wanted = { types, pressureMs };
  if (id === undefined) return new RootWatch(stateRoot(root), wanted);
  const state = new StateDirectory(stateRoot(root), id);
  const record = runningRecord(state);
  // An error now rather than after the first interval.
  if (types.includes("stats")) statsOf(record);
  return watchRunning(state, record, wanted);
}

/** @throws StateError when it has ended since it was looked at */
function watchRunning(state: StateDirectory, record: StateRecord, wanted: Wanted): ContainerWatch {
  try {
    const watch = new ContainerWatch(state, record, wanted);
    if (!watch.isOver) return watch;
    watch.close();
  } catch (error) {
    if (!isErrno(error, "ESRCH")) throw error;
  }
  throw notRunning(record, "stopped");
}

function runningRecord(state: StateDirectory): StateRecord {
  const record = state.read();
  const status = statusOf(record);
  if (status === "stopped" || record.pid === 0) throw notRunning(record, status);
  return record;
}

function notRunning({ id }: StateRecord, status: ContainerStatus): StateError {
  return new StateError(`container with id ${id} is not running: it is ${status}`);
}

/** What a timer of Node holds. */
const LONGEST_MS = 2 ** 31 - 1;

/** When figures are due. */
class Ticks {
  readonly #intervalMs: number | undefined;
  #next = 0;

  constructor({ types = ["stats"], intervalMs = 5000 }: EventOptions) {
    if (!types.includes("stats")) return;
    this.#intervalMs = intervalMs;
    this.#next = performance.now() + intervalMs;
  }

  /** -1: never. */
  waitMs(): number {
    if (this.#intervalMs === undefined) return -1;
    return Math.min(Math.max(this.#next - performance.now(), 0), LONGEST_MS);
  }

  isDue(): boolean {
    const now = performance.now();
    if (this.#intervalMs === undefined || now < this.#next) return false;
    this.#next += this.#intervalMs;
    // Who has not read for long wants the figures of now, and not all that were missed.
    if (this.#next < now) this.#next = now + this.#intervalMs;
    return true;
  }
}
