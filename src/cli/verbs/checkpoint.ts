import { checkpointContainer } from "../../index.ts";
import { CRIU_FLAGS, defineVerb, NETWORK_LOCK_FLAG } from "../flags.ts";
import { absolute, optionalPath } from "../globals.ts";
import { UsageError } from "../parse.ts";

export const checkpoint = defineVerb({
  name: "checkpoint",
  summary: "write a running container to files, from which `restore` makes it again",
  usage: "<container-id>",
  flags: [
    ...CRIU_FLAGS,
    { name: "leave-running", kind: "bool", help: "let the container run on" },
    { name: "pre-dump", kind: "bool", help: "write its memory only, and let it run on: a later checkpoint is shorter" },
    {
      name: "parent-path",
      kind: "string",
      argument: "dir",
      help: "the files of a --pre-dump, relative to those of this one",
    },
    { name: "tcp-skip-in-flight", kind: "bool", help: "leave out TCP connections that are not established yet" },
    { name: "link-remap", kind: "bool", help: "keep files that were removed while they are open, by a link" },
    NETWORK_LOCK_FLAG,
    {
      name: "page-server",
      kind: "string",
      argument: "address:port",
      help: "send the pages of memory to a page server of criu",
    },
    {
      name: "status-fd",
      kind: "number",
      argument: "n",
      help: "a descriptor that a byte is written to when --lazy-pages can be served",
    },
  ],
  min: 1,
  max: 1,
  notes: `The container is removed afterwards, unless it is left running. Needs criu(8).`,
  run({ values, args, globals }) {
    const options = {
      root: globals.root,
      criu: globals.criu,
      id: args[0] as string,
      imagePath: absolute(values["image-path"] || "checkpoint"),
      workPath: optionalPath(values["work-path"]),
      parentPath: values["parent-path"] || undefined,
      preDump: values["pre-dump"],
      leaveRunning: values["leave-running"],
      tcpEstablished: values["tcp-established"],
      tcpSkipInFlight: values["tcp-skip-in-flight"],
      extUnixSk: values["ext-unix-sk"],
      shellJob: values["shell-job"],
      fileLocks: values["file-locks"],
      linkRemap: values["link-remap"],
      networkLock: values["network-lock"] as "iptables" | undefined,
      lazyPages: values["lazy-pages"],
      autoDedup: values["auto-dedup"],
      statusFd: values["status-fd"],
      pageServer: values["page-server"] ? pageServerOf(values["page-server"]) : undefined,
      manageCgroupsMode: values["manage-cgroups-mode"] as "soft" | undefined,
      emptyNs: values["empty-ns"] as "network"[] | undefined,
    };
    return checkpointContainer(options).then(() => 0);
  },
});

/** An address of IPv6 has colons itself, and may stand in brackets. */
function pageServerOf(text: string): { address: string; port: number } {
  const match = /^\[?([^\]]+?)\]?:(\d{1,5})$/.exec(text);
  const port = Number(match?.[2]);
  if (match?.[1] !== undefined && port > 0 && port < 65536) return { address: match[1], port };
  throw new UsageError(`invalid value ${JSON.stringify(text)} for flag --page-server: ADDRESS:PORT is needed`);
}
