/** What an archive becomes here and with GNU tar, for any archive that GNU tar can make of a tree. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect } from "vitest";
import { LayerStore } from "../../../src/storage/layer-store.ts";
import { needs } from "../../helpers/needs.ts";
import { scratch } from "../../helpers/scratch.ts";

/** Every name with all that a tar keeps: type, mode, owner, time, size, target, links, attributes, content. */
function listing(dir: string): string {
  const script = `cd "$1" && find . -printf '%P %y %m %U %G %T@ %s %l %n\\n' | sed 's/\\(.* d [0-9]* [0-9]* [0-9]* [0-9.]*\\) [0-9]* /\\1 /' | sort
    find . -type f -print0 | sort -z | xargs -0r sha256sum
    getfattr -h -R -d -m '^user\\.' . 2>/dev/null || true`;
  return execFileSync("bash", ["-c", script, "listing", dir], { encoding: "utf8" });
}

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
