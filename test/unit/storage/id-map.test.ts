import { describe, expect, test } from "vitest";
import { mappedId, mappedXattr, OVERFLOW_ID, unmappedId, unmappedXattr } from "../../../src/storage/id-map.ts";
import { mappingName } from "../../../src/storage/mapped-copies.ts";

const MAP = {
  uids: [
    { containerID: 0, hostID: 100_000, size: 10 },
    { containerID: 1000, hostID: 5, size: 1 },
  ],
  gids: [{ containerID: 0, hostID: 200_000, size: 10 }],
};

/** An ACL as getxattr(2) gives it: entries of tag, permissions, id. */
function acl(...entries: [tag: number, permissions: number, id: number][]): Uint8Array {
  const bytes = new Uint8Array(4 + 8 * entries.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 2, true);
  entries.forEach(([tag, permissions, id], i) => {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, permissions, true);
    view.setUint32(8 + 8 * i, id, true);
  });
  return bytes;
}

/** struct vfs_cap_data: cap_net_raw+ep, of the host's root or of another. */
function capabilities(root?: number): Uint8Array {
  const words = [root === undefined ? 0x02000001 : 0x03000001, 1 << 13, 0, 0, 0, ...(root === undefined ? [] : [root])];
  return new Uint8Array(new Uint32Array(words).buffer);
}

describe("storage/id-map", () => {
  test("ids go to the disk and back, and those that are not mapped to nothing", () => {
    expect([0, 9, 10, 1000].map((id) => mappedId(id, MAP.uids))).toEqual([100_000, 100_009, undefined, 5]);
    expect([100_000, 100_009, 5, 0].map((id) => unmappedId(id, MAP.uids))).toEqual([0, 9, 1000, undefined]);
  });

  test("an ACL has the ids of its users and groups mapped, and nothing else", () => {
    const none = 0xffff_ffff;
    const before = acl([1, 6, none], [2, 7, 3], [2, 7, 77], [4, 4, none], [8, 5, 4], [16, 7, none], [32, 0, none]);
    const after = acl(
      [1, 6, none],
      [2, 7, 100_003],
      [2, 7, OVERFLOW_ID],
      [4, 4, none],
      [8, 5, 200_004],
      [16, 7, none],
      [32, 0, none],
    );
    expect(mappedXattr("system.posix_acl_access", before, MAP)).toEqual(after);
    expect(mappedXattr("user.other", before, MAP)).toBe(before);
    const simple = acl([2, 7, 3], [8, 5, 4]);
    const there = mappedXattr("system.posix_acl_default", simple, MAP);
    expect(unmappedXattr("system.posix_acl_default", there, MAP)).toEqual(simple);
  });

  test("file capabilities count for the root that the mapping has, and come back as the host's", () => {
    expect(mappedXattr("security.capability", capabilities(), MAP)).toEqual(capabilities(100_000));
    expect(unmappedXattr("security.capability", capabilities(100_000), MAP)).toEqual(capabilities());
    // Those of another root's stay that one's.
    expect(mappedXattr("security.capability", capabilities(7), MAP)).toEqual(capabilities(7));
    expect(unmappedXattr("security.capability", capabilities(7), MAP)).toEqual(capabilities(7));
  });

  test("what is no ACL is left as it is", () => {
    for (const bytes of [new Uint8Array(0), new Uint8Array([9, 0, 0, 0, 1])]) {
      expect(mappedXattr("system.posix_acl_access", bytes, MAP)).toEqual(bytes);
    }
  });

  test("each mapping has a name of its own", () => {
    expect(mappingName(MAP)).toBe("u0-100000-10,u1000-5-1,g0-200000-10");
  });
});
