/** Tables and sizes for people. */
import type { RwLayerRow } from "../../index.ts";
import { escapeControl } from "../../log.ts";

export const FORMAT_FLAG = {
  name: "format",
  short: "f",
  kind: "string",
  values: ["table", "json"],
  argument: "format",
  help: "table or json",
} as const;

/** Columns as wide as they need to be; the last one is not filled up. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  // Some of it is what an image says of itself.
  const all = [header, ...rows.map((row) => row.map(escapeControl))];
  const widths = header.map((_, column) => Math.max(...all.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, column) => (column === row.length - 1 ? cell : cell.padEnd(widths[column] as number)))
      .join("  ")
      .trimEnd();
  return `${all.map(line).join("\n")}\n`;
}

/** Read-write layers: what each has, and who has it. */
export function rwLayerTable(rows: readonly RwLayerRow[]): string {
  return table(
    ["LAYER", "CONTAINER", "WRITTEN", "LIMIT", "SNAPSHOTS"],
    rows.map(({ name = "-", container, isInUse, size, limit, snapshots }) => [
      name,
      container === undefined ? "-" : isInUse ? container : `${container} (gone)`,
      bytesText(size),
      limit === undefined ? "-" : bytesText(limit),
      snapshots.count === 0 ? "-" : `${snapshots.count}, ${bytesText(snapshots.size)}`,
    ]),
  );
}

/** Powers of 1000, as docker prints sizes. */
export function bytesText(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** "1 layer", "2 layers". */
export function countText(count: number, what: string): string {
  return `${count} ${what}${count === 1 ? "" : "s"}`;
}

/** The first twelve digits of a digest. */
export function shortId(digest: string): string {
  return digest.replace(/^sha256:/, "").slice(0, 12);
}
