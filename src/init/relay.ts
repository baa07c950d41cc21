/**
 * Waiting for descriptors without blocking the program: Node and Bun can wait for a child, and for its output, but for
 * neither inotify, an eventfd, a pidfd nor a trigger of pressure. So a child of a few pages waits (native/relay.c).
 */
import { type Readiness, Relay } from "../sys/watch.ts";
import { initBinary } from "./binary.ts";

export interface Waiting {
  /**
   * Resolves to what happened at each descriptor (POLL*), all 0 when the time is over, undefined when the signal was
   * given.
   *
   * @param timeoutMs -1 waits for ever
   */
  next(watched: readonly Readiness[], timeoutMs: number): Promise<number[] | undefined>;
  end(): void;
}

export function waitForAny(signal: AbortSignal | undefined): Waiting {
  let relay: Relay | undefined;
  return {
    async next(watched, timeoutMs) {
      // A child has the descriptors that it was started with.
      if (relay !== undefined && !relay.isFor(watched)) {
        relay.end();
        relay = undefined;
      }
      relay ??= await Relay.start(initBinary(), "tsrun-relay", watched);
      return relay.next(timeoutMs, signal);
    },
    end: () => relay?.end(),
  };
}
