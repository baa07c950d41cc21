import { describe, expect, test } from "vitest";
import { mountMappings } from "../../../src/spec/idmap.ts";

const own = [{ containerID: 0, hostID: 1000, size: 10 }];
const theirs = [{ containerID: 0, hostID: 2000, size: 10 }];
const container = { uidMappings: theirs, gidMappings: theirs };

describe("spec/idmap", () => {
  test("a mount without mappings and words keeps its ids", () => {
    expect(mountMappings({ destination: "/a", options: ["rbind"] }, container)).toBeUndefined();
  });

  test("the mount's own mappings come before the container's", () => {
    const mount = { destination: "/a", options: ["idmap"], uidMappings: own, gidMappings: own };
    expect(mountMappings(mount, container)).toEqual({ uids: own, gids: own });
    expect(mountMappings({ destination: "/a", options: ["idmap"] }, container)).toEqual({ uids: theirs, gids: theirs });
  });

  test("the word of crun has several ranges", () => {
    const options = ["idmap=uids=0-1-2#10-20-30;gids=5-6-7"];
    expect(mountMappings({ destination: "/a", options }, {})).toEqual({
      uids: [
        { containerID: 0, hostID: 1, size: 2 },
        { containerID: 10, hostID: 20, size: 30 },
      ],
      gids: [{ containerID: 5, hostID: 6, size: 7 }],
    });
  });

  test("after an @ ids are moved as the container's own mapping moves them", () => {
    // The example of crun(1).
    const maps = [
      { containerID: 0, hostID: 0, size: 1 },
      { containerID: 1, hostID: 2, size: 1000 },
    ];
    const word = (text: string) =>
      mountMappings({ destination: "/a", options: [`idmap=${text}`] }, { uidMappings: maps, gidMappings: theirs });
    expect(word("uids=@1-3-10;gids=@5-0-1#0-7-1")).toEqual({
      uids: [{ containerID: 1, hostID: 4, size: 10 }],
      gids: [
        { containerID: 5, hostID: 2000, size: 1 },
        { containerID: 0, hostID: 7, size: 1 },
      ],
    });
    expect(word("uids=@2000-0-1;gids=0-0-1")).toEqual({ uids: [], gids: [] });
  });

  test("a word that cannot be read maps nothing, which is then refused", () => {
    for (const word of ["uids=1-2", "uids=a-b-c;gids=0-0-1", "x=0-0-1", "", "uids=@0-0-1;gids=@0-0-1"]) {
      expect(mountMappings({ destination: "/a", options: [`idmap=${word}`] }, {})).toEqual({ uids: [], gids: [] });
    }
  });
});
