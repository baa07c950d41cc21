/**
 * A container never reaches a writable copy of the runtime (CVE-2019-5736): what runs inside before the process is a
 * small program of its own, in a sealed memfd, and nobody may look into it.
 */
import { existsSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { sealsOf, withAttacker } from "../../helpers/attacker.ts";
import { busyboxRootfs, makeBundle } from "../../helpers/bundle.ts";
import { createContainer, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, RUNTIME, run, runBundle, runOk, spawn, stateOf } from "../../helpers/runtime.ts";

const ALL_SEALS = 0xf; // F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE

function rootfs(path: string): void {
  busyboxRootfs(path);
  withAttacker(path);
}

describe("the runtime's program and the container", () => {
  const root = needs({ root: true });
  const withCompiler = needs({ root: true, compiled: "attacker" });

  root("pid 1 is the container's own program, and nothing of the host is behind /proc/self/exe", () => {
    const bundle = makeBundle({ args: ["sh", "-c", "readlink /proc/1/exe; readlink /proc/self/exe"] });
    const { stdout } = runBundle(bundle);
    expect(stdout).toBe("/bin/busybox\n/bin/busybox\n");
  });

  withCompiler("what waits for start is the init, in a memfd that is sealed for good", () => {
    const { id } = createContainer(makeBundle({ args: ["true"] }));
    const exe = `/proc/${stateOf(id)?.pid}/exe`;
    expect(readlinkSync(exe)).toBe("/memfd:tsrun-init (deleted)");
    expect(sealsOf(exe) & ALL_SEALS).toBe(ALL_SEALS);
    expect(readFileSync(exe).length).toBeLessThanOrEqual(64 * 1024);
  });

  withCompiler(
    "a process of the container never gets hold of the program that carries an exec out",
    async () => {
      const size = readFileSync(RUNTIME).length;
      for (const userns of [false, true]) {
        const bundle = makeBundle({
          args: ["attacker", "watch"],
          rootfs,
          edit(spec) {
            if (!userns) return;
            spec.linux.namespaces?.push({ type: "user" });
            spec.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 65536 }];
            spec.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 65536 }];
          },
        });
        const id = newId();
        const watcher = spawn(["run", "-b", bundle.path, id]);
        await watcher.waitFor("watching");
        for (let i = 0; i < 40; i++) runOk(["exec", id, "/bin/true"]);
        watcher.child.stdin?.end();
        expect((await watcher.exit).stdout).toBe("watching\nlooked often enough: yes, reached 0\n");
      }
      expect(readFileSync(RUNTIME).length).toBe(size);
    },
    120_000,
  );

  root("/proc/self/exe as a command or as an interpreter runs nothing of the host", () => {
    const bundle = makeBundle({ args: ["sleep", "100"] });
    for (const [name, interpreter] of [
      ["evil", "/proc/self/exe"],
      ["evil7", "/proc/self/exe 7"],
      ["evilfd", "/proc/self/fd/4"],
    ]) {
      writeFileSync(join(bundle.rootfs, `bin/${name}`), `#!${interpreter}\n`, { mode: 0o755 });
    }
    const { id } = startContainer(bundle);
    for (const command of ["/proc/self/exe", "/proc/thread-self/exe", "/proc/self/fd/3", "/proc/self/fd/4"]) {
      const { code, stderr } = run(["exec", id, command]);
      expect(code, command).toBeGreaterThan(0);
      expect(stderr, command).toMatch(/ELOOP|open descriptor/);
      bundle.edit((spec) => {
        spec.process.args = [command];
      });
      expect(runBundle(bundle).code, command).toBe(1);
    }
    for (const command of ["evil", "evil7", "evilfd"]) {
      const { code, stdout } = run(["exec", id, command, "1", "2"]);
      expect({ command, stdout, isError: code > 0 }).toEqual({ command, stdout: "", isError: true });
    }
  });

  root("a library that the image names is not loaded into anything of ours", () => {
    const bundle = makeBundle({ args: ["true"], env: ["PATH=/bin", "LD_PRELOAD=/evil.so", "LD_LIBRARY_PATH=/"] });
    writeFileSync(join(bundle.rootfs, "evil.so"), "no library");
    expect(runBundle(bundle)).toMatchObject({ code: 0, stderr: "" });
    expect(existsSync("/evil.so")).toBe(false);
  });
});
