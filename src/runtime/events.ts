/** `events`: what a container uses, and what happens to it. Rules: runc-events(8). */
import { PRESSURE_WINDOW_MS } from "../cgroup/pressure.ts";
import type { CgroupStats } from "../cgroup/stats.ts";
import { StateError, TsrunError } from "../errors.ts";
import { waitForAny } from "../init/relay.ts";
import { poll } from "../sys/process.ts";
import { type ContainerEvent, ContainerWatch, type EventSource, type EventType, statsOf } from "./container-watch.ts";
import { statusOf } from "./lifecycle.ts";
import { stateRoot } from "./paths.ts";
import { RootWatch } from "./root-watch.ts";
import { StateDirectory, type StateRecord } from "./state.ts";

export type { ContainerEvent, EventType };

/** What to be told of, and how often. */
export interface EventOptions {
  /** What to tell of. Default: "stats" and "oom", as `runc events`. */
  types?: readonly EventType[] | undefined;
  /** Time between two figures. Default: 5000. */
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
  const { types = ["stats", "oom"], pressureMs = 200 } = options;
  if (!Number.isInteger(pressureMs) || pressureMs < 1 || pressureMs > PRESSURE_WINDOW_MS) {
    throw new TsrunError(`pressure of ${pressureMs} ms cannot be watched for: 1 to ${PRESSURE_WINDOW_MS} ms can`);
  }
  const wanted = { types, pressureMs };
  if (id === undefined) return new RootWatch(stateRoot(root), wanted);
  const state = new StateDirectory(stateRoot(root), id);
  const record = runningRecord(state);
  // An error now rather than after the first interval.
  if (types.includes("stats")) statsOf(record);
  return new ContainerWatch(state, record, wanted);
}

function runningRecord(state: StateDirectory): StateRecord {
  const record = state.read();
  if (statusOf(record) === "stopped") throw new StateError(`container with id ${record.id} is not running`);
  return record;
}

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
    return this.#intervalMs === undefined ? -1 : Math.max(this.#next - performance.now(), 0);
  }

  isDue(): boolean {
    if (this.#intervalMs === undefined || performance.now() < this.#next) return false;
    this.#next += this.#intervalMs;
    return true;
  }
}
