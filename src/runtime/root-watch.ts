/**
 * What happens to all containers of a root, those that come later too. A container that lives for less time than it takes
 * to look at it may be missed.
 */

import { drain } from "../cgroup/watches.ts";
import { isErrno, StateError, SyscallError } from "../errors.ts";
import { IN_CREATE, IN_MOVED_TO, POLLIN } from "../sys/constants.ts";
import { closeQuiet } from "../sys/file.ts";
import { mkdirSync, readdirSync } from "../sys/fs.ts";
import { addWatch, inotify } from "../sys/notify.ts";
import type { Readiness } from "../sys/watch.ts";
import { type ContainerEvent, ContainerWatch, type EventSource, type Wanted } from "./container-watch.ts";
import { statusOf } from "./lifecycle.ts";
import { StateDirectory } from "./state.ts";

export class RootWatch implements EventSource {
  readonly isOver = false;
  readonly #root: string;
  readonly #wanted: Wanted;
  readonly #news: Readiness;
  readonly #containers = new Map<string, ContainerWatch>();

  constructor(root: string, wanted: Wanted) {
    this.#root = root;
    this.#wanted = wanted;
    // As the first container would make it.
    mkdirSync(root, { recursive: true, mode: 0o711 });
    this.#news = { fd: inotify(), events: POLLIN };
    try {
      addWatch(this.#news.fd, root, IN_CREATE);
      this.#look();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Finds the containers that have come. */
  #look(): void {
    for (const name of readdirSync(this.#root)) {
      if (this.#containers.has(name)) continue;
      const container = this.#follow(name);
      if (container?.isOver) container.close();
      else if (container !== undefined) this.#containers.set(name, container);
    }
  }

  /** @returns undefined for what is no container, or does not run yet, or any more */
  #follow(name: string): ContainerWatch | undefined {
    try {
      const state = new StateDirectory(this.#root, name);
      // state.json appears by rename, each time that it changes. Before we read: what comes after is told.
      addWatch(this.#news.fd, state.path, IN_MOVED_TO);
      const record = state.read();
      const status = statusOf(record);
      if (record.pid === 0 || status === "creating" || status === "stopped") return undefined;
      return new ContainerWatch(state, record, this.#wanted);
    } catch (error) {
      if (error instanceof StateError || (error instanceof Error && error.name === "SpecError")) return undefined;
      // It has ended, or was removed; or it is another user's.
      if (error instanceof SyscallError && isErrno(error, "ESRCH", "ENOENT", "ENOTDIR", "EINVAL", "EACCES"))
        return undefined;
      throw error;
    }
  }

  get watched(): Readiness[] {
    return [this.#news, ...[...this.#containers.values()].flatMap(({ watched }) => watched)];
  }

  take([news = 0, ...fired]: readonly number[]): ContainerEvent[] {
    const told: ContainerEvent[] = [];
    let at = 0;
    for (const [id, container] of this.#containers) {
      const { length } = container.watched;
      told.push(...container.take(fired.slice(at, at + length)));
      at += length;
      if (!container.isOver) continue;
      container.close();
      this.#containers.delete(id);
    }
    if (news !== 0) {
      drain(this.#news.fd);
      this.#look();
    }
    return told;
  }

  /** Of those that have a cgroup. */
  stats(): ContainerEvent[] {
    return [...this.#containers.values()].flatMap((container) => {
      try {
        return container.stats();
      } catch (error) {
        if (error instanceof StateError) return [];
        throw error;
      }
    });
  }

  close(): void {
    for (const container of this.#containers.values()) container.close();
    this.#containers.clear();
    closeQuiet(this.#news.fd);
  }
}
