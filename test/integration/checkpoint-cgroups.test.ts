/** What becomes of cgroups and their settings, by `--manage-cgroups-mode`. Needs criu(8). */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { checkpoint, counted, counting, LONG, restored, started } from "../helpers/checkpoint.ts";
import { cgroupLayout, needs } from "../helpers/needs.ts";
import {
  cgroupsNamed,
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

const criu = needs({ root: true, tsrun: true, criu: true, cgroup: ["v1", "hybrid", "v2"] });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** criu 3.17 makes cgroups of v2 again, and none of their settings. */
const HAS_SETTINGS = cgroupLayout() !== "v2";

/** A setting that criu knows and no config.json has, and values of a container's life. */
const SETTING =
  cgroupLayout() === "v1"
    ? { file: "memory.soft_limit_in_bytes", own: "16777216", below: "8388608" }
    : { file: "cgroup.max.descendants", own: "5", below: "7" };

/** The cgroup of a container where that setting is. */
function settingOf(id: string, below = ""): string {
  const dir = cgroupsNamed(id).find((path) => path.endsWith(`/${id}`) && existsSync(join(path, SETTING.file)));
  const file = join(dir ?? "/nowhere", below, SETTING.file);
  return existsSync(file) ? readFileSync(file, "utf8").trim() : "none";
}

function startedWithSettings(bundle: { path: string }): string {
  const id = started(bundle);
  const dirs = cgroupsNamed(id).filter((path) => path.endsWith(`/${id}`));
  for (const dir of dirs) mkdirSync(join(dir, "below"));
  const dir = dirs.find((path) => existsSync(join(path, SETTING.file))) ?? "/nowhere";
  writeFileSync(join(dir, SETTING.file), SETTING.own);
  writeFileSync(join(dir, "below", SETTING.file), SETTING.below);
  return id;
}

const limited = () =>
  counting({
    edit: (spec) => {
      spec.linux.resources = { ...spec.linux.resources, pids: { limit: 77 } };
    },
  });

/** A file of the container's cgroup, "" where no hierarchy has it. */
function fileOf(id: string, name: string): string {
  const dir = cgroupsNamed(id).find((path) => path.endsWith(`/${id}`) && existsSync(join(path, name)));
  return dir === undefined ? "" : readFileSync(join(dir, name), "utf8").trim();
}

describe("--manage-cgroups-mode", () => {
  const modes = [
    {
      mode: "soft",
      own: "as new",
      below: SETTING.below,
      what: "makes what is missing, and leaves alone what is there",
    },
    { mode: "full", own: SETTING.own, below: SETTING.below, what: "sets what is there, too" },
    { mode: "strict", own: SETTING.own, below: SETTING.below, what: "makes all of it" },
    { mode: "ignore", own: "as new", below: "none", what: "neither makes nor sets anything" },
  ];
  for (const { mode, own, below, what } of modes) {
    criu(
      `${mode} ${what}`,
      async () => {
        const bundle = limited();
        const id = startedWithSettings(bundle);
        const was = await counted(id);
        const devices = fileOf(id, "devices.list");
        const images = scratch("images");
        checkpoint(id, images, ["--manage-cgroups-mode", mode]);
        expect(cgroupsNamed(id)).toEqual([]);
        const fresh = started(bundle);
        const asNew = settingOf(fresh);
        runOk(["delete", "--force", fresh]);
        expect(asNew).not.toBe(SETTING.own);

        restored(bundle, images, id, ["--manage-cgroups-mode", mode]);
        expect((await counted(id, was.count + 1)).name).toBe(was.name);
        if (HAS_SETTINGS) expect(settingOf(id)).toBe(own === "as new" ? asNew : own);
        if (HAS_SETTINGS || below === "none") expect(settingOf(id, "below")).toBe(below);
        else expect(settingOf(id, "below")).not.toBe("none");
        expect(fileOf(id, "pids.max"), "a limit of the bundle").toBe("77");
        expect(fileOf(id, "devices.list")).toBe(devices);
        const lines = readFileSync(`/proc/${stateOf(id)?.pid}/cgroup`, "utf8")
          .trim()
          .split("\n");
        for (const line of lines) expect(line).toMatch(new RegExp(`/${id}$`));
        runOk(["delete", "--force", id]);
        expect(cgroupsNamed(id)).toEqual([]);
      },
      LONG,
    );
  }

  criu(
    "strict goes with another id, and its limits are the bundle's where the files have none",
    async () => {
      const bundle = limited();
      const id = started(bundle);
      const was = await counted(id);
      const images = scratch("images");
      checkpoint(id, images);
      const other = newId("other");
      restored(bundle, images, other, ["--manage-cgroups-mode", "strict"]);
      expect((await counted(other, was.count + 1)).name).toBe(was.name);
      expect(fileOf(other, "pids.max")).toBe("77");
      expect(cgroupsNamed(id).filter((path) => path.endsWith(`/${id}`))).toEqual([]);
      expect(runOk(["exec", other, "sh", "-c", "cat /dev/null; echo > /dev/null; echo devices"])).toBe("devices\n");
      runOk(["pause", other]);
      runOk(["resume", other]);
      runOk(["delete", "--force", other]);
    },
    LONG,
  );

  criu(
    "strict takes no cgroup that is there, and says where there is nothing to make one of",
    async () => {
      const bundle = limited();
      const id = started(bundle);
      await counted(id);
      const [images, without] = [scratch("images"), scratch("without")];
      checkpoint(id, without, ["--leave-running", "--manage-cgroups-mode", "ignore"]);
      const dirs = cgroupsNamed(id).filter((path) => path.endsWith(`/${id}`));
      checkpoint(id, images);
      const failed = (from: string, ...flags: string[]) => {
        const args = [...flags, "restore", "-d", "-b", bundle.path, "--image-path", from];
        const result = run([...args, "--manage-cgroups-mode", "strict", id], { timeoutMs: 60_000 });
        expect(result.code).toBe(1);
        expect(stateOf(id)).toBeUndefined();
        return result.stderr;
      };
      const there = inventory();
      expect(failed(without)).toContain("strict: the images have no cgroup");
      expectNothingLeft(there);
      expect(failed(images, "--cgroup-manager", "disabled")).toContain("there is no cgroup to make");
      expectNothingLeft(there);

      const taken = dirs[0] ?? "/nowhere";
      mkdirSync(taken, { recursive: true });
      expect(failed(images)).toContain(`cgroup ${taken} is there already`);
      expect(existsSync(taken), "it is somebody's").toBe(true);
      rmdirSync(taken);
      expectNothingLeft(there);
    },
    LONG,
  );
});
