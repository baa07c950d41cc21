/** Holds docs/conformance.md to the schema of the spec, to the validator, to the program's flags and to the tests. */
import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { GLOBAL_FLAGS } from "../../../src/cli/globals.ts";
import { VERBS } from "../../../src/cli/verbs/all.ts";
import type { Shape } from "../../../src/spec/structure.ts";
import { SPEC } from "../../../src/spec/validate.ts";
import { configPaths } from "../../helpers/oci-schema.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
const document = readFileSync(`${ROOT}docs/conformance.md`, "utf8");

/** Rows of the table under a heading, as cells. */
function rows(heading: string): string[][] {
  const section = document.slice(document.indexOf(`## ${heading}`)).split("\n## ", 2)[0] ?? "";
  const lines = section.split("\n").filter((line) => line.startsWith("| ") && !line.startsWith("|---"));
  return lines.slice(1).map((line) => line.split("|").map((cell) => cell.trim()));
}

const fields = rows("Fields of config.json");
const named = fields.flatMap(([, names = ""]) => names.split(", "));
/** Of other platforms, though the schema has it in a part that all share. */
const NOT_LINUX = ["process.commandLine"];

/** Does the shape know this path? Members of a map are known by their values. */
function isKnown(shape: Shape, path: string): boolean {
  if (path === "") return true;
  if (typeof shape === "number") return false;
  if (path.startsWith("[]")) return "list" in shape && isKnown(shape.list, path.slice(2).replace(/^\./, ""));
  if (path.startsWith("*")) return "map" in shape && isKnown(shape.map, path.slice(1).replace(/^\./, ""));
  const [, name = "", rest = ""] = /^([^.[]+)\.?(.*)$/.exec(path) ?? [];
  if ("map" in shape) return isKnown(shape.map, rest);
  if (!("members" in shape)) return false;
  const member = shape.members[name];
  return member !== undefined && isKnown(member, rest);
}

describe("docs/conformance.md", () => {
  const paths = configPaths();

  test("every field of the schema has a row, its own or one above it", () => {
    expect(paths.length).toBeGreaterThan(200);
    const isCovered = (path: string) =>
      named.some((name) => path === name || path.startsWith(`${name}.`) || path.startsWith(`${name}[]`));
    expect(paths.filter((path) => !isCovered(path))).toEqual([]);
  });

  test("every field of the schema is known to the validator", () => {
    expect(paths.filter((path) => !NOT_LINUX.includes(path) && !isKnown(SPEC, path))).toEqual([]);
    expect(isKnown(SPEC, "process.nosuch")).toBe(false);
  });

  test("every row names fields that the schema has", () => {
    expect(named.filter((name) => !paths.includes(name))).toEqual([]);
  });

  test("every flag of the program has its place", () => {
    const flags = new Map(rows("Flags").map(([, command = "", words = ""]) => [command, words]));
    const wordsOf = (command: string) => {
      const words = flags.get(command) ?? "";
      return words.startsWith("those of create") ? `${flags.get("create")} ${words}` : words;
    };
    const own = ["image", "layer", "container", "bundle", "try"];
    const missing = [{ name: "global", flags: GLOBAL_FLAGS }, ...VERBS.filter(({ name }) => !own.includes(name))]
      .flatMap(({ name, flags: table }) => [
        ...(flags.has(name) ? [] : [name]),
        ...table.map((flag) => `${name} --${flag.name}`),
      ])
      .filter((entry) => {
        const [command = "", flag] = entry.split(" ");
        return flag === undefined || !new RegExp(`${flag}(?![\\w-])`).test(wordsOf(command));
      });
    expect(missing).toEqual([]);
  });

  test("every test that is named is there", () => {
    const tests = [...fields, ...rows("Flags")].map((cells) => cells[3] ?? "");
    expect(tests.length).toBeGreaterThan(50);
    expect(tests.filter((name) => !existsSync(`${ROOT}test/${name}.test.ts`))).toEqual([]);
  });
});
