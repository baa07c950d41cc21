/**
 * Writes native/protocol.h from the tables of src/plan/step.ts.
 * Run it after a change there: `npx bun scripts/gen-protocol.ts`. A unit test compares the two.
 */
import { writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { AWAIT, MESSAGE, OPS } from "../src/plan/step.ts";

const HEADER = fileURLToPath(new URL("../native/protocol.h", import.meta.url));

/** The text of native/protocol.h. */
export function protocolHeader(): string {
  const ops = Object.entries(OPS);
  return `/* Made by scripts/gen-protocol.ts from src/plan/step.ts; change it there. */
#ifndef TSRUN_PROTOCOL_H
#define TSRUN_PROTOCOL_H

/* Each op and the kinds of its arguments; its place in the list is its number in a plan. */
#define OPS(X) \\
${ops.map(([name, kinds]) => `\tX(${name}, "${kinds}")`).join(" \\\n")}

#define OP_COUNT ${ops.length}

enum message {
${entries("MESSAGE", MESSAGE)}
};

enum await_tag {
${entries("AWAIT", AWAIT)}
};

#endif
`;
}

function entries(prefix: string, table: Readonly<Record<string, number>>): string {
  return Object.entries(table)
    .map(([name, value]) => `\t${prefix}_${name} = ${value},`)
    .join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(HEADER, protocolHeader());
