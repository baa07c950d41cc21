import { containerProcesses } from "../../index.ts";
import { defineVerb } from "../flags.ts";
import { writeOut } from "../output.ts";
import { printTable } from "../ps-table.ts";

export const ps = defineVerb({
  name: "ps",
  summary: "list the processes of a container",
  usage: "<container-id> [ps options]",
  flags: [
    {
      name: "format",
      short: "f",
      kind: "string",
      values: ["table", "json"],
      argument: "format",
      help: "table or json (pids as the host sees them)",
    },
  ],
  min: 1,
  max: Number.POSITIVE_INFINITY,
  stopAtId: true,
  notes: "The table is made by the ps of the host; its options (default: -ef) follow the container id.",
  run({ values, args, globals }) {
    const pids = containerProcesses(globals.root, args[0] as string);
    if (values.format === "json") {
      writeOut(`${JSON.stringify(pids)}\n`);
      return 0;
    }
    return printTable(pids, args.slice(1));
  },
});
