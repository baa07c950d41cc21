import { closeSync, openSync, writeSync } from "node:fs";
import { isErrno, SyscallError, TsrunError } from "../../errors.ts";
import { defaultSpec } from "../../index.ts";
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
    const bundle = absolute(values.bundle || ".");
    const path = values.file ? absolute(values.file) : `${bundle}/config.json`;
    const rootless = values.rootless ? { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 } : undefined;
    writeNew(path, JSON.stringify(defaultSpec({ rootless }), null, "\t"));
    return 0;
  },
});

/** Writes a file that must not be there yet; in one step, so that nobody's config is lost. */
function writeNew(path: string, text: string): void {
  let fd: number;
  try {
    fd = openSync(path, "wx", 0o666);
  } catch (error) {
    if (isErrno(error, "EEXIST")) throw new TsrunError(`File ${path} exists. Remove it first`);
    throw new SyscallError("open", (error as { code?: string }).code ?? "EIO", { path });
  }
  try {
    const bytes = Buffer.from(text);
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
  } catch (error) {
    throw new SyscallError("write", (error as { code?: string }).code ?? "EIO", { path });
  } finally {
    closeSync(fd);
  }
}
