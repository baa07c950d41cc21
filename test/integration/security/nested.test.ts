/** tsrun in a container of tsrun: it works where the outer container lets it, and otherwise says what it does not let. */
import { chmodSync, chownSync, copyFileSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { CAPABILITIES } from "../../../src/spec/capabilities.ts";
import { type Bundle, busyboxRootfs, defaultConfig, type FullSpec, makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { expectNothingLeft, inventory, type Result, RUNTIME, runBundle } from "../../helpers/runtime.ts";

/**
 * A container that has tsrun, and in /inner a bundle whose process says who it is.
 *
 * @param flags of tsrun in the container
 */
function outer(edit: (spec: FullSpec) => void, editInner: (spec: FullSpec) => void = () => {}, flags = ""): Bundle {
  return makeBundle({
    args: ["sh", "-c", `tsrun ${flags} run -b /inner inner; code=$?; tsrun list -q; exit $code`],
    rootfs(path) {
      busyboxRootfs(path);
      copyFileSync(RUNTIME, join(path, "bin/tsrun"));
      chmodSync(join(path, "bin/tsrun"), 0o755);
      const inner = join(path, "inner");
      mkdirSync(join(inner, "rootfs"), { recursive: true });
      busyboxRootfs(join(inner, "rootfs"));
      const spec = defaultConfig();
      spec.process.terminal = false;
      spec.process.args = ["sh", "-c", "echo inside as $(id -u), pid $$"];
      editInner(spec);
      writeFileSync(join(inner, "config.json"), JSON.stringify(spec));
    },
    edit,
  });
}

/** Everything but what the host has to give: the device rules and the masks are those of the default config. */
function allCapabilities(spec: FullSpec): void {
  for (const set of ["bounding", "effective", "permitted"] as const) {
    spec.process.capabilities = { ...spec.process.capabilities, [set]: CAPABILITIES.slice(0, 38) };
  }
}

function writableCgroups(spec: FullSpec): void {
  for (const mount of spec.mounts) {
    if (mount.type === "cgroup") mount.options = (mount.options ?? []).filter((word) => word !== "ro");
  }
}

function userNamespace(spec: FullSpec): void {
  spec.linux.namespaces?.push({ type: "user" });
  spec.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  spec.linux.gidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
}

function ownedBy(bundle: Bundle, uid: number): Bundle {
  for (const path of ["", ...(readdirSync(bundle.rootfs, { recursive: true }) as string[])]) {
    const at = join(bundle.rootfs, path);
    if (!path.includes("busybox") && !path.startsWith("bin/") && !path.includes("/bin/")) chownQuietly(at, uid);
  }
  return bundle;
}

function chownQuietly(path: string, uid: number): void {
  try {
    chownSync(path, uid, uid);
  } catch {
    // A link that points at nothing here.
  }
}

const ran: Partial<Result> = { code: 0, stdout: "inside as 0, pid 1\n", stderr: "" };

describe("tsrun in a container", () => {
  const root = needs({ root: true, tsrun: true });

  root(
    "with every capability and cgroups that it may write: a container like any other, though /proc is masked",
    () => {
      const before = inventory();
      const bundle = outer((spec) => {
        allCapabilities(spec);
        writableCgroups(spec);
      });
      expect(runBundle(bundle)).toMatchObject(ran);
      expectNothingLeft(before);
    },
  );

  needs({ root: true, tsrun: true, controllers: ["pids"] })(
    "with a limit on the processes of the inner one: it has it, though on v2 it shares its cgroup with the outer",
    () => {
      const before = inventory();
      const bundle = outer(
        (spec) => {
          allCapabilities(spec);
          writableCgroups(spec);
        },
        (spec) => {
          spec.linux.resources = { ...spec.linux.resources, pids: { limit: 23 } };
          spec.process.args = ["sh", "-c", "cd /sys/fs/cgroup; cat pids.max 2>/dev/null || cat pids/pids.max"];
        },
      );
      expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "23\n", stderr: "" });
      expectNothingLeft(before);
    },
  );

  root("with every capability of a user namespace: the same, without limits of its own", () => {
    const before = inventory();
    const bundle = outer((spec) => {
      allCapabilities(spec);
      userNamespace(spec);
    });
    expect(runBundle(ownedBy(bundle, 100_000))).toMatchObject(ran);
    expectNothingLeft(before);
  });

  root("with read-only cgroups: it says that they are, and what to do", () => {
    const before = inventory();
    const { code, stdout, stderr } = runBundle(outer(allCapabilities));
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /^tsrun: run inner: mkdir \/sys\/fs\/cgroup\/.*: EROFS \(Read-only file system\)\n {2}fix: cgroups are mounted read-only here.*--cgroup-manager disabled/,
    );
    expect(runBundle(outer(allCapabilities, () => {}, "--cgroup-manager disabled"))).toMatchObject(ran);
    expectNothingLeft(before);
  });

  root("with a masked /proc, for a user namespace: it says what is hidden, and binding /proc works", () => {
    const before = inventory();
    const inUserNamespace = (spec: FullSpec) => {
      const { mounts, linux } = defaultConfig("runc-spec-rootless");
      const ids = [{ containerID: 0, hostID: 0, size: 1 }];
      Object.assign(spec, { mounts, linux: { ...linux, uidMappings: ids, gidMappings: ids } });
    };
    const flags = "--cgroup-manager disabled";
    const { code, stderr } = runBundle(outer(allCapabilities, inUserNamespace, flags));
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /^tsrun: run inner: mounts\[0\] \/proc: fsmount proc .*: EPERM .*\n {2}fix: the container that this is hides \/proc\/\w+, \/proc\/\w+, \/proc\/\S+ and \d+ more, and in a user namespace .*unmasked \/proc/,
      ),
    });
    const withBind = (spec: FullSpec) => {
      inUserNamespace(spec);
      Object.assign(spec.mounts[0] ?? {}, { type: "bind", source: "/proc", options: ["rbind"] });
    };
    expect(runBundle(outer(allCapabilities, withBind, flags))).toMatchObject({ code: 0 });
    expectNothingLeft(before);
  });

  root("without CAP_NET_ADMIN: it says that lo needs it", () => {
    const before = inventory();
    const bundle = outer(
      (spec) => {
        allCapabilities(spec);
        for (const set of Object.values(spec.process.capabilities ?? {})) {
          if (set.includes("CAP_NET_ADMIN")) set.splice(set.indexOf("CAP_NET_ADMIN"), 1);
        }
      },
      () => {},
      "--cgroup-manager disabled",
    );
    const { code, stderr } = runBundle(bundle);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: expect.stringMatching(
        /^tsrun: run inner: .*: loopback: EPERM .*\n {2}fix: bringing lo up needs CAP_NET_ADMIN/,
      ),
    });
    expectNothingLeft(before);
  });

  root("under a seccomp filter that forbids what it needs: it names the call, and the filter", () => {
    const before = inventory();
    const forbidding = (names: string[], code: number) =>
      runBundle(
        outer((spec) => {
          allCapabilities(spec);
          writableCgroups(spec);
          const syscalls = [{ names, action: "SCMP_ACT_ERRNO" as const, errnoRet: code }];
          spec.linux.seccomp = { defaultAction: "SCMP_ACT_ALLOW", syscalls };
        }),
      ).stderr;
    const [EPERM, ENOSYS] = [1, 38];
    const filter = /\n {2}fix: this process is under a seccomp filter/;
    for (const [names, code, call] of [
      [["mount_setattr"], EPERM, "mount_setattr"],
      [["mount_setattr"], ENOSYS, "mount_setattr"],
      [["memfd_create"], EPERM, "memfd_create"],
      [["openat2"], ENOSYS, "openat2"],
    ] as const) {
      const stderr = forbidding([...names], code);
      expect(stderr).toMatch(new RegExp(`^tsrun: run inner: .*${call} .*: ${code === EPERM ? "EPERM" : "ENOSYS"} `));
      expect(stderr).toMatch(filter);
    }
    expect(forbidding(["keyctl"], EPERM)).toContain("use --no-new-keyring");
    expectNothingLeft(before);
  });

  root("without CAP_SYS_ADMIN: it says that namespaces cannot be made without", () => {
    const before = inventory();
    const { code, stdout, stderr } = runBundle(ownedBy(outer(userNamespace), 100_000));
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(
      /^tsrun: run inner: linux\.namespaces: clone3 .*: EPERM \(Operation not permitted\)\n {2}fix: .*CAP_SYS_ADMIN/,
    );
    expectNothingLeft(before);
  });
});
