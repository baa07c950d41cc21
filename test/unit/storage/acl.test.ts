import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { aclXattr, parseAcl, resolveNames } from "../../../src/storage/tar/acl.ts";

const GNU = "user::rwx\nuser:daemon:rw-\nuser:4242:r--\ngroup::r-x\ngroup:adm:r-x\nmask::rwx\nother::r--\n";
const STAR = "user::rwx,group::r-x,other::r--,user:daemon:rw-:1,user:4242:r--,group:adm:r-x:4,mask::rwx";

/** tag, permissions and id of each entry, as the attribute has them. */
function words(value: Uint8Array): number[][] {
  const view = new DataView(value.buffer);
  expect(view.getUint32(0, true)).toBe(2);
  return Array.from({ length: (value.length - 4) / 8 }, (_, i) => [
    view.getUint16(4 + 8 * i, true),
    view.getUint16(6 + 8 * i, true),
    view.getUint32(8 + 8 * i, true),
  ]);
}

function parsed(text: string) {
  const entries = parseAcl(text);
  if (typeof entries === "string") throw new Error(entries);
  return entries;
}

const NONE = 0xffffffff;
const WHOLE = [
  [1, 7, NONE],
  [2, 6, 1],
  [2, 4, 4242],
  [4, 5, NONE],
  [8, 5, 4],
  [16, 7, NONE],
  [32, 4, NONE],
];

describe("storage/tar/acl", () => {
  test("bsdtar's form has the ids in it, and comes out in the kernel's order", () => {
    expect(words(aclXattr(parsed(STAR)))).toEqual(WHOLE);
  });

  test("GNU tar's form has names, which passwd and group turn into ids", () => {
    const passwd = "root:x:0:0::/:\ndaemon:x:1:7::/:\n";
    const resolved = resolveNames(parsed(GNU), passwd, "daemon:x:9:\nadm:x:4:\n");
    expect(words(aclXattr(resolved))).toEqual(WHOLE);
  });

  test("an entry whose name is nowhere is left out, and the rest stays", () => {
    const resolved = resolveNames(parsed(GNU), "", "");
    expect(words(aclXattr(resolved)).map(([tag]) => tag)).toEqual([1, 2, 4, 16, 32]);
    expect(words(aclXattr(resolveNames(parsed(GNU), "daemon:x:abc:\n", "adm:x:99999999999:\n")))).toHaveLength(5);
  });

  test("short words, blanks, comments and empty lines are read, and no ACL is none", () => {
    expect(words(aclXattr(parsed("u::rw-\n\n g::r-- #effective:r--\nm::r-x , o::---\nu: 7 :r-x")))).toHaveLength(5);
    expect(parsed("")).toEqual([]);
  });

  test.each([
    ["user::rwx", "0 entries for the owning group"],
    ["user::rwx,user::r--,group::r--,other::r--", "2 entries for the owner"],
    ["user::rwx,group::r--,other::r--,user:7:r--", "0 masks"],
    ["user::rwx,group::r--,other::r--,mask::r--,mask::rwx", "2 masks"],
    ["user::rwx,group::r--,other::r--,mask::r--,user:7:r--,user:seven:rwx:7", "two entries for user 7"],
    ["user::7,group::r--,other::r--", '"user::7" is no entry'],
    ["user::wrx,group::r--,other::r--", '"user::wrx" is no entry'],
    ["user::rwx,group::r--,other::r--,other:x:r--", '"other:x:r--" is no entry'],
    ["user::rwx:0,group::r--,other::r--", '"user::rwx:0" is no entry'],
    ["user::rwx,group::r--,other::r--,mask::r--,user:a:r--:4294967295", "is no entry"],
    ["user::rwx,group::r--,other::r--,mask::r--,user:a:r--:-1", "is no entry"],
    ["user::rwx,group::r--,other::r--,mask::r--,user:a:r--:1:2", "is no entry"],
    ["default:user::rwx", "is no entry"],
    ["\u001b[2Juser::rwx", '"\\u001b[2Juser::rwx" is no entry'],
  ])("%j is refused: %s", (text, problem) => {
    expect(parseAcl(text)).toContain(problem);
  });

  test("any text is an ACL or a problem that is told in a line", () => {
    const part = fc.constantFrom("user", "group", "mask", "other", ":", ",", "\n", "rwx", "r--", "7", "#", " ", "\0");
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.array(part, { maxLength: 40 }).map((parts) => parts.join("")),
        ),
        (text) => {
          const result = parseAcl(text);
          if (typeof result === "string") expect(result).not.toMatch(/[\n\0]/);
          else expect(aclXattr(result).length).toBeGreaterThanOrEqual(4);
        },
      ),
    );
  });
});
