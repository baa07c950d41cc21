/** Short waits that block this thread: for what the kernel has no event for. */

const sleeper = new Int32Array(new SharedArrayBuffer(4));

export function sleepMs(milliseconds: number): void {
  Atomics.wait(sleeper, 0, 0, milliseconds);
}

/**
 * Asks again after 1, 2, 4 ... 50 ms until `done` says true; false when the time is over. A clock that is set back
 * meanwhile makes it no longer.
 */
export function waitUntil(done: () => boolean, timeoutMs: number): boolean {
  const end = performance.now() + timeoutMs;
  for (let pause = 1; !done(); pause = Math.min(pause * 2, 50)) {
    if (performance.now() >= end) return false;
    sleepMs(pause);
  }
  return true;
}
