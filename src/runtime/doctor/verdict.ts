/** What a verdict of `doctor` is. */
import type { Probes } from "./probes.ts";

/** One thing that containers need, and whether it is there. */
export interface Check {
  /** What was looked at, such as "namespace user". */
  name: string;
  /** limited: it works in part, or for others than this caller. */
  status: "ok" | "limited" | "missing";
  detail: string;
  /** What to do about it, where something can be done. */
  fix?: string;
}

/** A check, and whether no container runs without it. */
export type Verdict = Check & { isNeeded?: boolean };

export function isRoot({ host }: Probes): boolean {
  return host.euid === 0 && !host.userns;
}
