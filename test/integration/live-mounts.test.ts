/** `mounts add` and `mounts remove`: what a container that runs sees more, and no more. crun's command line. */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { Mount } from "../../src/spec/types.ts";
import { type BundleRequest, busyboxRootfs } from "../helpers/bundle.ts";
import { createContainer, sleepingBundle, startContainer } from "../helpers/container.ts";
import { isIdmappable } from "../helpers/idmappable.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  hostMounts,
  inventory,
  type Leftovers,
  type Result,
  run,
  runOk,
  stateOf,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true, tsrun: true });

let before: Leftovers;
let mountsBefore: string[];
beforeAll(() => {
  before = inventory();
  mountsBefore = hostMounts();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
  expect(hostMounts()).toEqual(mountsBefore);
});

function started(request: BundleRequest = {}): string {
  return startContainer(sleepingBundle(request)).id;
}

function change(word: "add" | "remove", id: string, mounts: unknown): Result {
  return run(["mounts", word, id, "-"], { input: JSON.stringify(mounts) });
}

function changed(word: "add" | "remove", id: string, ...mounts: Partial<Mount>[]): void {
  expect(change(word, id, mounts)).toMatchObject({ code: 0, stdout: "", stderr: "" });
}

const sh = (id: string, script: string) => runOk(["exec", id, "sh", "-c", script]);
const mountsOf = (id: string) => sh(id, "cut -d' ' -f2 /proc/mounts").trim().split("\n");

/** A directory of the host with a file in it. */
function source(): string {
  const dir = scratch("live");
  writeFileSync(join(dir, "file"), "of the host\n");
  return dir;
}

const mapped = (spec: Parameters<NonNullable<BundleRequest["edit"]>>[0]) => {
  spec.linux.namespaces?.push({ type: "user" });
  spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
  spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
};

describe("mounts add", () => {
  root("binds and file systems are there, with their options, and gone again", () => {
    const id = started();
    const dir = source();
    const before = mountsOf(id);
    const mounts: Mount[] = [
      { destination: "/new/data", source: dir, options: ["bind", "ro"] },
      { destination: "/new/file", source: join(dir, "file"), options: ["bind"] },
      { destination: "/new/tmp", type: "tmpfs", source: "tmpfs", options: ["size=1m", "noexec"] },
      { destination: "/new/proc", type: "proc", source: "proc" },
    ];
    changed("add", id, ...mounts);
    expect(
      sh(id, "cat /new/data/file /new/file; touch /new/data/x 2>&1 || true; touch /new/tmp/x; ls /new/proc/1/exe"),
    ).toBe("of the host\nof the host\ntouch: /new/data/x: Read-only file system\n/new/proc/1/exe\n");
    expect(sh(id, "grep ' /new/tmp ' /proc/mounts")).toMatch(/noexec.*size=1024k/);
    changed("remove", id, ...mounts);
    expect(mountsOf(id)).toEqual(before);
  });

  root("from a file, and into a container that is not started yet", () => {
    const { id } = createContainer(sleepingBundle());
    const file = join(scratch("mounts"), "mounts.json");
    writeFileSync(file, JSON.stringify([{ destination: "/data", source: source(), options: ["bind"] }]));
    expect(run(["mounts", "add", id, file])).toMatchObject({ code: 0, stdout: "", stderr: "" });
    runOk(["start", id]);
    expect(sh(id, "cat /data/file")).toBe("of the host\n");
  });

  root("a container in a user namespace has them too, also with ids of its own", ({ skip }) => {
    // Its root may make nothing in a root file system that is another's: these places are there.
    const id = started({ edit: mapped });
    const dir = source();
    changed(
      "add",
      id,
      { destination: "/mnt", source: dir, options: ["bind"] },
      { destination: "/home", type: "tmpfs" },
    );
    expect(sh(id, "cat /mnt/file; stat -c %u /mnt/file /home")).toBe("of the host\n65534\n0\n");
    changed("remove", id, { destination: "/mnt" }, { destination: "/home" });
    skip(!isIdmappable(dir), "the file system of the tests has no idmapped mounts");
    changed("add", id, { destination: "/mnt", source: dir, options: ["bind", "idmap"] });
    expect(sh(id, "stat -c %u /mnt/file")).toBe("0\n");
  });

  root("all or none: what was made before one that fails is taken back", () => {
    const id = started();
    const before = mountsOf(id);
    const result = change("add", id, [
      { destination: "/a", type: "tmpfs" },
      { destination: "/a/b", type: "tmpfs" },
      { destination: "/c", type: "no-such-type" },
    ]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("mounts[2] /c: fsmount no-such-type");
    expect(result.stderr).not.toContain("warning");
    expect(mountsOf(id)).toEqual(before);
    const missing = change("add", id, [
      { destination: "/a", type: "tmpfs" },
      { destination: "/b", source: "/nosuch", options: ["bind"] },
    ]);
    expect(missing.stderr).toContain("mounts[1] /b: open_tree /nosuch");
    expect(mountsOf(id)).toEqual(before);
  });

  root("a link of the image leads to a place in the container, never out of it", () => {
    const outside = scratch("outside");
    mkdirSync(join(outside, "victim"));
    const id = started({
      rootfs: (path) => {
        busyboxRootfs(path);
        symlinkSync(join(outside, "victim"), join(path, "way"));
        symlinkSync("../../../../etc/real", join(path, "up"));
      },
    });
    const dir = source();
    const mounts = ["/way", "/up"].map((destination) => ({ destination, source: dir, options: ["bind"] }));
    changed("add", id, ...mounts);
    expect(sh(id, `cat ${outside}/victim/file /etc/real/file`)).toBe("of the host\nof the host\n");
    expect(hostMounts()).toEqual(mountsBefore);
    changed("remove", id, ...mounts);
    expect(sh(id, `ls ${outside}/victim /etc/real`)).not.toContain("file");
    expect(change("add", id, [{ destination: "/proc/x", type: "proc" }]).code).toBe(1);
  });

  root("what config.json may not have it may not have either, nor cgroups", () => {
    const id = started();
    expect(change("add", id, [{ destination: "/a" }]).stderr).toContain("mounts[0].type: is needed");
    expect(change("add", id, [{ destination: "/", type: "tmpfs" }]).stderr).toContain("is the root filesystem");
    expect(change("add", id, [{ destination: "/a", type: "cgroup" }]).stderr).toContain("is for config.json alone");
    expect(change("add", id, { destination: "/a" }).stderr).toContain("must hold a JSON list");
    expect(change("add", id, [7]).stderr).toContain("mounts[0]");
    expect(run(["mounts", "ad", id, "-"], { input: "[]" }).stderr).toContain("did you mean add?");
  });

  root("a container that has stopped has no mounts", async () => {
    const id = started();
    runOk(["kill", id, "KILL"]);
    await until(() => stateOf(id)?.status === "stopped", "the container has stopped");
    expect(change("add", id, []).stderr).toContain("cannot change the mounts of a container that is stopped");
  });
});

describe("mounts remove", () => {
  root("of several at one place the last goes first", () => {
    const id = started();
    const named = (name: string) => ({ destination: "/t", type: "tmpfs", source: name });
    changed("add", id, named("one"), named("two"));
    const names = () => sh(id, "awk '$2 == \"/t\" { print $1 }' /proc/mounts");
    expect(names()).toBe("one\ntwo\n");
    changed("remove", id, { destination: "/t" });
    expect(names()).toBe("one\n");
    changed("remove", id, { destination: "/t/" });
    expect(names()).toBe("");
  });

  root("where nothing is mounted it says so, and a mount on a link itself is found", () => {
    const id = started({
      rootfs: (path) => {
        busyboxRootfs(path);
        symlinkSync("etc", join(path, "link"));
      },
    });
    const nothing = change("remove", id, [{ destination: "/etc" }]);
    expect(nothing.code).toBe(1);
    expect(nothing.stderr).toMatch(/mounts\[0\] \/etc: umount \/etc in \d+: EINVAL[\s\S]*nothing is mounted there/);
    expect(change("remove", id, [{ destination: "/link" }]).stderr).toContain("nothing is mounted there");
    expect(change("remove", id, [{ destination: "/nosuch/place" }]).stderr).toContain("ENOENT");
    const file = join(source(), "file");
    changed("add", id, { destination: "/link", source: file, options: ["bind", "dest-nofollow"] });
    expect(sh(id, "cat /link")).toBe("of the host\n");
    changed("remove", id, { destination: "/link" });
    expect(sh(id, "readlink /link")).toBe("etc\n");
    expect(readFileSync(file, "utf8")).toBe("of the host\n");
  });
});
