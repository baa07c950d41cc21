/** Lets one system call of the runtime, or of the init, go wrong: test/fixtures/security/fault.c. Needs gcc and x86_64. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { type Detached, runDetached } from "./container.ts";
import { ROOT, RUNTIME } from "./runtime.ts";
import { scratch } from "./scratch.ts";

export type Fault = "kill" | "EMFILE" | "ENOMEM" | "ENOSPC" | "EAGAIN" | "EIO";

/** Whose system calls are counted: the runtime's, those of the init, or those of the container's process. */
export const WHO = { runtime: 0, init: 1, container: 2 } as const;

const BEYOND = 222;
let binary: string | undefined;

function program(): string {
  if (binary === undefined) {
    binary = join(scratch("fault"), "fault");
    execFileSync("gcc", ["-O1", "-o", binary, join(ROOT, "test/fixtures/security/fault.c")]);
  }
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
