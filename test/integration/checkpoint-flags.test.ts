/** Flags of `checkpoint` and `restore` that are about memory and security modules. Needs criu(8). */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { checkpoint, counted, counting, LONG, restored, started } from "../helpers/checkpoint.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runOk,
  stateOf,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const wanted = { root: true, tsrun: true, criu: true };
const criu = needs(wanted);
const apparmor = needs({ ...wanted, files: ["/sys/kernel/security/apparmor/profiles"] });
const root = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

describe("--auto-dedup", () => {
  /** What the pages of a directory of images take on disk. */
  const blocks = (images: string) =>
    readdirSync(images)
      .filter((name) => name.startsWith("pages-"))
      .reduce((sum, name) => sum + statSync(join(images, name)).blocks, 0);

  criu(
    "takes the pages that are written again out of the earlier images",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const was = await counted(id);
      const images = scratch("images");
      checkpoint(id, join(images, "before"), ["--pre-dump"]);
      const all = blocks(join(images, "before"));
      const { count } = await counted(id, was.count + 1);
      checkpoint(id, join(images, "kept"), ["--parent-path", "../before", "--leave-running"]);
      expect(blocks(join(images, "before"))).toBe(all);
      checkpoint(id, join(images, "after"), ["--parent-path", "../before", "--auto-dedup"]);
      expect(blocks(join(images, "before"))).toBeLessThan(all);
      restored(bundle, join(images, "after"), id, ["--auto-dedup"]);
      expect((await counted(id, count + 1)).name).toBe(was.name);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});

describe("--lsm-profile and --lsm-mount-context", () => {
  const profileOf = (id: string) =>
    readFileSync(`/proc/${stateOf(id)?.pid}/attr/apparmor/current`, "utf8").replace(/\0?\n?$/, "");

  apparmor(
    "the processes come back with another AppArmor profile",
    async () => {
      const file = join(scratch("apparmor"), "profiles");
      const rules =
        "flags=(attach_disconnected,mediate_deleted) { file, signal, ptrace, network, unix, capability, mount, }";
      writeFileSync(file, `profile tsrun-before ${rules}\nprofile tsrun-after ${rules}\n`);
      expect(spawnSync("apparmor_parser", ["-r", "-K", file], { encoding: "utf8" }).stderr).toBe("");
      const bundle = counting({
        edit: (spec) => {
          spec.process.apparmorProfile = "tsrun-before";
        },
      });
      const id = started(bundle);
      const was = await counted(id);
      expect(profileOf(id)).toBe("tsrun-before (enforce)");
      const images = scratch("images");
      checkpoint(id, images);
      restored(bundle, images, id, ["--lsm-profile", "apparmor:tsrun-after"]);
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      expect(profileOf(id)).toBe("tsrun-after (enforce)");
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  root("labels of a module that the host has not are refused before anything is made", ({ skip }) => {
    if (existsSync("/sys/fs/selinux/status")) skip("this host has SELinux");
    const id = newId();
    const label = "system_u:object_r:container_file_t:s0";
    const result = run([
      ...["restore", "-b", makeBundle().path, "--image-path", scratch("images")],
      ...["--lsm-profile", `selinux:${label}`, "--lsm-mount-context", label, id],
    ]);
    expect(result.code).toBe(1);
    for (const flag of ["--lsm-profile", "--lsm-mount-context"]) {
      expect(result.stderr).toContain(`${flag}: SELinux is disabled or not supported on this host`);
    }
    expect(stateOf(id)).toBeUndefined();
  });
});
