/** No descriptor and no working directory of the host is left to the process (CVE-2024-21626, CVE-2016-9962). */
import { spawnSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, readdirSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { withAttacker } from "../../helpers/attacker.ts";
import { busyboxRootfs, makeBundle } from "../../helpers/bundle.ts";
import { sleepingBundle, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, RUNTIME, run, runBundle, stateOf } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

/** Directories of the host as the caller's descriptors 3 to 9, not close-on-exec. */
function runWithDescriptors(args: string[], cwd = "/"): { code: number | null; stdout: string; stderr: string } {
  const fds = Array.from({ length: 7 }, () => openSync(scratch("leak"), "r"));
  try {
    const child = spawnSync(RUNTIME, args, { stdio: ["pipe", "pipe", "pipe", ...fds], cwd, encoding: "utf8" });
    return { code: child.status, stdout: child.stdout, stderr: child.stderr };
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

function withTools(rootfs: string): void {
  busyboxRootfs(rootfs);
  withAttacker(rootfs);
}

describe("descriptors", () => {
  const withCompiler = needs({ root: true, compiled: "attacker" });
  const root = needs({ root: true });
  const tsrun = needs({ root: true, tsrun: true });

  withCompiler("the process has standard input, output and error, whatever the caller had open", () => {
    const bundle = makeBundle({ args: ["attacker", "descriptors"], rootfs: withTools });
    const numbers = (stdout: string) => stdout.split("\n").map((line) => line.split(" ")[0]);
    expect(numbers(runWithDescriptors(["run", "-b", bundle.path, newId()]).stdout)).toEqual(["0", "1", "2", ""]);
    const { id } = startContainer(sleepingBundle({ rootfs: withTools }));
    expect(numbers(runWithDescriptors(["exec", id, "attacker", "descriptors"]).stdout)).toEqual(["0", "1", "2", ""]);
    const made = runWithDescriptors(["run", "-b", bundle.path, "--preserve-fds", "2", newId()]);
    expect(numbers(made.stdout)).toEqual(["0", "1", "2", "3", "4", ""]);
  });

  tsrun("what waits for start holds its plan, its sockets and nothing of the host", () => {
    const bundle = makeBundle();
    const id = newId();
    const out = openSync("/dev/null", "r+");
    const fds = Array.from({ length: 7 }, () => openSync(scratch("leak"), "r"));
    expect(spawnSync(RUNTIME, ["create", "-b", bundle.path, id], { stdio: [out, out, out, ...fds] }).status).toBe(0);
    for (const fd of [out, ...fds]) closeSync(fd);
    const dir = `/proc/${stateOf(id)?.pid}/fd`;
    const others = readdirSync(dir).filter((fd) => Number(fd) > 2);
    for (const fd of others) expect(readlinkSync(join(dir, fd))).toMatch(/^(socket:|\/memfd:tsrun-plan)/);
    expect(others.length).toBeLessThanOrEqual(4);
  });

  root("a working directory through a descriptor is refused", () => {
    const secret = scratch("secret");
    writeFileSync(join(secret, "secret"), "of the host");
    for (const cwd of [
      ...Array.from({ length: 14 }, (_, fd) => `/proc/self/fd/${fd}`),
      "/proc/self/fd/5/../../..",
      "/proc/self/cwd",
      "/proc/self/../self/fd/6",
      "/proc/thread-self/fd/7",
      "/link7",
      "/link7/..",
    ]) {
      const bundle = makeBundle({ args: ["sh", "-c", "pwd; ls; ls ../.."] });
      symlinkSync("/proc/self/fd/7", join(bundle.rootfs, "link7"));
      bundle.edit((spec) => {
        spec.process.cwd = cwd;
      });
      const result = runWithDescriptors(["run", "-b", bundle.path, newId()], secret);
      expect({ cwd, code: result.code, stdout: result.stdout }).toEqual({ cwd, code: 1, stdout: "" });
      expect(result.stderr).toMatch(/^tsrun: /);
    }
  });

  root("so it is in exec", () => {
    const bundle = sleepingBundle();
    symlinkSync("/proc/self/fd/7", join(bundle.rootfs, "link7"));
    const { id } = startContainer(bundle);
    for (const cwd of [...Array.from({ length: 14 }, (_, fd) => `/proc/self/fd/${fd}`), "/link7"]) {
      const result = runWithDescriptors(["exec", "--cwd", cwd, id, "sh", "-c", "pwd; ls"]);
      expect({ cwd, code: result.code === 0, stdout: result.stdout }).toEqual({ cwd, code: false, stdout: "" });
    }
  });

  root("so it is where the descriptor is there on purpose: the directory is outside the container", () => {
    const bundle = sleepingBundle();
    symlinkSync("/proc/self/fd/7", join(bundle.rootfs, "link7"));
    const { id } = startContainer(bundle);
    const result = runWithDescriptors(["exec", "--preserve-fds", "7", "--cwd", "/link7", id, "sh", "-c", "pwd; ls"]);
    expect({ code: result.code === 0, stdout: result.stdout }).toEqual({ code: false, stdout: "" });
    expect(result.stderr).toContain("process.cwd");
  });

  root("a command through a descriptor is refused", () => {
    const bundle = sleepingBundle();
    symlinkSync("/proc/self/fd/7/../../bin/sh", join(bundle.rootfs, "bin/up"));
    const { id } = startContainer(bundle);
    for (const command of ["/proc/self/fd/7/../../../bin/sh", "/proc/self/fd/0", "/proc/1/root/bin/sh", "up"]) {
      const result = runWithDescriptors(["exec", id, command, "-c", "echo ran"]);
      expect({ command, code: result.code === 0, stdout: result.stdout }).toEqual({ command, code: false, stdout: "" });
    }
  });

  root("the caller's working directory is not the container's", () => {
    const cwd = scratch("caller");
    mkdirSync(join(cwd, "here"));
    const bundle = makeBundle({ args: ["sh", "-c", "pwd; readlink /proc/self/cwd; ls -d here"] });
    const result = run(["run", "-b", bundle.path, newId()], { cwd });
    expect(result.stdout).toBe("/\n/\n");
    const { id } = startContainer(sleepingBundle());
    expect(run(["exec", id, "readlink", "/proc/self/cwd"], { cwd }).stdout).toBe("/\n");
    expect(readlinkSync(`/proc/${stateOf(id)?.pid}/cwd`)).not.toContain(cwd);
  });

  root("a root of the host is not behind /proc/*/root, cwd or exe", () => {
    const script =
      "for p in /proc/[0-9]*; do for l in root cwd exe; do readlink $p/$l; done; done | sort -u; cat /proc/*/environ | tr '\\0' '\\n' | grep -c TSRUN_SECRET";
    const { stdout } = runBundle(makeBundle({ args: ["sh", "-c", script] }), [], { env: { TSRUN_SECRET: "x" } });
    expect(stdout).toBe("/\n/bin/busybox\n0\n");
  });
});
