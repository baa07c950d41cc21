import { isErrno, TsrunError } from "../../errors.ts";
import { newSpec } from "../../index.ts";
import { writeFileSync } from "../../sys/fs.ts";
import { defineVerb } from "../flags.ts";
import { absolute } from "../globals.ts";

export const spec = defineVerb({
  name: "spec",
  summary: "write a config.json to start from",
  usage: "",
  flags: [
    {
      name: "bundle",
      short: "b",
      kind: "string",
      argument: "dir",
      help: "the bundle directory (default: the current one)",
    },
    {
      name: "file",
      short: "f",
      kind: "string",
      argument: "file",
      help: "write this file instead of <bundle>/config.json",
    },
    { name: "rootless", kind: "bool", help: "for a user who is not root: own ids mapped in a user namespace" },
  ],
  min: 0,
  max: 0,
  run({ values }) {
    const path = absolute(values.file || `${values.bundle || "."}/config.json`);
    const rootless = values.rootless ? { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 } : undefined;
    writeNew(path, JSON.stringify(newSpec({ rootless }), null, "\t"));
    return 0;
  },
});

/** Writes a file that must not be there yet; in one step, so that nobody's config is lost. */
function writeNew(path: string, text: string): void {
  try {
    writeFileSync(path, text, { exclusive: true });
  } catch (error) {
    if (isErrno(error, "EEXIST")) throw new TsrunError(`File ${path} exists. Remove it first`);
    throw error;
  }
}
