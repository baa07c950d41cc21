import { describe, expect, test } from "vitest";
import { SpecError } from "../../../src/errors.ts";
import { compileSeccomp } from "../../../src/seccomp/compile.ts";
import type { LinuxSeccomp } from "../../../src/spec/types.ts";
import { checkProgram, parseProgram, runFilter } from "../../helpers/bpf.ts";
import { callsOf, expectedAction } from "../../helpers/seccomp-model.ts";
import { engineProfile, generator, interestingArgs, randomProfile } from "../../helpers/seccomp-profiles.ts";

const X86_64 = 0xc000003e;
const I386 = 0x40000003;
const AARCH64 = 0xc00000b7;
const ARM = 0x40000028;
const X32 = 0x40000000;

const ALLOW = 0x7fff0000;
const KILL = 0;
const EPERM = 0x00050001;
const ENOSYS = 0x00050026;

const VALUES: Record<string, number> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: EPERM,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: ALLOW,
};

function filter(profile: LinuxSeccomp, native: "x86_64" | "aarch64" = "x86_64") {
  const program = parseProgram(compileSeccomp(profile, native).program);
  checkProgram(program);
  return (arch: number, nr: number, ...args: bigint[]) => runFilter(program, { nr, arch, args }).verdict;
}

const allow = (...names: string[]) => ({ names, action: "SCMP_ACT_ALLOW" });

describe("seccomp/compile", () => {
  test("calls of the profile and of no profile", () => {
    const verdict = filter({ defaultAction: "SCMP_ACT_ERRNO", syscalls: [allow("read", "write", "exit_group")] });
    expect([0, 1, 2, 230, 231].map((nr) => verdict(X86_64, nr))).toEqual([ALLOW, ALLOW, EPERM, EPERM, ALLOW]);
  });

  test("a profile without rules is its default action, for every call", () => {
    const verdict = filter({ defaultAction: "SCMP_ACT_ERRNO" });
    expect([0, 59, 471, 1000, 0x3fffffff].map((nr) => verdict(X86_64, nr))).toEqual(Array(5).fill(EPERM));
    expect(filter({ defaultAction: "SCMP_ACT_ALLOW", syscalls: [] })(X86_64, 1)).toBe(ALLOW);
  });

  test("calls of an architecture that the profile does not list kill the thread", () => {
    const verdict = filter({ defaultAction: "SCMP_ACT_ALLOW" });
    expect([I386, AARCH64, 0].map((arch) => verdict(arch, 1))).toEqual([KILL, KILL, KILL]);
  });

  test("x32 is another architecture, told by bit 30 of the number", () => {
    const profile = { defaultAction: "SCMP_ACT_ERRNO", syscalls: [allow("read", "ioctl")] };
    expect(filter(profile)(X86_64, X32)).toBe(KILL);
    const both = filter({ ...profile, architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X32"] });
    expect(both(X86_64, X32 + 0)).toBe(ALLOW);
    expect(both(X86_64, X32 + 16)).toBe(EPERM);
    expect(both(X86_64, X32 + 514)).toBe(ALLOW);
  });

  test("-1, with which a tracer skips a call, is no call of x32", () => {
    expect(filter({ defaultAction: "SCMP_ACT_ALLOW" })(X86_64, -1)).toBe(ALLOW);
    expect(filter({ defaultAction: "SCMP_ACT_ERRNO", syscalls: [allow("read")] })(X86_64, -1)).toBe(EPERM);
  });

  test("the native architecture is filtered also when the profile does not list it", () => {
    const profile = { defaultAction: "SCMP_ACT_ERRNO", architectures: ["SCMP_ARCH_X86"], syscalls: [allow("read")] };
    const verdict = filter(profile);
    expect(verdict(X86_64, 0)).toBe(ALLOW);
    expect(verdict(I386, 3)).toBe(ALLOW);
    expect(verdict(I386, 0)).toBe(EPERM);
  });

  test("an aarch64 machine: its own calls and those of arm", () => {
    const architectures = ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM", "SCMP_ARCH_X86_64"];
    const syscalls = [allow("read", "set_tls", "open")];
    const verdict = filter({ defaultAction: "SCMP_ACT_ERRNO", architectures, syscalls }, "aarch64");
    expect(verdict(AARCH64, 63)).toBe(ALLOW);
    expect(verdict(AARCH64, 0)).toBe(EPERM);
    expect(verdict(AARCH64, X32)).toBe(ENOSYS);
    expect(verdict(ARM, 3)).toBe(ALLOW);
    expect(verdict(ARM, 5)).toBe(ALLOW);
    expect(verdict(ARM, 0xf0005)).toBe(ALLOW);
    expect(verdict(ARM, 0xf0006)).toBe(ENOSYS);
    expect(verdict(X86_64, 0)).toBe(KILL);
  });

  test("architectures that no machine of this kind runs add nothing to the program", () => {
    const profile = { defaultAction: "SCMP_ACT_ERRNO", syscalls: [allow("read")] };
    const architectures = ["SCMP_ARCH_S390X", "SCMP_ARCH_RISCV64", "SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_AARCH64"];
    const with4 = compileSeccomp({ ...profile, architectures }, "x86_64").program;
    expect(with4).toEqual(compileSeccomp(profile, "x86_64").program);
  });

  describe("calls newer than the profile", () => {
    const syscalls = [allow("read", "openat2")];
    const architectures = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"];

    test("fail with ENOSYS where the default action denies", () => {
      for (const defaultAction of ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS", "SCMP_ACT_TRAP"]) {
        const verdict = filter({ defaultAction, architectures, syscalls });
        for (const arch of [X86_64, I386]) {
          expect(verdict(arch, 436)).toBe(VALUES[defaultAction]);
          expect(verdict(arch, 437)).toBe(ALLOW);
          expect(verdict(arch, 438)).toBe(ENOSYS);
          expect(verdict(arch, 5000)).toBe(ENOSYS);
        }
        // The last number of x32 that the profile names is that of openat2.
        expect(verdict(X86_64, X32 + 436)).toBe(VALUES[defaultAction]);
        expect(verdict(X86_64, X32 + 438)).toBe(ENOSYS);
      }
    });

    test("get the default action where that lets them through", () => {
      for (const defaultAction of ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"]) {
        const deny = [{ names: ["read", "openat2"], action: "SCMP_ACT_ERRNO" }];
        expect(filter({ defaultAction, syscalls: deny })(X86_64, 438)).toBe(VALUES[defaultAction]);
      }
      const traced = { defaultAction: "SCMP_ACT_TRACE", defaultErrnoRet: 5, syscalls };
      expect(filter(traced)(X86_64, 438)).toBe(0x7ff00005);
    });

    test("a name counts also when its entry has the default action", () => {
      const entries = [allow("read"), { names: ["futex_waitv"], action: "SCMP_ACT_ERRNO" }];
      const verdict = filter({ defaultAction: "SCMP_ACT_ERRNO", syscalls: entries });
      expect([448, 449, 450].map((nr) => verdict(X86_64, nr))).toEqual([EPERM, EPERM, ENOSYS]);
    });

    test("a default of ENOSYS needs no exception", () => {
      const verdict = filter({ defaultAction: "SCMP_ACT_ERRNO", defaultErrnoRet: 38, syscalls });
      expect([5, 438].map((nr) => verdict(X86_64, nr))).toEqual([ENOSYS, ENOSYS]);
    });
  });

  describe("what socketcall and ipc of i386 carry", () => {
    const base = { defaultAction: "SCMP_ACT_ERRNO", architectures: ["SCMP_ARCH_X86"] };

    test("is allowed there too, by its number in the first argument", () => {
      const verdict = filter({ ...base, syscalls: [allow("socket", "shmget", "accept", "recvmmsg")] });
      const through = (nr: number, call: bigint) => verdict(I386, nr, call);
      expect(verdict(I386, 359)).toBe(ALLOW);
      expect([1n, 2n, 5n, 19n].map((call) => through(102, call))).toEqual([ALLOW, EPERM, ALLOW, ALLOW]);
      expect([21n, 23n, 1n].map((call) => through(117, call))).toEqual([EPERM, ALLOW, EPERM]);
    });

    test("follows socketcall itself where the profile decides about that", () => {
      const verdict = filter({ ...base, syscalls: [allow("socketcall", "bind"), allow("ipc")] });
      expect(verdict(I386, 102, 17n)).toBe(ALLOW);
      expect(verdict(I386, 117, 3n)).toBe(ALLOW);
    });

    test("keeps no condition on the first argument, which lies behind a pointer", () => {
      const args = [{ index: 0, value: 40, op: "SCMP_CMP_NE" }];
      const verdict = filter({ ...base, syscalls: [{ ...allow("socket"), args }] });
      expect(verdict(I386, 359, 40n)).toBe(EPERM);
      expect(verdict(I386, 102, 1n)).toBe(ALLOW);
    });

    test("is no matter of x86_64", () => {
      expect(filter({ ...base, syscalls: [allow("socket")] })(X86_64, 102, 1n)).toBe(ENOSYS);
    });
  });

  test("arguments of 64-bit calls are compared whole, those of 32-bit calls by their lower half", () => {
    const value = 0x100000001n;
    const syscalls = [{ ...allow("ioctl"), args: [{ index: 1, value, op: "SCMP_CMP_EQ" }] }];
    const architectures = ["SCMP_ARCH_X86", "SCMP_ARCH_X32"];
    const verdict = filter({ defaultAction: "SCMP_ACT_ERRNO", architectures, syscalls });
    for (const [arch, nr, wide] of [
      [X86_64, 16, true],
      [X86_64, X32 + 514, false],
      [I386, 54, false],
    ] as const) {
      expect(verdict(arch, nr, 0n, value)).toBe(ALLOW);
      expect(verdict(arch, nr, 0n, 1n)).toBe(wide ? EPERM : ALLOW);
      expect(verdict(arch, nr, 0n, 2n)).toBe(EPERM);
    }
  });

  test("where rules of different actions overlap, the one that libseccomp tries first wins", () => {
    const rule = (action: string, op: string, value: number) => ({
      names: ["ioctl"],
      action,
      args: [{ index: 1, value, op }],
    });
    const syscalls = [
      rule("SCMP_ACT_KILL", "SCMP_CMP_GE", 1),
      rule("SCMP_ACT_ALLOW", "SCMP_CMP_EQ", 5),
      rule("SCMP_ACT_LOG", "SCMP_CMP_LE", 3),
    ];
    const verdict = filter({ defaultAction: "SCMP_ACT_ERRNO", syscalls });
    const log = 0x7ffc0000;
    expect([0n, 1n, 3n, 4n, 5n, 6n].map((arg) => verdict(X86_64, 16, 0n, arg))).toEqual([
      log,
      log,
      log,
      KILL,
      ALLOW,
      KILL,
    ]);
  });

  test("random profiles give what their rules say", () => {
    const random = generator(7);
    for (let i = 0; i < 150; i++) {
      const profile = randomProfile(random, {
        operators: ["EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ"],
        architectures: ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        actions: 1,
      });
      const verdict = filter(profile);
      const architectures = profile.architectures ?? [];
      const names = (profile.syscalls ?? []).flatMap((entry) => entry.names);
      for (const { name, arch, nr, wide } of callsOf(names)) {
        const isListed = arch === I386 ? "SCMP_ARCH_X86" : nr >= X32 ? "SCMP_ARCH_X32" : "SCMP_ARCH_X86_64";
        for (const args of interestingArgs(profile, 60)) {
          const action = expectedAction(profile, { name, wide, args });
          const want = VALUES[action === "default" ? profile.defaultAction : action];
          const isFiltered = isListed === "SCMP_ARCH_X86_64" || architectures.includes(isListed);
          if (verdict(arch, nr, ...args) !== (isFiltered ? want : KILL)) {
            const text = JSON.stringify(profile, (_, value) => (typeof value === "bigint" ? `${value}n` : value));
            throw new Error(`${name} ${nr} ${args}: ${verdict(arch, nr, ...args)}, not ${want}: ${text}`);
          }
        }
      }
    }
  });

  test("an engine's profile takes a handful of comparisons for a call", () => {
    const { program } = compileSeccomp(engineProfile(), "x86_64");
    const parsed = parseProgram(program);
    checkProgram(parsed);
    expect(parsed.length).toBeLessThan(400);
    for (let nr = 0; nr < 480; nr++) {
      expect(runFilter(parsed, { nr, arch: X86_64, args: [0n] }).steps).toBeLessThan(24);
    }
  });

  test("the flags: SPEC_ALLOW when nothing is said, else what is said", () => {
    const flags = (names?: string[]) =>
      compileSeccomp({ defaultAction: "SCMP_ACT_ALLOW", ...(names && { flags: names }) }, "x86_64").flags;
    expect(flags()).toBe(4);
    expect(flags([])).toBe(0);
    expect(flags(["SECCOMP_FILTER_FLAG_LOG"])).toBe(2);
    expect(flags(["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"])).toBe(6);
    expect(flags(["SECCOMP_FILTER_FLAG_TSYNC"])).toBe(0);
    expect(flags(["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"])).toBe(0);
    expect(compileSeccomp({ defaultAction: "SCMP_ACT_ALLOW", flags: null as never }, "x86_64").flags).toBe(4);
  });

  test("names of no architecture and flags without effect are warnings", () => {
    const flags = ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"];
    const syscalls = [allow("read", "spu_run", "no_such_call", "set_tls", "sync_file_range")];
    expect(compileSeccomp({ defaultAction: "SCMP_ACT_ERRNO", flags, syscalls }, "x86_64").warnings).toEqual([
      "seccomp: no system call of that name, rule skipped: spu_run, no_such_call",
      "seccomp: SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV has no effect without SCMP_ACT_NOTIFY",
    ]);
    expect(compileSeccomp({ defaultAction: "SCMP_ACT_ERRNO" }, "x86_64").warnings).toEqual([]);
  });

  const notify = (profile: Partial<LinuxSeccomp>) => {
    const syscalls = [{ names: ["mkdir"], action: "SCMP_ACT_NOTIFY" }, ...(profile.syscalls ?? [])];
    return compileSeccomp({ defaultAction: "SCMP_ACT_ALLOW", ...profile, syscalls }, "x86_64");
  };

  test("a profile that notifies gets a listener, and WAIT_KILLABLE_RECV with it", () => {
    expect(notify({}).flags).toBe(4 | 8);
    expect(notify({ flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", "SECCOMP_FILTER_FLAG_TSYNC"] }).flags).toBe(
      32 | 8,
    );
    expect(notify({ flags: ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"] }).warnings).toEqual([]);
    expect(compileSeccomp({ defaultAction: "SCMP_ACT_ALLOW", listenerPath: "/s" }, "x86_64").flags).toBe(4);
  });

  test("a profile that notifies must allow what its listener is handed over with", () => {
    const refused = (profile: Partial<LinuxSeccomp>) => {
      try {
        notify(profile);
        return [];
      } catch (error) {
        return (error as SpecError).problems.map(({ message }) => message);
      }
    };
    const message = (name: string) => `must allow ${name} beside SCMP_ACT_NOTIFY: the listener is handed over with it`;
    expect(refused({ defaultAction: "SCMP_ACT_ERRNO" })).toEqual([message("sendmsg"), message("read")]);
    expect(refused({ defaultAction: "SCMP_ACT_ERRNO", syscalls: [allow("sendmsg", "read")] })).toEqual([]);
    expect(refused({ defaultAction: "SCMP_ACT_LOG" })).toEqual([]);
    const asked = (name: string, value?: number) => ({
      names: [name],
      action: "SCMP_ACT_NOTIFY",
      ...(value !== undefined && { args: [{ index: 0, value, op: "SCMP_CMP_EQ" }] }),
    });
    expect(refused({ syscalls: [asked("sendmsg")] })).toEqual([message("sendmsg")]);
    expect(refused({ syscalls: [asked("sendmsg", 7)] })).toEqual([message("sendmsg")]);
    expect(refused({ syscalls: [asked("read"), asked("write")] })).toEqual([]);
  });

  test("all problems of a profile are one SpecError", () => {
    const profile = {
      defaultAction: "ALLOW",
      architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_ARM64"],
      flags: ["SECCOMP_FILTER_FLAG_LOGG", "constructor"],
      syscalls: [{ names: ["read"], action: "SCMP_ACT_NOTIFYY" }],
    };
    let error: unknown;
    try {
      compileSeccomp(profile, "x86_64");
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SpecError);
    expect((error as SpecError).problems.map(({ path }) => path)).toEqual([
      "linux.seccomp.flags[0]",
      "linux.seccomp.flags[1]",
      "linux.seccomp.architectures[1]",
      "linux.seccomp.defaultAction",
      "linux.seccomp.syscalls[0].action",
    ]);
  });

  test("a program longer than the kernel takes is refused", () => {
    const args = (value: number) => [{ index: 0, value, op: "SCMP_CMP_EQ" }];
    const rule = (_: unknown, i: number) => ({ ...allow("ioctl"), args: args(i) });
    const profile = { defaultAction: "SCMP_ACT_ERRNO", syscalls: Array.from({ length: 1100 }, rule) };
    expect(() => compileSeccomp(profile, "x86_64")).toThrow(
      /linux.seccomp.syscalls: makes a program of \d+ instructions; the kernel takes 4096/,
    );
    const shorter = { ...profile, syscalls: profile.syscalls.slice(0, 900) };
    expect(filter(shorter)(X86_64, 16, 899n)).toBe(ALLOW);
    expect(filter(shorter)(X86_64, 16, 900n)).toBe(EPERM);
  });
});
