/**
 * What kernels get that are older than all of lowerdir+ (6.8), idmapped layers (5.19) and layers by descriptor (6.13): the
 * kernel says here that it is 2.6 (setarch(8), UNAME26), and does what it is told all the same.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { busyboxRootfs, makeBundle } from "../../helpers/bundle.ts";
import { tool } from "../../helpers/images.ts";
import { describeNeeds, missing } from "../../helpers/needs.ts";
import { hostMounts, newId, RUNTIME, runOk } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const WANTED = { root: true, tsrun: true, commands: ["setarch"] } as const;
const MAPS = [{ containerID: 0, hostID: 200_000, size: 65_536 }];

let store: string[];
let rootfs: string;

beforeAll(() => {
  if (missing(WANTED) !== undefined) return;
  const dir = scratch("store");
  // Root of the container passes through here.
  for (const path of [dirname(dir), dir]) chmodSync(path, 0o711);
  store = ["--store", dir];
  rootfs = scratch("rootfs");
  busyboxRootfs(rootfs);
  writeFileSync(join(rootfs, "etc/owned"), "x\n");
  tool("chown", ["1000:1001", join(rootfs, "etc/owned")]);
  const tar = join(scratch("tar"), "rootfs.tar");
  tool("tar", ["-C", rootfs, "-cf", tar, "."]);
  runOk(["image", "import", "-q", ...store, tar, "base"]);
});

/** tsrun on a kernel that says it is old. */
function runOld(args: readonly string[]) {
  const { status, stdout, stderr } = spawnSync("setarch", ["--uname-2.6", RUNTIME, ...args], { encoding: "utf8" });
  return { code: status, stdout, stderr };
}

function mappedBundle(script: string): string {
  const path = join(scratch("bundle"), "b");
  runOk(["bundle", ...store, "base", path, "--", "sh", "-c", script]);
  const config = JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
  config.linux.namespaces.push({ type: "user" });
  config.linux.uidMappings = MAPS;
  config.linux.gidMappings = MAPS;
  writeFileSync(join(path, "config.json"), JSON.stringify(config));
  return path;
}

/** A bundle of busybox and so many layers of one file. */
function layered(count: number): string {
  const dir = scratch("layers");
  const layers = Array.from({ length: count }, (_, i) => join(dir, `layer-${i}`));
  for (const [i, layer] of layers.entries()) {
    mkdirSync(layer);
    writeFileSync(join(layer, `f${i}`), "");
  }
  const edit = (spec: { annotations?: Record<string, string> }) => {
    spec.annotations = { "org.tsrun.layers": JSON.stringify([rootfs, ...layers]) };
  };
  return makeBundle({ args: ["sh", "-c", "ls / | grep -c ^f"], rootfs: () => {}, edit }).path;
}

describeNeeds(WANTED)("on a kernel that says it is old", () => {
  test("layers are mounted at a place, through their short links, and nothing stays mounted", () => {
    const before = hostMounts();
    const script = "cat /etc/owned; rm /etc/owned; grep -c 'lowerdir=[^ ]*/overlay2/l/' /proc/mounts";
    expect(runOld(["run", ...store, "--rw-layer", "old", "--image", "base", "--", "sh", "-c", script])).toEqual({
      code: 0,
      stdout: "x\n1\n",
      stderr: "",
    });
    expect(hostMounts()).toEqual(before);
    expect(runOld(["layer", "diff", ...store, "old"]).stdout).toBe("C /etc\nD /etc/owned\n");
    expect(runOld(["image", "commit", ...store, "old", "base:old"]).code).toBe(0);
    expect(runOk(["layer", "why", ...store, "base", "/etc/owned"])).toContain("1000:1001");
    runOk(["container", "remove", ...store, "old"]);
  });

  test("180 layers are mounted, and what does not fit is refused with how many do", () => {
    expect(runOld(["run", ...store, "-b", layered(180), newId()])).toMatchObject({ code: 0, stdout: "180\n" });
    const refused = runOld(["run", ...store, "-b", layered(260), newId()]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain("this kernel cannot mount 262 layers at once\n  fix: use fewer layers: some 200");
  });

  test("layers in a user namespace are copies, one for all containers of a mapping, and a commit has the container's ids", () => {
    const path = mappedBundle("stat -c %u:%g /etc/owned; echo new > /etc/new; chown 7:8 /etc/new");
    const first = runOld(["run", ...store, "--rw-layer", "mapped", "-b", path, newId()]);
    expect([first.code, first.stdout]).toEqual([0, "1000:1001\n"]);
    expect(first.stderr).toBe(
      "tsrun: warning: 1 layers are copies with the ids of the container, 1 of them made now: this kernel's overlayfs takes no idmapped layers before Linux 5.19\n",
    );
    expect(runOld(["run", ...store, "-b", path, newId()]).stderr).toContain("0 of them made now");
    expect(runOld(["image", "commit", ...store, "mapped", "base:mapped"]).code).toBe(0);
    expect(runOk(["layer", "why", ...store, "base:mapped", "/etc/new"])).toContain("7:8");
    runOk(["container", "remove", ...store, "mapped"]);
    expect(runOk(["layer", "gc", ...store])).toContain("leftover");
  });

  test("a trial shows what was changed", () => {
    const { code, stdout } = runOld([
      "try",
      "--base",
      rootfs,
      ...store,
      "--diff",
      "--",
      "/bin/sh",
      "-c",
      "echo y > /etc/owned",
    ]);
    expect([code, stdout]).toEqual([0, "C /etc\nC /etc/owned\n"]);
  });
});
