import { describe, expect, test } from "vitest";
import { type LivePlanRequest, planAddMounts, planRemoveMounts } from "../../../src/plan/live-mounts.ts";
import { linesOf } from "./helpers.ts";

const NEWUSER = 0x10000000;
const NEWCGROUP = 0x2000000;
const NEWNS = 0x20000;

const request = (change: Partial<LivePlanRequest>): LivePlanRequest => ({
  mounts: [],
  namespaces: NEWNS | NEWCGROUP,
  setupIds: { uid: 0, gid: 0 },
  setgroups: true,
  linux: {},
  sourceLinks: new Map(),
  ...change,
});

describe("plan/live-mounts", () => {
  test("sources are opened among the host's mounts, targets among the container's", () => {
    const mounts = [{ destination: "/data", source: "/src", options: ["rbind", "ro"] }];
    expect(linesOf(planAddMounts(request({ mounts })))).toEqual([
      "open_tree /src recursive as 6",
      "setns 5 mount",
      "close 5",
      "clone3 no new namespace",
      "open / as 7",
      "mount_setattr 6 set rdonly",
      "target /data in 7, like its source as 8",
      "move_mount 6 to 8",
      "close 8",
      "close 6",
    ]);
  });

  test("in a user namespace they are made by who set the container up", () => {
    const mounts = [{ destination: "/t", type: "tmpfs" }];
    const lines = linesOf(
      planAddMounts(request({ mounts, namespaces: NEWNS | NEWUSER, setupIds: { uid: 7, gid: 8 } })),
    );
    expect(lines.slice(0, 4)).toEqual([
      "setns 5 user,mount",
      "close 5",
      "clone3 no new namespace",
      "become uid 7 gid 8",
    ]);
  });

  test("trees and ids that the runtime has prepared are named by their mount", () => {
    const ids = [{ containerID: 0, hostID: 5, size: 1 }];
    const mounts = [
      { destination: "/a", source: "/src", options: ["bind"], uidMappings: ids, gidMappings: ids },
      { destination: "/b", type: "tmpfs", uidMappings: ids, gidMappings: ids },
      { destination: "/c", source: "/link", options: ["bind", "copy-symlink", "idmap"] },
    ];
    const plan = planAddMounts(request({ mounts, sourceLinks: new Map([[2, "to"]]) }));
    expect(plan.inherit.map(({ name }) => name)).toEqual(["sync", "plan", "container", "tree:0", "userns:1"]);
    expect(linesOf(plan, "mounts[2]")).toEqual([expect.stringMatching(/^symlink \/c -> to/)]);
  });

  test("file systems of the container have its label", () => {
    const mounts = [{ destination: "/t", type: "tmpfs" }];
    expect(linesOf(planAddMounts(request({ mounts, linux: { mountLabel: "u:r:t" } }))).join()).toContain(
      "context=u:r:t",
    );
  });

  test("they are removed last first", () => {
    const lines = linesOf(planRemoveMounts(request({ mounts: [{ destination: "/a" }, { destination: "/a/b" }] })));
    expect(lines.slice(-2)).toEqual(["umount /a/b in 6", "umount /a in 6"]);
  });
});
