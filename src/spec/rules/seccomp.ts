/** linux.seccomp. Rules: OCI config-linux.md "Seccomp"; seccomp(2). */
import { isNotifying, NOTIFY, RECEIVER, seccompListener } from "../listener.ts";
import { type ObjectShape, S } from "../structure.ts";
import { quote } from "../text.ts";
import type { LinuxSeccomp } from "../types.ts";
import type { RuleContext } from "./context.ts";

export const ACTIONS: readonly string[] = [
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_LOG",
  "SCMP_ACT_NOTIFY",
];

export const OPERATORS: readonly string[] = [
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_EQ",
  "SCMP_CMP_GE",
  "SCMP_CMP_GT",
  "SCMP_CMP_MASKED_EQ",
];

const ACTION = { words: ACTIONS };

/** Every architecture that a profile may name. */
export const ARCHITECTURES: readonly string[] = [
  "SCMP_ARCH_X86",
  "SCMP_ARCH_X86_64",
  "SCMP_ARCH_X32",
  "SCMP_ARCH_ARM",
  "SCMP_ARCH_AARCH64",
  "SCMP_ARCH_LOONGARCH64",
  "SCMP_ARCH_M68K",
  "SCMP_ARCH_MIPS",
  "SCMP_ARCH_MIPS64",
  "SCMP_ARCH_MIPS64N32",
  "SCMP_ARCH_MIPSEL",
  "SCMP_ARCH_MIPSEL64",
  "SCMP_ARCH_MIPSEL64N32",
  "SCMP_ARCH_PPC",
  "SCMP_ARCH_PPC64",
  "SCMP_ARCH_PPC64LE",
  "SCMP_ARCH_S390",
  "SCMP_ARCH_S390X",
  "SCMP_ARCH_SH",
  "SCMP_ARCH_SHEB",
  "SCMP_ARCH_PARISC",
  "SCMP_ARCH_PARISC64",
  "SCMP_ARCH_RISCV64",
];

/** As many instructions as the kernel takes; each comparison needs one. */
const MAX_ARGUMENT_TESTS = 4096;

export const SECCOMP: ObjectShape = {
  members: {
    __proto__: null as never,
    defaultAction: ACTION,
    defaultErrnoRet: S.uint32,
    flags: {
      list: {
        words: [
          "SECCOMP_FILTER_FLAG_TSYNC",
          "SECCOMP_FILTER_FLAG_LOG",
          "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
          "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
        ],
      },
    },
    listenerPath: S.path,
    listenerMetadata: S.text,
    architectures: { list: { words: ARCHITECTURES } },
    syscalls: {
      list: {
        members: {
          __proto__: null as never,
          names: { list: S.text },
          action: ACTION,
          errnoRet: S.uint32,
          args: {
            max: MAX_ARGUMENT_TESTS,
            list: {
              members: {
                __proto__: null as never,
                index: S.uint32,
                value: S.uint64,
                valueTwo: S.uint64,
                op: { words: OPERATORS },
              },
              required: ["index", "value", "op"],
            },
          },
        },
        required: ["names", "action"],
      },
    },
  },
};

/** MAX_ERRNO of the kernel. A tracer gets all 16 bits. */
const MAX_ERRNO = 4095;
const MAX_TRACE = 0xffff;

export function checkSeccomp(context: RuleContext): void {
  const seccomp = context.spec.linux?.seccomp;
  if (seccomp === undefined) return;
  const { report } = context;
  // An empty object is how some callers write "none".
  if (seccomp.defaultAction === undefined && Object.keys(seccomp).length > 0) {
    report("linux.seccomp.defaultAction", "is missing");
  }
  if (seccomp.defaultAction === NOTIFY) {
    report(
      "linux.seccomp.defaultAction",
      `${NOTIFY} cannot be used as default action: nobody could hand the listener over`,
    );
  }
  checkListener(context, seccomp);
  checkErrno(context, seccomp.defaultAction, seccomp.defaultErrnoRet, "linux.seccomp.defaultErrnoRet");
  seccomp.syscalls?.forEach((syscall, i) => {
    const path = `linux.seccomp.syscalls[${i}]`;
    if (syscall.names?.length === 0) report(`${path}.names`, "is empty");
    syscall.names?.forEach((name, j) => {
      if (name === "") report(`${path}.names[${j}]`, "is empty");
      const why = syscall.action === NOTIFY ? NOT_ASKED[name] : undefined;
      if (why !== undefined) report(`${path}.names[${j}]`, `${NOTIFY} cannot be used for the ${name} syscall: ${why}`);
    });
    checkErrno(context, syscall.action, syscall.errnoRet, `${path}.errnoRet`);
    checkArguments(context, syscall.args, `${path}.args`);
  });
}

/** Calls that nobody can be asked about, and why. The init has its filter when it sends the listener. */
const NOT_ASKED: Readonly<Record<string, string>> = {
  __proto__: null as never,
  sendmsg: "the listener is handed over with it",
  write: "a profile with it starts under no other runtime",
};

/** Without somebody who listens every call that is notified of would fail, or wait for ever. */
function checkListener({ spec, report }: RuleContext, seccomp: LinuxSeccomp): void {
  if (!isNotifying(seccomp)) return;
  const listener = seccompListener(spec);
  if (listener === undefined) {
    report("linux.seccomp.listenerPath", `is missing: ${NOTIFY} needs it, or annotation ${RECEIVER}`);
  } else if (!listener.path.startsWith("/")) {
    report(listener.about, `must be an absolute path, not ${quote(listener.path)}`);
  }
}

function checkErrno(
  { report }: RuleContext,
  action: string | undefined,
  errno: number | undefined,
  path: string,
): void {
  const max = action === "SCMP_ACT_TRACE" ? MAX_TRACE : MAX_ERRNO;
  if (errno !== undefined && errno > max) report(path, `${errno} is out of range, 0 to ${max}`);
}

function checkArguments(
  { report }: RuleContext,
  args: NonNullable<LinuxSeccomp["syscalls"]>[number]["args"],
  path: string,
): void {
  args?.forEach(({ index }, i) => {
    if (index !== undefined && index > 5)
      report(`${path}[${i}].index`, `${index} is out of range: a call has arguments 0 to 5`);
  });
}
