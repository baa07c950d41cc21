/** What an archive becomes here and with GNU tar, for any archive that GNU tar can make of a tree. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import fc from "fast-check";
import { expect } from "vitest";
import { LayerStore } from "../../../src/storage/layer-store.ts";
import { O_DIRECTORY, O_PATH } from "../../../src/sys/constants.ts";
import { Fd, open } from "../../../src/sys/file.ts";
import { getXattrAt, setXattrAt } from "../../../src/sys/xattr.ts";
import { needs } from "../../helpers/needs.ts";
import { scratch } from "../../helpers/scratch.ts";

/** Every name with all that a tar keeps: type, mode, owner, time, size, target, links, attributes, content. */
function listing(dir: string): string {
  const script = `cd "$1" && find . -printf '%P %y %m %U %G %T@ %s %l %n\\n' | sed 's/\\(.* d [0-9]* [0-9]* [0-9]* [0-9.]*\\) [0-9]* /\\1 /' | sort
    find . -type f -print0 | sort -z | xargs -0r sha256sum
    getfattr -h -R -d -m '^user\\.' . 2>/dev/null || true`;
  return execFileSync("bash", ["-c", script, "listing", dir], { encoding: "utf8" });
}

const ACL_ACCESS = "system.posix_acl_access";
const ACL_DEFAULT = "system.posix_acl_default";

/** As setxattr(2) takes it: entries of tag, permissions, id. */
function acl(...entries: [tag: number, permissions: number, id?: number][]): Uint8Array {
  const words = entries.flatMap(([tag, permissions, id = 0xffffffff]) => [tag | (permissions << 16), id]);
  return new Uint8Array(Uint32Array.from([2, ...words]).buffer);
}

function setAcl(path: string, kind: string, value: Uint8Array): void {
  using parent = new Fd(open(dirname(path), O_PATH | O_DIRECTORY));
  const name = new TextEncoder().encode(basename(path));
  expect(setXattrAt(parent.fd, name, new TextEncoder().encode(kind), value)).toBe(0);
}

/** ACLs and modes of a tree. */
function acls(dir: string): string {
  const script = `cd "$1" && find . -printf '%P %m\\n' | sort; getfattr -h -R -d -m posix_acl -e hex . | sort`;
  return execFileSync("bash", ["-c", script, "acls", dir], { encoding: "utf8" });
}

async function imported(dir: string, tar: string, onWarning?: (message: string) => void): Promise<string> {
  const store = new LayerStore({ storageRoot: join(dir, "store") });
  const { chainId } = await store.importLayer(tar, undefined, onWarning === undefined ? {} : { onWarning });
  const record = join(dir, "store/image/overlay2/layerdb/sha256", chainId.slice(7));
  expect(await store.check()).toEqual([]);
  return join(dir, "store/overlay2", readFileSync(join(record, "cache-id"), "utf8"), "diff");
}

/** Some files with ACLs that name users and groups of this system, and the numbers of others. */
function treeWithAcls(dir: string): string {
  const tree = join(dir, "tree");
  mkdirSync(join(tree, "etc"), { recursive: true });
  mkdirSync(join(tree, "d"));
  for (const name of ["a", "d/f", "z"]) writeFileSync(join(tree, name), name);
  const named = acl([1, 6], [2, 6, 1], [2, 4, 4242], [4, 4], [8, 5, 4], [8, 4, 777], [16, 7], [32, 4]);
  setAcl(join(tree, "a"), ACL_ACCESS, named);
  setAcl(join(tree, "z"), ACL_ACCESS, acl([1, 7], [2, 7, 4343], [4, 0], [16, 3], [32, 0]));
  setAcl(join(tree, "d"), ACL_ACCESS, acl([1, 7], [4, 5], [8, 1, 4], [16, 7], [32, 5]));
  setAcl(join(tree, "d"), ACL_DEFAULT, acl([1, 7], [2, 7, 1], [4, 5], [8, 4, 55], [16, 7], [32, 5]));
  return tree;
}

for (const command of ["tar", "bsdtar"]) {
  needs({ root: true, native: true, commands: ["tar", "getfattr", command] })(
    `ACLs that ${command} --acls has written come out as GNU tar unpacks them`,
    async () => {
      const dir = scratch("acls");
      const tree = treeWithAcls(dir);
      // The image has the users of this system; they come after what they are needed for.
      for (const name of ["passwd", "group"]) copyFileSync(`/etc/${name}`, join(tree, "etc", name));
      const flags = command === "tar" ? [] : ["--format=pax"];
      execFileSync(command, ["-C", tree, "--acls", ...flags, "-cf", join(dir, "t.tar"), "a", "d", "z", "etc"]);
      mkdirSync(join(dir, "out"));
      execFileSync("tar", ["-C", join(dir, "out"), "--acls", "-xpf", join(dir, "t.tar")]);
      expect(acls(join(dir, "out"))).toContain("posix_acl_default");
      expect(acls(await imported(dir, join(dir, "t.tar")))).toBe(acls(join(dir, "out")));
    },
  );
}

needs({ root: true, native: true, commands: ["tar", "getfattr"] })(
  "a name in an ACL is the image's own user, and one that it does not have is left out and told of",
  async () => {
    const dir = scratch("acls");
    const tree = treeWithAcls(dir);
    writeFileSync(join(tree, "etc/passwd"), "daemon:x:4001:1::/:\n");
    execFileSync("tar", ["-C", tree, "--acls", "-cf", join(dir, "t.tar"), "a", "z", "etc"]);
    const warnings: string[] = [];
    const diff = await imported(dir, join(dir, "t.tar"), (message) => warnings.push(message));
    using parent = new Fd(open(diff, O_PATH | O_DIRECTORY));
    const found = getXattrAt(parent.fd, new TextEncoder().encode("a"), ACL_ACCESS);
    expect(found).toEqual(acl([1, 6], [2, 6, 4001], [2, 4, 4242], [4, 4], [8, 4, 777], [16, 7], [32, 4]));
    expect(warnings).toEqual([expect.stringContaining("1 times the entry of group adm in an ACL could not be kept")]);
  },
);

needs({ root: true, native: true, commands: ["tar", "getfattr"] })(
  "a tree that GNU tar packs is unpacked as GNU tar unpacks it",
  async () => {
    const file = fc.record({
      name: fc.stringMatching(/^[a-zé ]{1,12}$/),
      kind: fc.constantFrom("file", "sparse", "dir", "symlink", "hard", "fifo", "xattr", "long"),
      mode: fc.integer({ min: 0, max: 0o7777 }),
      owner: fc.integer({ min: 0, max: 3_000_000 }),
      time: fc.integer({ min: 0, max: 1_700_000_000 }),
    });
    let run = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(file, { minLength: 1, maxLength: 10 }),
        fc.constantFrom("gnu", "pax"),
        async (files, format) => {
          const dir = scratch(`gnu-${++run}`);
          mkdirSync(join(dir, "tree"));
          const lines = files.map(({ name, kind, mode, owner, time }, i) => {
            const path = `'tree/${name}${i}'`;
            const make: Record<string, string> = {
              file: `printf '%s' '${name.repeat(i * 50)}' > ${path}`,
              sparse: `truncate -s 3M ${path}; printf end >> ${path}`,
              dir: `mkdir ${path}; echo in > ${path}/in`,
              symlink: `ln -s '../${name}' ${path}`,
              hard: `echo h > ${path}; ln ${path} ${path}.again`,
              fifo: `mkfifo ${path}`,
              xattr: `echo x > ${path}; setfattr -n user.note -v '${name}' ${path}`,
              long: `mkdir -p ${path}/${"d".repeat(120)}; echo l > ${path}/${"d".repeat(120)}/${"f".repeat(150)}`,
            };
            return `${make[kind]}; chown -h ${owner}:${owner + 1} ${path}; [ -L ${path} ] || chmod ${mode.toString(8)} ${path}; touch -h -d @${time} ${path}`;
          });
          execFileSync("bash", ["-ec", `cd "$1"\n${lines.join("\n")}`, "make", dir]);
          const flags = format === "pax" ? ["--xattrs", "--format=pax"] : ["--format=gnu"];
          execFileSync("tar", ["-C", join(dir, "tree"), "--sparse", ...flags, "-cf", join(dir, "t.tar"), "."]);
          mkdirSync(join(dir, "gnu"));
          execFileSync("tar", [
            "-C",
            join(dir, "gnu"),
            "--xattrs",
            "--xattrs-include=*",
            "--numeric-owner",
            "-xpf",
            join(dir, "t.tar"),
          ]);
          const store = new LayerStore({ storageRoot: join(dir, "store") });
          const { chainId } = await store.importLayer(join(dir, "t.tar"));
          const record = join(dir, "store/image/overlay2/layerdb/sha256", chainId.slice(7));
          const diff = join(dir, "store/overlay2", readFileSync(join(record, "cache-id"), "utf8"), "diff");
          expect(listing(diff)).toBe(listing(join(dir, "gnu")));
          // And its tar is the one that came in.
          const parts: Uint8Array[] = [];
          for await (const part of await store.layerTar(chainId)) parts.push(part);
          expect(Buffer.concat(parts).equals(readFileSync(join(dir, "t.tar")))).toBe(true);
          rmSync(dir, { recursive: true });
        },
      ),
      { numRuns: 15 },
    );
  },
  120_000,
);
