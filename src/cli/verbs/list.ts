import { type ContainerSummary, listContainers } from "../../index.ts";
import { escapeControl, jsonText } from "../../log.ts";
import { defineVerb } from "../flags.ts";
import { writeOut } from "../output.ts";

export const list = defineVerb({
  name: "list",
  summary: "list the containers of --root",
  usage: "",
  flags: [
    {
      name: "format",
      short: "f",
      kind: "string",
      values: ["table", "json"],
      argument: "format",
      help: "table or json",
    },
    { name: "quiet", short: "q", kind: "bool", help: "print ids only" },
  ],
  min: 0,
  max: 0,
  run({ values, globals }) {
    const containers = listContainers(globals.root);
    if (values.quiet) writeOut(containers.map(({ id }) => `${id}\n`).join(""));
    else if (values.format === "json") writeOut(`${jsonText(containers)}\n`);
    else writeOut(containerTable(containers));
    return 0;
  },
});

/** The table of `runc list`: columns at least 12 wide, three blanks apart, the last one not padded. */
function containerTable(containers: readonly ContainerSummary[]): string {
  const rows = [
    ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"],
    ...containers.map((c) => [c.id, String(c.pid), c.status, escapeControl(c.bundle), c.created, c.owner]),
  ];
  const widths =
    rows[0]?.map((_, column) => Math.max(12, ...rows.map((row) => [...(row[column] ?? "")].length + 3))) ?? [];
  return rows
    .map((row) => `${row.map((cell, i) => (i === row.length - 1 ? cell : pad(cell, widths[i] ?? 0))).join("")}\n`)
    .join("");
}

function pad(cell: string, width: number): string {
  return cell + " ".repeat(Math.max(0, width - [...cell].length));
}
