/** Idmapped mounts: files of one id on the host that another id owns in the container. mount_setattr(2). */
import { chmodSync, chownSync, mkdirSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect } from "vitest";
import type { LinuxIDMapping, Mount } from "../../src/spec/types.ts";
import { busyboxRootfs, makeBundle } from "../helpers/bundle.ts";
import { isIdmappable } from "../helpers/idmappable.ts";
import { needs } from "../helpers/needs.ts";
import { deleteContainers, expectNothingLeft, inventory, runBundle } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true, tsrun: true, kernel: [5, 19], files: ["/bin/busybox"] });
afterAll(deleteContainers);

const range = (containerID: number, hostID: number, size = 1000): LinuxIDMapping[] => [{ containerID, hostID, size }];

/** A directory with a file and, a level down, another, of uid and gid 5. */
function source(): string {
  const directory = scratch("source");
  mkdirSync(join(directory, "below"));
  for (const name of ["file", "below/file"]) {
    writeFileSync(join(directory, name), "");
    chownSync(join(directory, name), 5, 5);
  }
  return directory;
}

const seen = (mount: Mount, script = "stat -c %u:%g /mnt/file; touch /mnt/new; stat -c %u:%g /mnt/new") =>
  runBundle(makeBundle({ args: ["sh", "-c", script], mounts: [mount] }));

describe("idmapped mounts", () => {
  root("a bind shows the ids of its own mappings, and what is written has those of the host", ({ skip }) => {
    const directory = source();
    skip(!isIdmappable(directory), "the file system of the tests has no idmapped mounts");
    const options = ["rbind", "idmap"];
    const mapped: Mount = { destination: "/mnt", source: directory, options };
    Object.assign(mapped, { uidMappings: range(0, 2000), gidMappings: range(0, 3000) });
    // Who is 0 in the container has no id below the mount's mapping, so it makes nothing there.
    const result = seen(mapped, "stat -c %u:%g /mnt/file");
    expect(result).toMatchObject({ code: 0, stdout: "2005:3005\n", stderr: "" });
    expect(statSync(join(directory, "file")).uid).toBe(5);
  });

  root("in a user namespace the container's own mappings make the host's ids the container's", ({ skip }) => {
    const directory = source();
    skip(!isIdmappable(directory), "the file system of the tests has no idmapped mounts");
    const bundle = makeBundle({
      args: ["sh", "-c", "stat -c %u:%g /mnt/file; touch /mnt/new; stat -c %u:%g /mnt/new"],
      mounts: [{ destination: "/mnt", source: directory, options: ["bind", "idmap"] }],
      edit: (spec) => {
        spec.linux.namespaces?.push({ type: "user" });
        spec.linux.uidMappings = range(0, 100000, 65536);
        spec.linux.gidMappings = range(0, 100000, 65536);
      },
    });
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "5:5\n0:0\n", stderr: "" });
    expect(statSync(join(directory, "new")).uid).toBe(0);
  });

  root("the words of crun are understood", ({ skip }) => {
    const directory = source();
    skip(!isIdmappable(directory), "the file system of the tests has no idmapped mounts");
    const options = ["bind", "idmap=uids=0-7000-10;gids=0-8000-10"];
    const result = seen({ destination: "/mnt", source: directory, options }, "stat -c %u:%g /mnt/file");
    expect(result).toMatchObject({ stdout: "7005:8005\n", stderr: "" });
  });

  root("and those of crun that are relative to the container's own mapping", ({ skip }) => {
    const directory = source();
    skip(!isIdmappable(directory), "the file system of the tests has no idmapped mounts");
    const bundle = makeBundle({
      args: ["stat", "-c", "%u:%g", "/mnt/file"],
      mounts: [{ destination: "/mnt", source: directory, options: ["bind", "idmap=uids=@0-7-10;gids=@0-8-10"] }],
      edit: (spec) => {
        spec.linux.namespaces?.push({ type: "user" });
        spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
        spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      },
    });
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "12:13\n", stderr: "" });
  });

  root("half of the mappings, and idmap without any, are refused with their place", () => {
    const half = seen({ destination: "/mnt", source: "/usr", options: ["bind"], uidMappings: range(0, 1) });
    expect(half.code).toBe(1);
    expect(half.stderr).toContain("needs both uidMappings and gidMappings");
    const none = seen({ destination: "/mnt", source: "/usr", options: ["bind", "idmap"] });
    expect(none.stderr).toContain('"idmap" needs uidMappings');
    const word = seen({ destination: "/mnt", source: "/usr", options: ["bind", "idmap=uids=x"] });
    expect(word.stderr).toContain("idmap= takes");
  });

  root("a file system that cannot map ids is named, and nothing is left", () => {
    const before = inventory();
    const mount = { destination: "/mnt", source: "/proc/sys", options: ["bind"], uidMappings: range(0, 1) };
    const result = seen({ ...mount, gidMappings: range(0, 1) });
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("ids of /proc/sys");
    expectNothingLeft(before);
  });
});

describe("tmpcopyup", () => {
  const copied = (options: string[], script: string) =>
    runBundle(
      makeBundle({
        args: ["sh", "-c", script],
        rootfs: populate,
        mounts: [{ destination: "/data", type: "tmpfs", source: "tmpfs", options }],
      }),
    );

  root("a tmpfs begins with what the image has there: files, modes, owners, links", () => {
    const script =
      "cd /data; cat file; stat -c '%a %u:%g' file suid sub sub/deep .; readlink link; cat sub/deep/inner; mount | grep -c ' /data type tmpfs'";
    const result = copied(["tmpcopyup", "size=10m"], script);
    expect(result.stderr).toBe("");
    expect(result.stdout.split("\n")).toEqual([
      "content",
      "604 5:6",
      "4755 0:0",
      "1777 7:7",
      "700 0:0",
      "755 8:9",
      "/etc/passwd",
      "inner",
      "1",
      "",
    ]);
  });

  root("a read-only one has its copy too", () => {
    const result = copied(["tmpcopyup", "ro"], "cat /data/file; touch /data/new || echo refused");
    expect(result.stdout).toBe("content\nrefused\n");
  });

  root("a link out of the image is copied as a link and not followed", () => {
    const result = copied(["tmpcopyup"], "test -L /data/host && test ! -f /data/host && echo link");
    expect(result.stdout).toBe("link\n");
  });

  root("on anything but a tmpfs it is refused", () => {
    const mounts = [{ destination: "/data", source: "/usr", options: ["bind", "tmpcopyup"] }];
    expect(runBundle(makeBundle({ mounts })).stderr).toContain('"tmpcopyup" is for a mount of type tmpfs');
  });
});

function populate(path: string): void {
  busyboxRootfs(path);
  mkdirSync(join(path, "data/sub/deep"), { recursive: true });
  const at = (name: string) => join(path, "data", name);
  writeFileSync(at("file"), "content\n");
  chmodSync(at("file"), 0o604);
  chownSync(at("file"), 5, 6);
  writeFileSync(at("suid"), "");
  chmodSync(at("suid"), 0o4755);
  writeFileSync(at("sub/deep/inner"), "inner\n");
  chmodSync(at("sub/deep"), 0o700);
  chmodSync(at("sub"), 0o1777);
  chownSync(at("sub"), 7, 7);
  symlinkSync("/etc/passwd", at("link"));
  symlinkSync("../../../../../../etc/hostname", at("host"));
  chmodSync(at("."), 0o755);
  chownSync(at("."), 8, 9);
}
