/**
 * What a profile says about one call, worked out the slow way: entry by entry, with whole 64-bit numbers. To hold
 * compiled filters against; for profiles whose rules have one action beside the default, so that no order matters.
 */
import { syscalls } from "../../src/seccomp/syscalls.ts";
import type { LinuxSeccomp, LinuxSeccompArg } from "../../src/spec/types.ts";

export interface Call {
  name: string;
  /** Of 32-bit architectures only the lower halves of arguments count. */
  wide: boolean;
  args: readonly bigint[];
}

/** "default" or the name of an action. */
export function expectedAction(profile: LinuxSeccomp, call: Call): string {
  let found = "default";
  for (const { names, action, args = [] } of profile.syscalls ?? []) {
    if (!names.includes(call.name) || action === profile.defaultAction) continue;
    const results = args.map((arg) => holds(arg, call));
    const isRepeated = new Set(args.map(({ index }) => index)).size < args.length;
    if (isRepeated ? results.includes(true) : !results.includes(false)) found = action;
  }
  return found;
}

function holds({ index, op, value, valueTwo = 0 }: LinuxSeccompArg, { wide, args }: Call): boolean {
  const bits = wide ? 64 : 32;
  const have = BigInt.asUintN(bits, args[index] ?? 0n);
  const want = BigInt.asUintN(bits, BigInt(value));
  switch (op) {
    case "SCMP_CMP_NE":
      return have !== want;
    case "SCMP_CMP_LT":
      return have < want;
    case "SCMP_CMP_LE":
      return have <= want;
    case "SCMP_CMP_EQ":
      return have === want;
    case "SCMP_CMP_GE":
      return have >= want;
    case "SCMP_CMP_GT":
      return have > want;
    case "SCMP_CMP_MASKED_EQ":
      return (have & want) === (BigInt.asUintN(bits, BigInt(valueTwo)) & want);
    default:
      throw new Error(`no operator ${op}`);
  }
}

/** Every call of the names, on each architecture of an x86_64 machine: audit architecture, number, width. */
export function callsOf(names: Iterable<string>): { name: string; arch: number; nr: number; wide: boolean }[] {
  const wanted = new Set(names);
  const found: { name: string; arch: number; nr: number; wide: boolean }[] = [];
  for (const [name, nr] of syscalls("x86_64")) {
    if (wanted.has(name)) found.push({ name, arch: 0xc000003e, nr, wide: true });
  }
  for (const [name, nr] of syscalls("x32")) {
    if (wanted.has(name)) found.push({ name, arch: 0xc000003e, nr: 0x40000000 + nr, wide: false });
  }
  for (const [name, nr] of syscalls("i386")) {
    if (wanted.has(name)) found.push({ name, arch: 0x40000003, nr, wide: false });
  }
  return found;
}
