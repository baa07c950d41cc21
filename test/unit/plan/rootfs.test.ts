import { describe, expect, test } from "vitest";
import { type Case, linesOf, planOf, stepsOf } from "./helpers.ts";

const propagation = (rootfsPropagation: string, more: Case = {}): Case => ({
  ...more,
  spec: ({ linux }) => void Object.assign(linux, { rootfsPropagation }),
});

describe("plan/rootfs", () => {
  test("before anything is mounted the host's mounts become slaves: nothing of ours goes back", () => {
    const lines = stepsOf({}, "linux.rootfsPropagation");
    expect(lines).toEqual(["mount_setattr / recursive slave"]);
  });

  test("a directory becomes the root as a private clone of itself", () => {
    expect(stepsOf({}, "root.path").slice(0, 5)).toEqual([
      expect.stringMatching(/^open_tree \/bundle\/rootfs recursive as (\d+)$/),
      expect.stringMatching(/^mount_setattr \d+ recursive private$/),
      expect.stringMatching(/^open \/bundle\/rootfs as \d+$/),
      expect.stringMatching(/^move_mount \d+ to \d+$/),
      expect.stringMatching(/^close \d+$/),
    ]);
  });

  test("a root that the runtime mounted is inherited by descriptor", () => {
    const plan = planOf({ parameters: { rootMounted: true } });
    expect(plan.inherit.some(({ name }) => name === "rootfs")).toBe(true);
    expect(linesOf(plan).some((line) => line.startsWith("open_tree /bundle/rootfs"))).toBe(false);
  });

  test("read-only comes after the last change below the root, and before the change to it", () => {
    const lines = stepsOf({ spec: ({ root }) => void Object.assign(root, { readonly: true }) });
    const at = lines.findIndex((line) => /^mount_setattr \d+ set rdonly$/.test(line));
    expect(lines[at + 1]).toMatch(/^pivot_root/);
    expect(lines.slice(at).some((line) => /^(mknod|symlink|target)/.test(line))).toBe(false);
  });

  test("--no-pivot moves the root instead", () => {
    const lines = stepsOf({ options: { noPivot: true } });
    expect(lines.some((line) => line.startsWith("move root"))).toBe(true);
    expect(lines.some((line) => line.startsWith("pivot_root"))).toBe(false);
  });

  test("--no-pivot leaves no procfs or sysfs of the host in the mount namespace", () => {
    const parameters = { hostKernelMounts: [{ path: "/srv/proc", parent: "/srv" }] };
    const lines = stepsOf({ options: { noPivot: true }, parameters }, "--no-pivot");
    // Private first: the host must keep its own.
    expect(lines).toEqual([
      "mount_setattr /srv private",
      "mount_setattr /srv/proc recursive private",
      "umount /srv/proc",
    ]);
  });

  for (const [word, last] of [
    ["private", "mount_setattr / private"],
    ["rprivate", "mount_setattr / recursive private"],
    ["slave", "mount_setattr / slave"],
    ["unbindable", "mount_setattr / unbindable"],
    ["rshared", "mount_setattr / recursive shared"],
  ] as const) {
    test(`${word} is what the container's root is in the end`, () => {
      expect(stepsOf(propagation(word), "linux.rootfsPropagation").at(-1)).toBe(last);
    });
  }

  test("shared leaves the host's mounts shared, but for the one that the root is put on", () => {
    const lines = stepsOf(propagation("shared", { parameters: { rootParent: "/srv" } }), "linux.rootfsPropagation");
    expect(lines).toEqual(["mount_setattr /srv private", "mount_setattr / shared"]);
  });
});

describe("plan/rootfs, without a mount namespace", () => {
  const shared: Case = {
    spec: ({ linux }) => {
      linux.namespaces = linux.namespaces?.filter(({ type }) => type !== "mount") ?? [];
    },
    options: { noPivot: true },
    parameters: { rootPlace: "/run/web/rootfs", hostKernelMounts: [{ path: "/srv/proc", parent: "/srv" }] },
  };

  test("the root is mounted at a place of the runtime's own, and made private there", () => {
    expect(stepsOf(shared, "root.path").slice(0, 6)).toEqual([
      expect.stringMatching(/^open_tree \/bundle\/rootfs recursive as \d+$/),
      expect.stringMatching(/^mount_setattr \d+ recursive private$/),
      expect.stringMatching(/^open \/run\/web\/rootfs as \d+$/),
      expect.stringMatching(/^move_mount \d+ to \d+$/),
      expect.stringMatching(/^close \d+$/),
      expect.stringMatching(/^mount_setattr \d+ recursive private$/),
    ]);
  });

  test("nothing is done to a mount or to the root of the host, with --no-pivot neither", () => {
    const lines = stepsOf(shared);
    expect(lines.filter((line) => /^(pivot_root|move root|umount|mount_setattr \/)/.test(line))).toEqual([]);
    expect(lines.filter((line) => line.startsWith("chroot"))).toHaveLength(1);
  });
});

describe("plan/rootfs, layers that the process mounts", () => {
  test("a directory that is not plain is opened first, and all are let go", () => {
    const overlay = {
      options: ["index=off", "userxattr"],
      directories: [
        { option: "lowerdir+", path: "/l/A", isPlain: true },
        { option: "upperdir", path: "/odd, path", isPlain: false },
      ],
      atPlace: undefined,
    };
    const { steps } = planOf({ parameters: { rootMounted: true, overlay } });
    const layers = steps.filter(({ about }) => about === "layers");
    expect(layers.map(({ op }) => op)).toEqual(["open", "fsmount", "close"]);
    const fd = layers[0]?.args[0];
    expect(layers[1]?.args.slice(1)).toEqual([
      "overlay",
      0,
      ["source=overlay", "index=off", "userxattr", "lowerdir+=/l/A", `upperdir=/proc/self/fd/${fd}`],
    ]);
    expect(layers[2]?.args).toEqual([fd]);
    expect(steps.some(({ about, op }) => about === "root.path" && op === "attach")).toBe(true);
  });

  test("kernels before 6.8 mount at a place and clone that", () => {
    const atPlace = { path: "/m", data: "lowerdir=/a:/b,upperdir=/u,workdir=/w" };
    const { steps } = planOf({ parameters: { overlay: { options: [], directories: [], atPlace } } });
    const layers = steps.filter(({ about }) => about === "layers");
    expect(layers.map(({ op }) => op)).toEqual(["open", "fchdir", "mount", "openTree", "close"]);
    expect(layers[2]?.args).toEqual(["overlay", ".", "overlay", 0, atPlace.data]);
  });
});
