/** Several processes want one named read-write layer at the same moment. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { removePath } from "../../../src/sys/remove.ts";
import { needs } from "../../helpers/needs.ts";

const ROOT = new URL("../../..", import.meta.url).pathname;
const BUN = join(ROOT, "node_modules/bun/bin/bun.exe");
const PROGRAM = `
import { prepareRootfs } from "${ROOT}src/storage/rootfs.ts";
const [scratch, id] = process.argv.slice(2);
process.stdin.once("data", () => {
  try {
    prepareRootfs({ id, layers: [scratch + "/base"], userns: false, storageRoot: scratch + "/store",
      stateDir: scratch + "/state/" + id, rwLayer: "data" });
    console.log("got it");
  } catch (error) {
    console.log(error.message);
  }
  process.exit(0);
});
console.log("ready");
`;

let scratch: string | undefined;
afterAll(() => {
  if (scratch !== undefined) removePath(scratch);
});

needs({ root: true, files: [BUN] })(
  "of eight containers one gets the layer, and the others are told which",
  async () => {
    mkdirSync("/var/lib/tsrun", { recursive: true });
    scratch = mkdtempSync("/var/lib/tsrun/exclusive-");
    mkdirSync(join(scratch, "base"));
    writeFileSync(join(scratch, "program.ts"), PROGRAM);
    const ids = Array.from({ length: 8 }, (_, i) => `c${i}`);
    const children = ids.map((id) => {
      mkdirSync(join(scratch as string, "state", id), { recursive: true });
      const child = spawn(BUN, [join(scratch as string, "program.ts"), scratch as string, id], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      let output = "";
      const ready = new Promise<void>((resolve) => {
        child.stdout.on("data", (data) => {
          output += data;
          if (output.includes("ready")) resolve();
        });
      });
      const ended = new Promise<string>((resolve) => child.on("close", () => resolve(output.replace("ready\n", ""))));
      return { child, ready, ended };
    });
    await Promise.all(children.map(({ ready }) => ready));
    for (const { child } of children) child.stdin.write("go");
    const answers = await Promise.all(children.map(({ ended }) => ended));
    const winner = ids[answers.indexOf("got it\n")];
    expect(answers.filter((answer) => answer === "got it\n")).toHaveLength(1);
    expect(
      answers.filter((answer) => answer === `read-write layer data is in use by container ${winner}\n`),
    ).toHaveLength(7);
    const mounts = join(scratch, "store/image/overlay2/layerdb/mounts");
    expect(readdirSync(mounts)).toEqual([winner]);
    expect(readFileSync(join(mounts, `${winner}/mount-id`), "utf8")).toBe("rw-data");
  },
);
