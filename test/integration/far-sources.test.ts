/** Sources of bind mounts below a directory that only root of the machine may enter, in a user namespace. */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { Mount } from "../../src/spec/types.ts";
import { type BundleRequest, makeBundle } from "../helpers/bundle.ts";
import { startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  RUNTIME,
  runBundle,
  runOk,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true });
const own = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** A directory and a file in one of mode 0700. */
function hidden(): string {
  const dir = scratch("far");
  chmodSync(dir, 0o755);
  mkdirSync(join(dir, "closed/open"), { recursive: true });
  writeFileSync(join(dir, "closed/open/file"), "of the host\n", { mode: 0o644 });
  chmodSync(join(dir, "closed"), 0o700);
  return dir;
}

function bundleOf(args: string[], mounts: Mount[], more: BundleRequest["edit"] = () => {}) {
  return makeBundle({
    args,
    mounts,
    edit: (spec) => {
      spec.linux.namespaces?.push({ type: "user" });
      spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      more(spec);
    },
  });
}

describe("a source that root of the user namespace may not reach", () => {
  root("is mounted all the same: directories, files, several of them", () => {
    const dir = hidden();
    const bundle = bundleOf(
      ["cat", "/mnt/file", "/etc/passwd"],
      [
        { destination: "/mnt", source: join(dir, "closed/open"), options: ["rbind"] },
        { destination: "/tmp", type: "tmpfs", source: "tmpfs" },
        { destination: "/etc/passwd", source: join(dir, "closed/open/file"), options: ["bind", "ro"] },
      ],
    );
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "of the host\nof the host\n", stderr: "" });
  });

  root("for exec too", () => {
    const source = join(hidden(), "closed/open");
    const { id } = startContainer(bundleOf(["sleep", "3600"], [{ destination: "/mnt", source, options: ["bind"] }]));
    expect(runOk(["exec", id, "cat", "/mnt/file"])).toBe("of the host\n");
  });

  own("through links, and a link itself where it is asked for", () => {
    const dir = hidden();
    symlinkSync(join(dir, "closed/open"), join(dir, "way"));
    symlinkSync("open/file", join(dir, "closed/link"));
    const bundle = bundleOf(
      ["sh", "-c", "cat /mnt/file; readlink /etc/group"],
      [
        { destination: "/mnt", source: join(dir, "way"), options: ["bind"] },
        { destination: "/etc/group", source: join(dir, "closed/link"), options: ["bind", "src-nofollow"] },
      ],
    );
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "of the host\nopen/file\n", stderr: "" });
  });

  own("stays as the host has it: what is read-only there cannot be made writable inside", () => {
    const dir = hidden();
    const source = join(dir, "closed/open");
    const bundle = bundleOf(
      ["sh", "-c", "mount -o remount,bind,rw /mnt || echo locked; touch /mnt/new || echo read-only"],
      [{ destination: "/mnt", source, options: ["bind"] }],
      (spec) => {
        for (const set of ["bounding", "effective", "permitted"] as const) {
          spec.process.capabilities?.[set]?.push("CAP_SYS_ADMIN");
        }
      },
    );
    const script = `mount --bind ${source} ${source} && mount -o remount,bind,ro ${source} && exec "$@"`;
    const command = ["--mount", "sh", "-c", script, "sh", RUNTIME, "run", "-b", bundle.path, newId()];
    const { stdout, status } = spawnSync("unshare", command, { encoding: "utf8" });
    expect([status, stdout]).toEqual([0, "locked\nread-only\n"]);
  });

  own("and one that is not there is named as ever", () => {
    const source = join(hidden(), "closed/none");
    const result = runBundle(bundleOf(["true"], [{ destination: "/mnt", source, options: ["bind"] }]));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(`mounts[7] /mnt: open_tree ${source}`);
  });
});
