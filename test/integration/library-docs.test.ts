/** The programs of docs/library.md, as they stand there, in Node and in Bun. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { findBun } from "../../scripts/tools.mjs";
import { makeBundle } from "../helpers/bundle.ts";
import { needs } from "../helpers/needs.ts";
import { expectNothingLeft, inventory, newId, ROOT } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const PROGRAMS = [...readFileSync(join(ROOT, "docs/library.md"), "utf8").matchAll(/^```js\n(.*?)^```$/gms)].map(
  ([, text]) => text as string,
);

/** What each of them prints, in Node and in Bun. */
const PRINTED = [
  "3\n",
  "running 1\n",
  "hello 3\none\ntwo\n",
  "1\nSIGKILL\n",
  "true true container nosuch does not exist\n JSON specification file /nosuch/config.json not found\ntrue\n",
  /^\d+ \d+ {2}execve \[sleep 1000\] .*\n\[ ['"]sh['"] \]\n$/,
  /^\[\s+\[ ['"]web:latest['"] \]\s+\]\nhi\nA \/new\n$/,
];

describe("docs/library.md", () => {
  const wanted = { root: true, tsrun: true, kernel: [6, 8], commands: ["tar"] } as const;
  needs(wanted)(
    "its programs print what they should, and leave nothing",
    () => {
      expect(PROGRAMS.length).toBe(PRINTED.length);
      for (const engine of [process.execPath, findBun()]) {
        const before = inventory();
        for (const [index, text] of PROGRAMS.entries()) {
          const { stdout, stderr } = runProgram(engine, text, index === 0 ? ["sh", "-c", "exit 3"] : ["sleep", "1000"]);
          expect(stderr, text).toBe("");
          const printed = PRINTED[index];
          if (typeof printed === "string") expect(stdout, text).toBe(printed);
          else expect(stdout, text).toMatch(printed as RegExp);
        }
        expectNothingLeft(before);
      }
    },
    120_000,
  );
});

/** With its bundle, its container and its store in the places of the test. */
function runProgram(engine: string, text: string, args: string[]): { stdout: string; stderr: string } {
  const dir = scratch("program");
  mkdirSync(join(dir, "node_modules"));
  symlinkSync(ROOT, join(dir, "node_modules/tsrun"));
  const { path, rootfs } = makeBundle({ args });
  const id = newId();
  const archive = join(dir, "rootfs.tar");
  if (text.includes("/tmp/rootfs.tar")) spawnSync("tar", ["-C", rootfs, "-cf", archive, "."]);
  const program = text
    .replaceAll("/tmp/web", path)
    .replaceAll('id: "web"', `id: "${id}"`)
    .replaceAll('undefined, "web"', `undefined, "${id}"`)
    .replaceAll("/tmp/rootfs.tar", archive)
    .replaceAll("/srv/store", join(dir, "store"));
  writeFileSync(join(dir, "program.mjs"), program);
  return spawnSync(engine, ["program.mjs"], { cwd: dir, encoding: "utf8", timeout: 60_000 });
}
