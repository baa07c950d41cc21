/** --storage-size: a project quota limits what a container may write. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { O_DIRECTORY, O_RDONLY } from "../../../src/sys/constants.ts";
import { Fd, open } from "../../../src/sys/file.ts";
import { projectUse } from "../../../src/sys/quota.ts";
import { busyboxRootfs, makeBundle } from "../../helpers/bundle.ts";
import { createContainer } from "../../helpers/container.ts";
import { type Disk, makeDisk, noDisk } from "../../helpers/disk.ts";
import { tool } from "../../helpers/images.ts";
import { describeNeeds, hasCommand, missing } from "../../helpers/needs.ts";
import { deleteContainers, newId, RUNTIME, run, runOk, stateOf, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const WANTED = { root: true, tsrun: true, kernel: [5, 14] } as const;

const FILE_SYSTEMS = [
  { name: "ext4", mkfs: ["mkfs.ext4", "-q", "-O", "project,quota"], options: "prjquota", sizeMiB: 64 },
  { name: "xfs", mkfs: ["mkfs.xfs", "-q"], options: "pquota", sizeMiB: 320 },
];

let rootfs: string;

beforeAll(() => {
  if (missing(WANTED) !== undefined) return;
  rootfs = scratch("rootfs");
  busyboxRootfs(rootfs);
});

/** Writes 25 MiB, or as much as it may; the last line is how it ended. */
const fill = (path: string) =>
  `dd if=/dev/zero of=${path} bs=64k count=400 2>&1 | grep -v "records\\|copied" | tail -1`;
const REFUSED = /No space left on device|Disk quota exceeded/;
const bundleOf = (script: string) =>
  makeBundle({
    args: ["sh", "-c", script],
    rootfs: () => {},
    edit: (spec) => {
      spec.annotations = { "org.tsrun.layers": JSON.stringify([rootfs]) };
    },
  }).path;

for (const { name, mkfs, options, sizeMiB } of FILE_SYSTEMS) {
  const reason =
    missing(WANTED) ?? (hasCommand(mkfs[0] as string) ? noDisk(mkfs, options, sizeMiB) : `needs ${mkfs[0]}`);
  describe.skipIf(reason !== undefined)(`--storage-size on ${name}${reason ? ` (skipped: ${reason})` : ""}`, () => {
    let disk: Disk;
    let store: string[];

    beforeAll(() => {
      disk = makeDisk(mkfs, options, sizeMiB);
      store = ["--store", join(disk.path, "store")];
    });
    afterAll(() => {
      deleteContainers();
      disk.unmount();
    });

    const limitOf = (project: number) => {
      using directory = new Fd(open(disk.path, O_RDONLY | O_DIRECTORY));
      return projectUse(directory.fd, project).limitBytes;
    };
    /** Where the read-write layer of a container is, and which project it has. */
    const layerOf = (id: string) => {
      const record = JSON.parse(readFileSync(`/run/tsrun/${id}/state.json`, "utf8"));
      const home = join(disk.path, "store/overlay2", record.overlay.mountId);
      return { home, project: Number(readFileSync(join(home, "project"), "utf8").split(" ")[0]) };
    };

    test("writing ends at the limit with an error that the program sees, and df shows it", () => {
      const script = `${fill("/big")}; du -k /big | cut -f1; df -k / | tail -1 | awk '{print $2}'`;
      const lines = runOk(["run", "-b", bundleOf(script), "--storage-size", "8m", ...store, newId()]).split("\n");
      expect(lines[0]).toContain(name === "xfs" ? "No space left on device" : "Disk quota exceeded");
      expect(Number(lines[1])).toBeGreaterThan(7 * 1024);
      expect(Number(lines[1])).toBeLessThanOrEqual(8 * 1024);
      expect(Number(lines[2])).toBe(8 * 1024);
    });

    test("without it a container of the same store writes on", () => {
      expect(runOk(["run", "-b", bundleOf(`${fill("/big")}; wc -c < /big`), ...store, newId()])).toBe("26214400\n");
    });

    test("it is a flag of `run --image` and an annotation of a bundle, too", () => {
      const tar = join(scratch("tar"), "rootfs.tar");
      tool("tar", ["-C", rootfs, "-cf", tar, "."]);
      runOk(["image", "import", "-q", ...store, tar, "web"]);
      const command = ["sh", "-c", fill("/big")];
      const flags = ["--storage-size", "4m", ...store];
      expect(runOk(["run", ...flags, "--image", "web", "--", ...command])).toMatch(REFUSED);
      const bundle = join(scratch("bundle"), "b");
      runOk(["bundle", ...store, "web", bundle, "--", ...command]);
      const config = JSON.parse(readFileSync(join(bundle, "config.json"), "utf8"));
      config.annotations["org.tsrun.storage-size"] = "4m";
      writeFileSync(join(bundle, "config.json"), JSON.stringify(config));
      expect(runOk(["run", ...store, "-b", bundle, newId()])).toMatch(REFUSED);
    });

    test("a file that is copied up counts, and root with every capability is held to it, too", () => {
      const layer = scratch("layer");
      mkdirSync(join(layer, "srv"));
      tool("dd", ["if=/dev/zero", `of=${join(layer, "srv/file")}`, "bs=1M", "count=6"]);
      const bundle = makeBundle({
        args: ["sh", "-c", "echo x >> /srv/file || echo no; ls -l /srv/file | awk '{print $5}'"],
        rootfs: () => {},
        edit: (spec) => {
          const caps = ["CAP_SYS_RESOURCE", "CAP_SYS_ADMIN", "CAP_DAC_OVERRIDE"];
          spec.process.capabilities = { bounding: caps, effective: caps, permitted: caps };
          spec.annotations = { "org.tsrun.layers": JSON.stringify([rootfs, layer]), "org.tsrun.storage-size": "4MiB" };
        },
      });
      expect(run(["run", "-b", bundle.path, ...store, newId()]).stdout).toBe(`no\n${6 << 20}\n`);
    });

    test("a named layer keeps its limit and what counts towards it, and gets another one when asked", () => {
      const flags = ["--rw-layer", "limited", ...store];
      const first = runOk(["run", "-b", bundleOf(fill("/big")), "--storage-size", "4m", ...flags, newId()]);
      expect(first).toMatch(REFUSED);
      expect(runOk(["run", "-b", bundleOf(fill("/more")), ...flags, newId()])).toMatch(REFUSED);
      runOk(["run", "-b", bundleOf("echo more > /more"), "--storage-size", "6m", ...flags, newId()]);
      // A rollback stays in the project.
      runOk(["container", "snapshot", ...store, "limited", "s1"]);
      runOk(["run", "-b", bundleOf("rm /big"), ...flags, newId()]);
      runOk(["container", "rollback", ...store, "limited", "s1"]);
      const again = runOk(["run", "-b", bundleOf(`cat /more; rm /more; ${fill("/big")}`), ...flags, newId()]);
      expect(again).toMatch(/^more\n/);
      expect(again).toMatch(REFUSED);
    });

    test("one that has content of no project is refused, and says what to do", () => {
      runOk(["run", "-b", bundleOf("echo x > /x"), "--rw-layer", "free", ...store, newId()]);
      const result = run([
        "run",
        "-b",
        bundleOf("true"),
        "--rw-layer",
        "free",
        "--storage-size",
        "8m",
        ...store,
        newId(),
      ]);
      expect(result.stderr).toContain("the read-write layer free was made without a size limit");
    });

    test("the limit goes with the container, deleted or ended in the foreground", async () => {
      const { id } = createContainer({ path: bundleOf("true") }, ["--storage-size", "8m", ...store]);
      const created = layerOf(id);
      expect(created.project).toBeGreaterThan(2 ** 31 - 1);
      expect(limitOf(created.project)).toBe(8 << 20);
      runOk(["delete", "--force", id]);
      expect([existsSync(created.home), limitOf(created.project)]).toEqual([false, 0]);

      const own = newId();
      const flags = ["run", "-b", bundleOf("sleep 1000"), "--storage-size", "6m", ...store, own];
      const child = spawn(RUNTIME, flags, { stdio: "ignore" });
      const ended = new Promise((resolve) => child.on("close", resolve));
      await until(() => stateOf(own)?.status === "running", "it runs");
      const running = layerOf(own);
      expect(limitOf(running.project)).toBe(6 << 20);
      runOk(["kill", own, "KILL"]);
      await ended;
      expect([existsSync(running.home), limitOf(running.project)]).toEqual([false, 0]);
      expect(stateOf(own)).toBeUndefined();
    });
  });
}

describeNeeds(WANTED)("--storage-size where it cannot be kept", () => {
  test("on a file system without project quotas nothing is started, and the error names what would do", () => {
    const store = scratch("store");
    const result = run(["run", "-b", bundleOf("echo ran"), "--storage-size", "8m", "--store", store, newId()]);
    expect([result.code, result.stdout]).toEqual([1, ""]);
    expect(result.stderr).toContain("its file system has no project quota");
    expect(result.stderr).toContain("mkfs.ext4 -O project,quota");
  });

  test("what is no size, or has no layers, or has another driver, is refused", () => {
    const refusal = (...flags: string[]) => run(["run", "-b", bundleOf("true"), ...flags, newId()]).stderr;
    expect(refusal("--storage-size", "much")).toContain('"much" is no size');
    expect(refusal("--storage-size", "0")).toContain('"0" is no size');
    expect(refusal("--storage-size", "8m", "--driver", "vfs")).toContain("driver vfs cannot keep to one");
    const plain = makeBundle({ args: ["true"] });
    expect(run(["run", "-b", plain.path, "--storage-size", "8m", newId()]).stderr).toContain("only with layers");
  });
});
