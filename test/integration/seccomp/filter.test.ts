/** A container's process meets the filter of its profile: the kernel's answers, not ours. */
import { spawnSync } from "node:child_process";
import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect } from "vitest";
import type { LinuxSeccomp } from "../../../src/spec/types.ts";
import { type Bundle, type BundleRequest, busyboxRootfs, makeBundle } from "../../helpers/bundle.ts";
import { compiled, notCompiled } from "../../helpers/compiled.mjs";
import { needs } from "../../helpers/needs.ts";
import { isTsrun, newId, run, runBundle, runOk, spawn } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";
import { engineProfile } from "../../helpers/seccomp-profiles.ts";

const SIGSYS = 31;
const EPERM = 1;
const ENOSYS = 38;

const root = needs({ root: true });
const x86 = needs({ root: true, compiled: "call" });
const allowAll: LinuxSeccomp = {
  defaultAction: "SCMP_ACT_ALLOW",
  architectures: ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
};

function bundle(seccomp: LinuxSeccomp, args: string[], request: BundleRequest = {}): Bundle {
  return makeBundle({
    ...request,
    args,
    edit: (spec) => {
      spec.linux.seccomp = seccomp;
      request.edit?.(spec);
    },
  });
}

const deny = (...names: string[]) => ({ names, action: "SCMP_ACT_ERRNO" });

describe("seccomp", () => {
  root("a call that the profile denies fails with EPERM, others work", () => {
    const profile = { ...allowAll, syscalls: [deny("mkdir", "mkdirat")] };
    const result = runBundle(bundle(profile, ["sh", "-c", "mkdir /tmp/a; touch /tmp/b && ls /tmp"]));
    expect(result).toMatchObject({ code: 0, stdout: "b\n" });
    expect(result.stderr).toContain("Operation not permitted");
  });

  root("errnoRet is the errno that the process sees", () => {
    const syscalls = [{ ...deny("chmod", "fchmodat", "fchmodat2"), errnoRet: 28 }];
    const result = runBundle(bundle({ ...allowAll, syscalls }, ["chmod", "600", "/etc/passwd"]));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("No space left on device");
  });

  root("the process has one filter, in mode 2", () => {
    const { stdout } = runBundle(bundle(allowAll, ["grep", "Seccomp", "/proc/self/status"]));
    expect(stdout).toBe("Seccomp:\t2\nSeccomp_filters:\t1\n");
  });

  root("without a profile there is no filter", () => {
    const { stdout } = runBundle(makeBundle({ args: ["grep", "Seccomp", "/proc/self/status"] }));
    // The test's own filter, where it runs in a container, would be counted too.
    const own = spawnSync("grep", ["Seccomp", "/proc/self/status"], { encoding: "utf8" }).stdout;
    expect(stdout).toBe(own);
  });

  root("an ordinary user without capabilities is filtered, with and without no_new_privs", () => {
    for (const noNewPrivileges of [true, false]) {
      const profile = { ...allowAll, syscalls: [deny("mkdir", "mkdirat")] };
      const edit: BundleRequest["edit"] = (spec) => {
        spec.process.user = { uid: 1000, gid: 1000 };
        spec.process.noNewPrivileges = noNewPrivileges;
        spec.process.capabilities = {};
      };
      const script = "mkdir /tmp/a; grep -E 'NoNewPrivs|CapPrm|CapEff' /proc/self/status";
      const result = runBundle(bundle(profile, ["sh", "-c", script], { edit }));
      expect(result.stderr).toContain("Operation not permitted");
      expect(result.stdout).toContain(`NoNewPrivs:\t${noNewPrivileges ? 1 : 0}\n`);
      expect(result.stdout).toContain("CapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n");
    }
  });

  root("a container in a user namespace of its own is filtered too", () => {
    const profile = { ...allowAll, syscalls: [deny("mkdir", "mkdirat")] };
    const edit: BundleRequest["edit"] = (spec) => {
      spec.process.noNewPrivileges = false;
      spec.process.capabilities = {};
    };
    const result = runBundle(bundle(profile, ["mkdir", "/tmp/a"], { rootless: true, edit }));
    expect(result.stderr).toContain("Operation not permitted");
    expect(result.code).toBe(1);
  });

  root("an engine's profile lets a shell work and keeps it from making namespaces and mounts", () => {
    const script = `
      echo text > /tmp/file && cp /tmp/file /tmp/copy && ls -l / | wc -l > /dev/null && sleep 0.01 && echo works
      unshare -m true || echo no unshare
      mount -t tmpfs none /mnt || echo no mount`;
    const all = ["CAP_SYS_ADMIN", "CAP_CHOWN"];
    const edit: BundleRequest["edit"] = (spec) => {
      spec.process.capabilities = { bounding: all, effective: all, permitted: all };
    };
    const result = runBundle(bundle(engineProfile(), ["sh", "-c", script], { edit }));
    expect(result.stdout).toBe("works\nno unshare\nno mount\n");
    expect(result.stderr.match(/Operation not permitted|permission denied/g)).toHaveLength(2);
  });

  root("a profile that does not allow execve keeps the process from starting, and says so", () => {
    const result = runBundle(bundle({ ...allowAll, syscalls: [deny("execve")] }, ["true"]));
    expect(result.code).not.toBe(0);
    expect(result.stderr).toMatch(/operation not permitted|EPERM/i);
  });

  needs({ root: true, tsrun: true })(
    "why a program is not executed is said whatever the profile does to sockets",
    () => {
      const rootfs = (path: string) => {
        busyboxRootfs(path);
        writeFileSync(join(path, "bin/broken"), "#!/nosuch\n", { mode: 0o755 });
      };
      for (const action of ["SCMP_ACT_ERRNO", "SCMP_ACT_KILL_PROCESS"]) {
        const profile = { ...allowAll, syscalls: [{ names: ["sendmsg"], action }] };
        const result = runBundle(bundle(profile, ["broken"], { rootfs }));
        expect(result).toMatchObject({ code: 1, stderr: expect.stringContaining('exec "broken": no such file') });
      }
    },
  );

  root("SCMP_ACT_KILL_PROCESS and SCMP_ACT_TRAP end the process with SIGSYS", () => {
    for (const action of ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_TRAP"]) {
      const syscalls = [{ names: ["mkdir", "mkdirat"], action }];
      expect(runBundle(bundle({ ...allowAll, syscalls }, ["mkdir", "/tmp/a"])).code).toBe(128 + SIGSYS);
    }
  });

  root("SCMP_ACT_LOG lets the call through", () => {
    const syscalls = [{ names: ["mkdir", "mkdirat"], action: "SCMP_ACT_LOG" }];
    expect(runBundle(bundle({ ...allowAll, syscalls }, ["mkdir", "/tmp/a"])).code).toBe(0);
  });

  root("what exec starts meets the filter too", async () => {
    const id = newId();
    const profile = { ...allowAll, syscalls: [deny("mkdir", "mkdirat")] };
    const script = "echo ready; while :; do sleep 0.1; done";
    const started = spawn(["run", "-b", bundle(profile, ["sh", "-c", script]).path, id]);
    await started.waitFor("ready");
    const result = run(["exec", id, "sh", "-c", "grep Seccomp: /proc/self/status; mkdir /tmp/a"]);
    runOk(["kill", id, "KILL"]);
    await started.exit;
    expect(result.stdout).toBe("Seccomp:\t2\n");
    expect(result.stderr).toContain("Operation not permitted");
    expect(result.code).toBe(1);
  });

  needs({ root: true, tsrun: true })("a profile that is wrong is refused with the place of every mistake", () => {
    const profile = {
      defaultAction: "SCMP_ACT_ALOW",
      syscalls: [{ names: ["mkdir"], action: "SCMP_ACT_ERRNO", args: [{ index: 9, value: 1, op: "SCMP_CMP_EQ" }] }],
    };
    const result = runBundle(bundle(profile, ["true"]));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("linux.seccomp.defaultAction");
    expect(result.stderr).toContain("SCMP_ACT_ALLOW");
    expect(result.stderr).toContain("linux.seccomp.syscalls[0].args[0].index");
  });

  describe("calls made one by one", () => {
    let program: string | undefined;
    beforeAll(() => {
      if (notCompiled("call") === undefined) program = compiled("call", scratch("call"));
    });

    /** What the call gives in a container with this profile: "ok", "errno N" or "signal". */
    function call(profile: LinuxSeccomp, ...args: (string | number | bigint)[]): string {
      const container = bundle(profile, ["/call", ...args.map(String)]);
      copyFileSync(program ?? "", join(container.rootfs, "call"));
      const result = runBundle(container);
      return result.code === 128 + SIGSYS ? "signal" : result.stdout.trim();
    }

    /** Some machines, and some virtual ones, have no entry for calls of 32-bit programs: they end by SIGSEGV. */
    const hasI386 = () => spawnSync(program ?? "", ["i386", "20"], { encoding: "utf8" }).stdout === "ok\n";

    const personality = { names: ["personality"], action: "SCMP_ACT_ERRNO" };
    const PERSONALITY = 135;

    x86("arguments are compared in all their 64 bits", () => {
      const args = [{ index: 0, value: 0x100000000, op: "SCMP_CMP_EQ" }];
      const profile = { ...allowAll, syscalls: [{ ...personality, args }] };
      expect(call(profile, "64", PERSONALITY, 0x100000000)).toBe(`errno ${EPERM}`);
      expect(call(profile, "64", PERSONALITY, 0)).toBe("ok");
    });

    x86("a value beyond 2^53 counts to its last digit", () => {
      // JSON.stringify knows no bigint, so the digits are put into the text.
      const args = [{ index: 1, value: 1234567890, op: "SCMP_CMP_EQ" }];
      const container = bundle({ ...allowAll, syscalls: [{ ...personality, args }] }, ["/call"]);
      copyFileSync(program ?? "", join(container.rootfs, "call"));
      const value = 0xfedcba9876543211n;
      for (const [given, want] of [
        [value, `errno ${EPERM}`],
        [value - 1n, "ok"],
        [value + 1n, "ok"],
      ] as const) {
        container.edit((spec) => {
          spec.process.args = ["/call", "64", String(PERSONALITY), "0", String(given)];
        });
        const config = join(container.path, "config.json");
        spawnSync("sed", ["-i", `s/1234567890/${value}/`, config]);
        expect(runBundle(container).stdout.trim()).toBe(want);
      }
    });

    x86("calls newer than the profile fail with ENOSYS", () => {
      const names = ["openat2", ...(engineProfile().syscalls?.[0]?.names ?? [])];
      const profile = { ...engineProfile(), syscalls: [{ names, action: "SCMP_ACT_ALLOW" }] };
      expect(call(profile, "64", 5000)).toBe(`errno ${ENOSYS}`);
      expect(call(profile, "64", PERSONALITY)).toBe(`errno ${EPERM}`);
    });

    x86("a call of i386 or x32 is none of a profile for x86_64", ({ skip }) => {
      skip(!hasI386(), "no calls of i386 on this machine");
      const profile = { ...allowAll, architectures: ["SCMP_ARCH_X86_64"] };
      const GETPID = { 64: 39, i386: 20 };
      expect(call(profile, "64", GETPID[64])).toBe("ok");
      expect(call(profile, "i386", GETPID.i386)).toBe("signal");
      expect(call(profile, "x32", GETPID[64])).toBe("signal");
    });

    x86("a profile for i386 too denies there what it denies here", ({ skip }) => {
      skip(!hasI386(), "no calls of i386 on this machine");
      const architectures = ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"];
      const profile = { ...allowAll, architectures, syscalls: [personality, deny("socket")] };
      expect(call(profile, "64", PERSONALITY)).toBe(`errno ${EPERM}`);
      expect(call(profile, "i386", 136)).toBe(`errno ${EPERM}`);
      expect(call(profile, "x32", PERSONALITY)).toBe(`errno ${EPERM}`);
      // socketcall(SYS_SOCKET) is socket(2).
      expect(call(profile, "i386", 102, 1)).toBe(`errno ${EPERM}`);
      expect(call(profile, "i386", 102, 2)).not.toBe(`errno ${EPERM}`);
    });

    needs({ root: true, compiled: "call", tsrun: isTsrun })("SCMP_ACT_TRACE without a tracer is ENOSYS", () => {
      const profile = { ...allowAll, syscalls: [{ names: ["personality"], action: "SCMP_ACT_TRACE" }] };
      expect(call(profile, "64", PERSONALITY)).toBe(`errno ${ENOSYS}`);
    });
  });
});
