/**
 * What an image may choose does not decide where something lands: links in the places of /proc, /sys, /dev and of
 * mount targets (CVE-2019-19921, CVE-2023-27561, CVE-2024-45310, CVE-2025-31133, CVE-2025-52565).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { expectNothingLeft, hostMounts, inventory, newId, run, runBundle, spawn } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

describe("links of the image", () => {
  const root = needs({ root: true });
  const tsrun = needs({ root: true, tsrun: true });

  tsrun("one in the place of /proc, /sys, /dev or a file system of the kernel below is refused", () => {
    const before = inventory();
    const decoys = ["tmp", "/tmp", "../../../../../../../tmp", "/proc/self/root", "/nonexistent", "."];
    for (const name of ["proc", "sys", "dev"]) {
      for (const to of decoys) {
        const bundle = makeBundle({ args: ["true"] });
        rmSync(join(bundle.rootfs, name), { recursive: true });
        symlinkSync(to, join(bundle.rootfs, name));
        const result = runBundle(bundle);
        expect({ name, to, code: result.code }).toEqual({ name, to, code: 1 });
        expect(result.stderr).toMatch(new RegExp(`/${name}.*ELOOP`));
        expect(result.stderr).toContain("symbolic link");
      }
    }
    expectNothingLeft(before);
  });

  tsrun("one in the place of /proc, /sys or /dev is refused whatever is mounted there: a bind, a tmpfs", () => {
    const source = scratch("source");
    for (const destination of ["/proc", "/sys", "/dev", "/dev/"]) {
      for (const mount of [
        { destination, type: "bind", source, options: ["bind"] },
        { destination, type: "tmpfs", source: "tmpfs" },
      ]) {
        const bundle = makeBundle({
          args: ["true"],
          edit: (spec) => {
            spec.mounts = [mount];
            spec.linux.maskedPaths = [];
            spec.linux.readonlyPaths = [];
          },
        });
        const place = join(bundle.rootfs, destination.replace(/\/$/, ""));
        rmSync(place, { recursive: true });
        symlinkSync("/tmp", place);
        const result = runBundle(bundle);
        expect({ mount, code: result.code }).toEqual({ mount, code: 1 });
        expect(result.stderr).toContain("ELOOP");
        expect(readdirSync(join(bundle.rootfs, "tmp")), JSON.stringify(mount)).toEqual([]);
      }
    }
  });

  tsrun("one in the way to where cgroups are mounted is refused", () => {
    for (const destination of ["/cgroup", "/up/cgroup"]) {
      const bundle = makeBundle({
        args: ["true"],
        mounts: [{ destination, type: "cgroup", source: "cgroup", options: ["ro"] }],
      });
      symlinkSync("/tmp", join(bundle.rootfs, "cgroup"));
      symlinkSync("tmp", join(bundle.rootfs, "up"));
      const result = runBundle(bundle);
      expect({ destination, code: result.code }).toEqual({ destination, code: 1 });
      expect(result.stderr).toContain("ELOOP");
      expect(readdirSync(join(bundle.rootfs, "tmp")), destination).toEqual([]);
    }
  });

  tsrun("one in the place of /dev/pts, /dev/mqueue or /dev/console is refused, where /dev is the image's", () => {
    for (const name of ["pts", "mqueue", "console"]) {
      const bundle = makeBundle({ args: ["true"], terminal: name === "console" });
      bundle.edit((spec) => {
        spec.mounts = spec.mounts.filter(({ destination }) => destination !== "/dev");
      });
      for (const dir of ["pts", "mqueue", "shm"]) mkdirSync(join(bundle.rootfs, "dev", dir));
      rmSync(join(bundle.rootfs, "dev", name), { recursive: true, force: true });
      symlinkSync("/tmp", join(bundle.rootfs, "dev", name));
      // A pseudo-terminal is asked for only when there is one to forward to.
      const result = runBundle(bundle);
      expect({ name, code: result.code }).toEqual({ name, code: 1 });
      expect(result.stderr, name).toContain("ELOOP");
      expect(readdirSync(join(bundle.rootfs, "tmp")), name).toEqual([]);
    }
  });

  tsrun("a /dev/pts of the image's own is not asked for a terminal, and nothing in it is opened", async () => {
    const bundle = makeBundle({ args: ["true"], terminal: true });
    bundle.edit((spec) => {
      spec.mounts = spec.mounts.filter(({ destination }) => !destination.startsWith("/dev"));
    });
    mkdirSync(join(bundle.rootfs, "dev/pts"));
    // To open a device can be a deed. A fifo tells whether somebody did: its writer waits until then.
    const fifo = join(bundle.rootfs, "dev/pts/ptmx");
    const script = `mkfifo "$1" && echo there && echo unread > "$1" && echo opened`;
    const writer = spawn(["-c", script, "sh", fifo], { runtime: "/bin/sh" });
    await writer.waitFor("there");
    const result = runBundle(bundle);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/EINVAL/);
    expect(run(["10", "head", "-n", "1", fifo], { runtime: "timeout" }).stdout).toBe("unread\n");
    await writer.exit;
  });

  root("a target below a link is made inside the rootfs, whatever the link says", () => {
    const before = hostMounts();
    const outside = scratch("outside");
    writeFileSync(join(outside, "host"), "host");
    const source = join(scratch("source"), "file");
    writeFileSync(source, "bound\n");
    for (const to of [
      outside,
      `../../../../../../../../../../..${outside}`,
      `/proc/self/root${outside}`,
      `/proc/1/cwd`,
    ]) {
      const bundle = makeBundle({
        args: ["true"],
        mounts: [
          { destination: "/link/tmp", type: "tmpfs", source: "tmpfs" },
          { destination: "/link/a/b/c", type: "tmpfs", source: "tmpfs" },
          { destination: "/link/file", source, options: ["bind"] },
          { destination: "/link/deep/file", source, options: ["bind"] },
          { destination: "/dangling", source, options: ["bind"] },
        ],
        edit(spec) {
          spec.process.cwd = "/link/cwd";
          spec.linux.devices = [{ path: "/link/device", type: "c", major: 1, minor: 3 }];
          spec.linux.maskedPaths = ["/link/host", "/link/none"];
          spec.linux.readonlyPaths = ["/link"];
        },
      });
      symlinkSync(to, join(bundle.rootfs, "link"));
      symlinkSync(join(to, "made"), join(bundle.rootfs, "dangling"));
      const { code } = runBundle(bundle);
      expect([0, 1], to).toContain(code);
      expect(readdirSync(outside), to).toEqual(["host"]);
      expect(readFileSync(join(outside, "host"), "utf8")).toBe("host");
    }
    expect(hostMounts()).toEqual(before);
  });

  root("what hides a path is ours: a /dev/null of the image has no say", () => {
    const bundle = makeBundle({
      args: ["sh", "-c", "cat /secret/file /secret-file; ls /secret; echo x > /secret-file"],
    });
    mkdirSync(join(bundle.rootfs, "secret"));
    for (const name of ["secret/file", "secret-file"]) writeFileSync(join(bundle.rootfs, name), "secret\n");
    writeFileSync(join(bundle.rootfs, "dev/null"), "not the null device\n");
    bundle.edit((spec) => {
      spec.linux.maskedPaths?.push("/secret", "/secret-file");
      // So that /dev is the image's.
      spec.mounts = spec.mounts.filter(({ destination }) => !destination.startsWith("/dev"));
    });
    const { stdout } = runBundle(bundle);
    expect(stdout).toBe("");
    expect(readFileSync(join(bundle.rootfs, "secret-file"), "utf8")).toBe("secret\n");
  });

  root("a null device in the image that is none is replaced", () => {
    for (const make of [
      (path: string) => writeFileSync(path, "fake"),
      (path: string) => symlinkSync("/etc/passwd", path),
    ]) {
      const bundle = makeBundle({ args: ["stat", "-c", "%F %t:%T", "/dev/null"] });
      bundle.edit((spec) => {
        spec.mounts = spec.mounts.filter(({ destination }) => !destination.startsWith("/dev"));
      });
      make(join(bundle.rootfs, "dev/null"));
      const { stdout } = runBundle(bundle);
      expect(stdout).toBe("character special file 1:3\n");
      expect(readFileSync(join(bundle.rootfs, "etc/passwd"), "utf8")).toContain("root:x:0:0");
    }
  });

  root("an /etc/passwd that is no file neither hangs nor opens a device", async () => {
    for (const make of [
      (path: string) => symlinkSync("/proc/self/fd/0", path),
      (path: string) => symlinkSync("/dev/tty", path),
      (path: string) => mkdirSync(path),
      (path: string) => symlinkSync("passwd", path),
    ]) {
      const bundle = makeBundle({ args: ["sh", "-c", "echo $HOME"], env: ["PATH=/bin"] });
      rmSync(join(bundle.rootfs, "etc/passwd"));
      make(join(bundle.rootfs, "etc/passwd"));
      const child = spawn(["run", "-b", bundle.path, newId()]);
      expect(await child.exit).toMatchObject({ code: 0, stdout: "/\n" });
    }
  });

  root("an /etc/passwd that leads out is read inside: nobody's home is what a file of the host says", () => {
    const outside = join(scratch("outside"), "passwd");
    writeFileSync(outside, "root:x:0:0:root:/of-the-host:/bin/sh\n");
    for (const to of [outside, `../../../../../../../../../..${outside}`]) {
      const bundle = makeBundle({ args: ["sh", "-c", "echo $HOME"], env: ["PATH=/bin"] });
      rmSync(join(bundle.rootfs, "etc/passwd"));
      symlinkSync(to, join(bundle.rootfs, "etc/passwd"));
      expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "/\n" });
    }
  });

  root("what tmpcopyup copies is the image's: no link is followed and no mount is crossed", () => {
    const outside = scratch("outside");
    writeFileSync(join(outside, "secret"), "secret");
    const bundle = makeBundle({
      args: ["sh", "-c", "find /data | sort; readlink /data/out"],
      mounts: [
        { destination: "/data/mounted", source: outside, options: ["bind"] },
        { destination: "/data", type: "tmpfs", source: "tmpfs", options: ["tmpcopyup"] },
      ],
    });
    mkdirSync(join(bundle.rootfs, "data/below"), { recursive: true });
    writeFileSync(join(bundle.rootfs, "data/below/file"), "");
    symlinkSync(outside, join(bundle.rootfs, "data/out"));
    const { stdout } = runBundle(bundle);
    expect(stdout).toBe(`/data\n/data/below\n/data/below/file\n/data/out\n${outside}\n`);
  });

  root("nothing is written to the rootfs's own parent", () => {
    const bundle = makeBundle({ args: ["true"] });
    const before = readdirSync(bundle.path).sort();
    bundle.edit((spec) => {
      spec.mounts.push(
        { destination: "/../../escaped", type: "tmpfs", source: "tmpfs" },
        { destination: "/mnt/../../../escaped-too", type: "tmpfs", source: "tmpfs" },
      );
    });
    expect([0, 1]).toContain(runBundle(bundle).code);
    expect(readdirSync(bundle.path).sort()).toEqual(before);
    expect(existsSync(join(bundle.path, "../escaped"))).toBe(false);
  });
});
