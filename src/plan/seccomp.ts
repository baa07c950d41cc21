/**
 * The seccomp filter, and the wait until its listener has arrived where it goes: what is notified of has to be
 * answered from the first call on. Rules: OCI config-linux.md "Seccomp"; seccomp_unotify(2).
 */
import { SECCOMP_FILTER_FLAG_NEW_LISTENER } from "../seccomp/compile.ts";
import type { PlanBuilder } from "./builder.ts";
import { AWAIT } from "./step.ts";

export function planFilter(b: PlanBuilder, about: string, filter: { flags: number; program: Uint8Array }): void {
  b.add(about, "seccomp", filter.flags, filter.program);
  if ((filter.flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) !== 0) b.add(about, "await", AWAIT.LISTENER);
}
