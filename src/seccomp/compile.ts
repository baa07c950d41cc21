/**
 * OCI linux.seccomp to what seccomp(2) takes: a classic BPF program and flags. A function of its arguments; the
 * native init loads the result. Rules: OCI config-linux.md "Seccomp"; what it leaves open is as in runc and
 * libseccomp (docs/seccomp.md).
 */
import { type Problem, SpecError } from "../errors.ts";
import { isNotifying } from "../spec/listener.ts";
import { ARCHITECTURES } from "../spec/rules/seccomp.ts";
import { didYouMean, quote } from "../spec/text.ts";
import type { LinuxSeccomp } from "../spec/types.ts";
import { NATIVE, type NativeArchitecture } from "./architectures.ts";
import { MAX_INSTRUCTIONS } from "./assembler.ts";
import { buildFilter } from "./filter.ts";
import { type Decisions, decisions, RET_ALLOW, RET_ERRNO_ENOSYS, RET_LOG, RET_USER_NOTIF } from "./rules.ts";
import { syscalls } from "./syscalls.ts";

export interface CompiledFilter {
  /** struct sock_filter[], little-endian. */
  program: Uint8Array;
  /** SECCOMP_FILTER_FLAG_*. */
  flags: number;
  /** What of the profile has no effect here. Worked out when read: only debug output asks. */
  readonly warnings: string[];
}

/** SECCOMP_FILTER_FLAG_* (linux/seccomp.h). */
const FLAGS: Record<string, number> = {
  SECCOMP_FILTER_FLAG_TSYNC: 1,
  SECCOMP_FILTER_FLAG_LOG: 2,
  SECCOMP_FILTER_FLAG_SPEC_ALLOW: 4,
  SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: 32,
};
export const FLAG_NAMES: readonly string[] = Object.keys(FLAGS);

const TSYNC = 1;
const WAIT_KILLABLE_RECV = 32;
/** The kernel gives the filter a listener; it is the runtime's to ask for and no flag of profiles. */
export const SECCOMP_FILTER_FLAG_NEW_LISTENER = 8;

/**
 * Compiles a profile for a machine. Architectures that the machine cannot run get no code: no call can come from
 * them. Names that are no system call of an architecture are skipped there; profiles list those of all machines.
 *
 * @throws SpecError for what the spec does not know, a listener that could not be handed over, and a program the
 *   kernel would not take
 */
export function compileSeccomp(profile: LinuxSeccomp, native: NativeArchitecture): CompiledFilter {
  const problems: Problem[] = [];
  const flags = filterFlags(profile, problems);
  const architectures = profileArchitectures(profile, native, problems);
  const { defaultAction, byName } = decisions(profile, problems);
  const isNotified = (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) !== 0;
  if (problems.length === 0 && isNotified) checkHandingOver({ defaultAction, byName }, problems);
  if (problems.length > 0) throw new SpecError(problems);

  const enosys = !PERMISSIVE.includes(profile.defaultAction) && defaultAction !== RET_ERRNO_ENOSYS;
  const program = buildFilter({ native, architectures, enosys, defaultAction, byName });
  if (program.length > 8 * MAX_INSTRUCTIONS) {
    const message = `makes a program of ${program.length / 8} instructions; the kernel takes ${MAX_INSTRUCTIONS}`;
    throw new SpecError([{ path: "linux.seccomp.syscalls", message }]);
  }
  return {
    program,
    flags,
    get warnings() {
      return warnings(profile, byName.keys());
    },
  };
}

/**
 * Under a denying default, system calls that are newer than all the profile names fail with ENOSYS: to a program,
 * EPERM is an answer, while ENOSYS makes it fall back on an older call. As runc's patchbpf does. A tracer is taken
 * to know what it does with new calls.
 */
const PERMISSIVE = ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG", "SCMP_ACT_TRACE"];

/** Without `flags` runc sets SPEC_ALLOW, because what else applies to a filter costs speed (linux 4.17, 5.16). */
function filterFlags(profile: LinuxSeccomp, problems: Problem[]): number {
  const names = profile.flags ?? ["SECCOMP_FILTER_FLAG_SPEC_ALLOW"];
  let flags = 0;
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    const flag = Object.hasOwn(FLAGS, name) ? FLAGS[name] : undefined;
    if (flag !== undefined) flags |= flag;
    else {
      const message = `unknown flag ${quote(name)}${didYouMean(String(name), FLAG_NAMES)}`;
      problems.push({ path: `linux.seccomp.flags[${i}]`, message });
    }
  }
  // The init that loads the filter has one thread, so there is nothing to synchronise.
  flags &= ~TSYNC;
  // The kernel takes WAIT_KILLABLE_RECV only with a listener.
  return isNotifying(profile) ? flags | SECCOMP_FILTER_FLAG_NEW_LISTENER : flags & ~WAIT_KILLABLE_RECV;
}

/**
 * Under its filter the init still sends the listener away (sendmsg), and waits until it has arrived (read). Nobody can
 * be asked about the first; without either the container would end without a word.
 */
function checkHandingOver({ defaultAction, byName }: Decisions, problems: Problem[]): void {
  for (const name of ["sendmsg", "read"]) {
    const decision = byName.get(name) ?? defaultAction;
    const verdicts =
      typeof decision === "number" ? [decision] : [defaultAction, ...decision.map((rule) => rule.action)];
    const passes = (verdict: number) =>
      verdict === RET_ALLOW || verdict === RET_LOG || (verdict === RET_USER_NOTIF && name === "read");
    if (verdicts.every(passes)) continue;
    const message = `must allow ${name} beside SCMP_ACT_NOTIFY: the listener is handed over with it`;
    problems.push({ path: "linux.seccomp.syscalls", message });
  }
}

/** The architectures of the profile; the native one is always filtered, as with libseccomp. */
function profileArchitectures(profile: LinuxSeccomp, native: NativeArchitecture, problems: Problem[]): Set<string> {
  const names = profile.architectures ?? [];
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    if (ARCHITECTURES.includes(name)) continue;
    const message = `unknown architecture ${quote(name)}${didYouMean(String(name), ARCHITECTURES)}`;
    problems.push({ path: `linux.seccomp.architectures[${i}]`, message });
  }
  return new Set([NATIVE[native].own.profileName, ...names]);
}

function warnings(profile: LinuxSeccomp, names: Iterable<string>): string[] {
  const found: string[] = [];
  const unknown = new Set(names);
  for (const architecture of ["x86_64", "i386", "x32", "aarch64", "arm"] as const) {
    for (const [name] of syscalls(architecture)) unknown.delete(name);
  }
  if (unknown.size > 0) found.push(`seccomp: no system call of that name, rule skipped: ${[...unknown].join(", ")}`);
  if (profile.flags?.includes("SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV") && !isNotifying(profile)) {
    found.push("seccomp: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV has no effect without SCMP_ACT_NOTIFY");
  }
  return found;
}
