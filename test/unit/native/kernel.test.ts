/**
 * native/kernel.h is written by hand so that a compiler is all the build needs. Here the machine's own headers are
 * asked whether each number in it is right, by a program of static assertions that is compiled and never run.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const header = readFileSync(new URL("../../../native/kernel.h", import.meta.url), "utf8");

/** Headers that go together in one program; those of the C library and the kernel's often do not. */
const GROUPS: readonly (readonly string[])[] = [
  [
    "errno.h fcntl.h net/if.h poll.h signal.h stddef.h sys/ioctl.h sys/mman.h sys/socket.h sys/stat.h sys/wait.h",
    "unistd.h linux/capability.h linux/close_range.h linux/keyctl.h linux/magic.h linux/openat2.h linux/seccomp.h",
    "linux/filter.h linux/prctl.h linux/sched.h linux/time_types.h sys/signalfd.h sys/resource.h limits.h linux/limits.h",
  ],
  ["linux/mount.h linux/fs.h linux/fcntl.h linux/stat.h linux/wait.h asm/termbits.h asm/ioctls.h linux/sockios.h"],
  ["sys/mount.h"],
  ["asm/signal.h"],
].map((lines) => lines.flatMap((line) => line.split(" ")));

/** Names of ours that the kernel spells otherwise. */
const SPELLED: Record<string, string> = {
  CAPABILITY_VERSION_3: "_LINUX_CAPABILITY_VERSION_3",
  WAIT_ALL: "__WALL",
};
/** Of our own making, or names that the headers have as enumerators, which the preprocessor does not tell. */
const NOT_ASKED =
  /^(TSRUN_KERNEL_H|SYS_?|SYSCALL_\w+|NR_\w+|SIGNAL_MAX|SCM_RIGHTS|FSCONFIG_\w+|MNT_DETACH|SOCK_CLOEXEC)$/;
/** Layouts of ours and the name they have elsewhere, by group of headers. */
const LAYOUTS: readonly (readonly [string, string, number])[] = [
  ["open_how", "struct open_how", 0],
  ["statx", "struct statx", 1],
  ["mount_attr", "struct mount_attr", 1],
  ["clone_args", "struct clone_args", 0],
  ["winsize", "struct winsize", 0],
  ["termios", "struct termios", 1],
  ["cap_header", "struct __user_cap_header_struct", 0],
  ["cap_data", "struct __user_cap_data_struct", 0],
  ["sock_fprog", "struct sock_fprog", 0],
  ["rlimit64", "struct rlimit64", 0],
  ["signalfd_siginfo", "struct signalfd_siginfo", 0],
  ["pollfd", "struct pollfd", 0],
  ["timespec", "struct __kernel_timespec", 0],
  ["ifreq", "struct ifreq", 0],
];

const hasHeaders = existsSync("/usr/include/linux/mount.h") && spawnSync("gcc", ["--version"]).status === 0;

/** The #define lines of a part of the header, as [name, value]. */
function defines(text: string): [string, string][] {
  return [...text.matchAll(/^#define (\w+) ([^\n]+?)(?: \/\*.*)?$/gm)].map(([, name = "", value = ""]) => [
    name,
    value,
  ]);
}

function compile(source: string, ...flags: string[]): void {
  const dir = mkdtempSync(join(tmpdir(), "tsrun-kernel-"));
  try {
    writeFileSync(join(dir, "check.c"), source);
    execFileSync("gcc", ["-std=gnu11", "-fsyntax-only", ...flags, join(dir, "check.c")], { stdio: "pipe" });
  } catch (error) {
    expect.fail((error as { stderr: Buffer }).stderr.toString());
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

describe.skipIf(!hasHeaders)("native/kernel.h (needs gcc and the kernel's headers)", () => {
  const [, x86 = "", arm = "", common = ""] =
    /#if defined\(__x86_64__\)\n(.*?)#elif defined\(__aarch64__\)\n(.*?)#else.*?#endif\n(.*)/s.exec(header) ?? [];
  const own = process.arch === "arm64" ? arm : x86;

  test("numbers of system calls are those of this machine", () => {
    const numbers = defines(own + common).filter(([name]) => name.startsWith("NR_"));
    expect(numbers.length).toBeGreaterThan(60);
    const checks = numbers.map(([name, value]) => `_Static_assert(__${name} == ${value}, "${name}");`);
    compile(`#include <asm/unistd.h>\n${checks.join("\n")}`);
  });

  test("numbers of system calls are those of every newer machine, for aarch64", () => {
    const numbers = defines(arm + common).filter(([name]) => name.startsWith("NR_"));
    expect(numbers.length).toBeGreaterThan(60);
    const checks = numbers.map(([name, value]) => `_Static_assert(__${name} == ${value}, "${name}");`);
    compile(
      `#define __ARCH_WANT_SET_GET_RLIMIT\n#define __ARCH_WANT_SYS_CLONE3\n#include <asm-generic/unistd.h>\n${checks.join("\n")}`,
    );
  });

  test("flags and constants are the kernel's", () => {
    const asked = defines(own + common).filter(([name]) => !NOT_ASKED.test(name));
    expect(asked.length).toBeGreaterThan(100);
    const left = new Map(asked);
    for (const group of GROUPS) {
      const known = macros(group);
      const checks: string[] = [];
      for (const [name, value] of left) {
        const theirs = SPELLED[name] ?? name;
        if (!known.has(theirs)) continue;
        left.delete(name);
        checks.push(`_Static_assert((unsigned long)(${theirs}) == (unsigned long)(${value}), "${name}");`);
      }
      compile(`${include(group)}${checks.join("\n")}`);
    }
    expect([...left.keys()]).toEqual([]);
  });

  test("structures have the kernel's size", () => {
    const path = fileURLToPath(new URL("../../../native/kernel.h", import.meta.url));
    const sizes = sizesOf(
      LAYOUTS.map(([name]) => `struct ${name}`),
      `#include "${path}"\n`,
    );
    for (const [index, group] of GROUPS.entries()) {
      const checks = LAYOUTS.flatMap(([name, theirs, at], i) =>
        at === index ? [`_Static_assert(sizeof(${theirs}) == ${sizes[i]}, "${name}");`] : [],
      );
      compile(`${include(group)}${checks.join("\n")}`);
    }
  });
});

function include(headers: readonly string[]): string {
  return `#define _GNU_SOURCE\n${headers.map((name) => `#include <${name}>\n`).join("")}`;
}

/** The names that the preprocessor knows after these headers. */
function macros(headers: readonly string[]): Set<string> {
  const text = execFileSync("gcc", ["-E", "-dM", "-"], { input: include(headers) }).toString();
  return new Set([...text.matchAll(/^#define (\w+) /gm)].map(([, name = ""]) => name));
}

/** Sizes of C types, told by an assembler listing: nothing is linked and nothing is run. */
function sizesOf(types: readonly string[], preamble: string): number[] {
  const source = `${preamble}${types.map((type, i) => `const unsigned long size_${i} = sizeof(${type});`).join("\n")}`;
  const text = execFileSync("gcc", ["-std=gnu11", "-x", "c", "-S", "-o", "-", "-"], { input: source }).toString();
  return types.map((_, i) => Number(new RegExp(`size_${i}:\\s+\\.(?:quad|xword)\\s+(\\d+)`).exec(text)?.[1]));
}
