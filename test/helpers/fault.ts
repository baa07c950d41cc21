/**
 * Lets one system call of the runtime, or of the init, go wrong: test/fixtures/security/fault.c. A test of it needs
 * `compiled: "fault"`.
 */
import { compiled } from "./compiled.mjs";
import { type Detached, runDetached } from "./container.ts";
import { RUNTIME } from "./runtime.ts";
import { scratch } from "./scratch.ts";

export type Fault = "kill" | "EMFILE" | "ENOMEM" | "ENOSPC" | "EAGAIN" | "EIO";

/** Whose system calls are counted: the runtime's, those of the init, or those of the container's process. */
export const WHO = { runtime: 0, init: 1, container: 2 } as const;

const BEYOND = 222;
let binary: string | undefined;

function program(): string {
  binary ??= compiled("fault", scratch("fault"));
  return binary;
}

/** Runs the runtime; undefined when it made fewer than `nth` such calls. */
export function runFaulty(
  fault: Fault,
  nth: number,
  who: keyof typeof WHO,
  args: readonly string[],
): Detached | undefined {
  const ran = runDetached([fault, String(nth), String(WHO[who]), RUNTIME, ...args], { runtime: program() });
  return ran.code === BEYOND ? undefined : ran;
}
