/** Small parsers of the figures in cgroupfs. A file that is not there has no figures. */
import { readGroupFile } from "./files.ts";
import type { MemoryEntry, Pressure, PressureLine } from "./stats.ts";

/** Larger than any limit: what the kernel, and runc, write for "none". */
export const NO_LIMIT = 18446744073709552000;

/** A file with one number; "max" is NO_LIMIT. */
export function readNumber(path: string): number | undefined {
  const text = readGroupFile(path);
  if (text === undefined || text === "") return undefined;
  return text === "max" ? NO_LIMIT : Number(text);
}

/** "name number" a line. */
export function parseKeyed(text: string | undefined): Record<string, number> {
  const values: Record<string, number> = {};
  for (const line of (text ?? "").split("\n")) {
    const space = line.indexOf(" ");
    if (space > 0) values[line.slice(0, space)] = Number(line.slice(space + 1));
  }
  return values;
}

/** "device name=number name=max" a line, as rdma.current; "max" is NO_LIMIT. */
export function parseNested(text: string | undefined): Record<string, Record<string, number>> {
  const values: Record<string, Record<string, number>> = {};
  for (const line of (text ?? "").split("\n")) {
    const [key, ...members] = line.split(" ").filter(Boolean);
    if (key === undefined) continue;
    const named: Record<string, number> = {};
    for (const member of members) {
      const [name = "", value = "0"] = member.split("=");
      named[name] = value === "max" ? NO_LIMIT : Number(value);
    }
    values[key] = named;
  }
  return values;
}

/** "0-3,7" as the numbers it names. */
export function parseList(text: string | undefined): number[] {
  const numbers: number[] = [];
  for (const part of (text ?? "").split(",")) {
    if (part === "") continue;
    const [first = 0, last = first] = part.split("-").map(Number);
    for (let n = first; n <= last; n++) numbers.push(n);
  }
  return numbers;
}

/** cgroup-v2.rst "PSI": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0". */
export function parsePressure(text: string | undefined): Pressure | undefined {
  if (text === undefined) return undefined;
  const pressure: Pressure = {};
  for (const line of text.split("\n")) {
    const [kind, ...fields] = line.split(" ");
    if (kind !== "some" && kind !== "full") continue;
    const values = Object.fromEntries(
      fields.map((field) => [field.slice(0, field.indexOf("=")), Number(field.slice(field.indexOf("=") + 1))]),
    );
    const { avg10 = 0, avg60 = 0, avg300 = 0, total = 0 } = values;
    pressure[kind] = { avg10, avg60, avg300, total } satisfies PressureLine;
  }
  return pressure.some === undefined && pressure.full === undefined ? undefined : pressure;
}

/** @returns undefined where the kernel has it switched off (EOPNOTSUPP) or does not know it */
export function readPressure(path: string): Pressure | undefined {
  try {
    return parsePressure(readGroupFile(path));
  } catch {
    // Built, and switched off at boot: psi=0.
    return undefined;
  }
}

/** Without the members that are 0, as runc leaves them out. */
export function memoryEntry(limit = 0, usage = 0, max = 0, failcnt = 0): MemoryEntry {
  return { limit, ...(usage > 0 && { usage }), ...(max > 0 && { max }), failcnt };
}
