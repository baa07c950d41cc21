/** Holds src/ to docs/architecture.md: its import tables, and those of its invariants that show in the text. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const DOCUMENT = readFileSync(join(ROOT, "docs/architecture.md"), "utf8");

/** `| name | words |` rows of the table with this heading. */
function table(heading: string): Map<string, string[]> {
  const lines = DOCUMENT.split("\n");
  const start = lines.findIndex((line) => line.startsWith(`| ${heading} |`));
  expect(start, `docs/architecture.md has a table headed "${heading}"`).toBeGreaterThan(0);
  const rows = new Map<string, string[]>();
  for (const line of lines.slice(start + 2)) {
    const cells = line.split("|").map((cell) => cell.trim());
    if (cells.length < 4) break;
    rows.set(cells[1]!, cells[2]!.split(" ").filter(Boolean));
  }
  return rows;
}

const MAY_IMPORT = table("Part");
const MAY_ALSO_IMPORT = table("File");

interface Source {
  /** Path below src/. */
  file: string;
  text: string;
  /** Relative imports as paths below src/, others as they are written. */
  imports: string[];
  /** Those that are loaded with the file. */
  atOnce: string[];
}

const SOURCES: Source[] = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".ts"))
  .map((file) => {
    const text = readFileSync(join(ROOT, "src", file), "utf8");
    const named = (pattern: RegExp) =>
      [...text.matchAll(pattern)]
        .map((match) => match[1] || match[2]!)
        .map((name) => (name.startsWith(".") ? normalize(join(dirname(file), name)) : name));
    const atOnce = named(/^(?:import|export)\b(?! type\b)[^";]*?\bfrom "([^"]+)"|^import "([^"]+)"/gm);
    const types = named(/^(?:import|export) type\b[^";]*?\bfrom "([^"]+)"()/gm);
    return { file, text, imports: [...atOnce, ...types, ...named(/\b(?:import|require\w*)\("()([^"]+)"\)/g)], atOnce };
  });

/** The row of the table that a path below src/ belongs to. */
function part(path: string): string {
  if (path.includes("/")) return path.slice(0, path.indexOf("/"));
  return MAY_IMPORT.has(path) ? path : "shared";
}

/** Comments say `process.exit` and the like without doing it. */
function code(text: string): string {
  return text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/^\s*\/\/.*$/gm, "");
}

/** Node's `process`, not `spec.process`. */
const NODE_PROCESS = "(?<![.\\w?])process";

const sourcesOutside = (...parts: string[]) => SOURCES.filter(({ file }) => !parts.includes(part(file)));

function filesWhere(sources: Source[], pattern: RegExp): string[] {
  return sources.filter(({ text }) => pattern.test(code(text))).map(({ file }) => file);
}

describe("architecture", () => {
  test("every folder of src/ has its row in the import table", () => {
    const parts = [...new Set(SOURCES.map(({ file }) => part(file)))];
    expect(parts.filter((name) => !MAY_IMPORT.has(name))).toEqual([]);
  });

  test("no file imports what the table does not list", () => {
    const wrong = SOURCES.flatMap(({ file, imports }) =>
      imports
        .filter((name) => name.endsWith(".ts") && !name.startsWith("../build/"))
        .filter((name) => part(name) !== part(file) && part(name) !== "shared")
        .filter((name) => !MAY_IMPORT.get(part(file))?.includes(part(name)))
        .filter((name) => !MAY_ALSO_IMPORT.get(file)?.includes(name))
        .map((name) => `${file} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  test("nothing is imported from outside, but for the files listed", () => {
    const wrong = SOURCES.flatMap(({ file, imports }) =>
      imports
        .filter((name) => !name.endsWith(".ts"))
        .filter((name) => !MAY_ALSO_IMPORT.get(file)?.includes(name))
        .map((name) => `${file} imports ${name}`),
    );
    expect(wrong).toEqual([]);
  });

  test("the program starts with our own files alone: its engine has no other modules", () => {
    const reached = new Set(["main.ts", "main.quickjs.ts"]);
    for (const file of reached) {
      for (const name of SOURCES.find((source) => source.file === file)?.atOnce ?? []) reached.add(name);
    }
    expect(reached.size).toBeGreaterThan(50);
    expect([...reached].filter((name) => !name.endsWith(".ts"))).toEqual([]);
  });

  test("what the files listed may import is imported by them", () => {
    const unused = [...MAY_ALSO_IMPORT].flatMap(([file, names]) => {
      const imports = SOURCES.find((source) => source.file === file)?.imports ?? [];
      return names
        .filter((name) => !name.startsWith("bun:") && !imports.includes(name))
        .map((name) => `${file} ${name}`);
    });
    expect(unused).toEqual([]);
  });

  test("of what the build makes only the init's binary and the texts of the help are taken", () => {
    const taken = SOURCES.flatMap(({ file, imports }) =>
      imports.filter((name) => name.startsWith("../build/")).map((name) => `${file} imports ${name}`),
    );
    expect(taken.sort()).toEqual([
      "init/binary.ts imports ../build/init-binary.ts",
      "main.quickjs.ts imports ../build/help-texts.ts",
    ]);
  });

  test("1: spec, plan and seccomp read no file, clock or environment", () => {
    const pure = SOURCES.filter(({ file }) => ["spec", "plan", "seccomp"].includes(part(file)));
    const others = pure.filter(({ file }) => file !== "spec/load.ts");
    expect(
      others.filter(({ imports }) => imports.some((name) => part(name) === "sys")).map(({ file }) => file),
    ).toEqual([]);
    expect(
      filesWhere(
        others,
        new RegExp(
          `Date\\.now\\(|new Date\\(|Math\\.random\\(|\\bBun\\.|${NODE_PROCESS}\\.(env\\.|cwd\\(|pid\\b|hrtime|getuid|arch\\b)`,
        ),
      ),
    ).toEqual([]);
  });

  test("3 and 8: nothing is removed recursively by path", () => {
    expect(filesWhere(SOURCES, /\brm(Sync)?\(|\brmdirSync\([^)]*recursive/)).toEqual([]);
  });

  test("5: library code does not print, exit, change directory or read argv", () => {
    // fastExit is how main.ts leaves; nothing in the library calls it. globals.ts makes `process` where there is none.
    const library = sourcesOutside("cli", "main.ts", "main.quickjs.ts").filter(
      ({ file }) => file !== "runtime/exit.ts" && file !== "sys/globals.ts",
    );
    const pattern = new RegExp(`\\bconsole\\.\\w+\\(|${NODE_PROCESS}\\.(exit|abort|chdir|argv|stdout|stderr)\\b`);
    expect(filesWhere(library, pattern)).toEqual([]);
    const callers = library.filter(({ text }) => /\bfastExit\(/.test(code(text))).map(({ file }) => file);
    expect(callers).toEqual([]);
  });

  test("the invariants are numbered without a gap, as the code cites them", () => {
    const section = DOCUMENT.slice(DOCUMENT.indexOf("## What always holds"));
    const numbers = [...section.matchAll(/^(\d+)\. /gm)].map((match) => Number(match[1]));
    expect(numbers).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });
});
