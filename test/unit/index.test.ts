import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const SRC = fileURLToPath(new URL("../../src", import.meta.url));
const text = (path: string) => readFileSync(join(SRC, path), "utf8");

/** What `export { a, type B, c as d } from "./file.ts"` takes from where: ["./file.ts", "a"] and so on. */
function exportsOf(path: string): [file: string, name: string][] {
  return [...text(path).matchAll(/export (?:type )?\{([^}]*)\} from "([^"]+)"/g)].flatMap(([, names = "", from = ""]) =>
    names
      .split(",")
      .map((name) =>
        name
          .trim()
          .replace(/^type /, "")
          .replace(/ as .*/, ""),
      )
      .filter((name) => name !== "")
      .map((name): [string, string] => [join(path, "..", from), name]),
  );
}

/** The declaration of a name with the comment before it; through files that only hand it on. */
function declaration(file: string, name: string): string {
  const source = text(file);
  const kinds = "(?:(?:async )?function\\*?|class|interface|type|const)";
  const own = new RegExp(`(/\\*\\*(?:(?!\\*/)[^])*\\*/\\n)?export ${kinds} ${name}\\b`).exec(source)?.[0];
  if (own !== undefined) return own;
  const handed = exportsOf(file).find(([, other]) => other === name);
  const imported = [...source.matchAll(/import (?:type )?\{([^}]*)\} from "([^"]+)"/g)].find(([, names = ""]) =>
    names.split(",").some((word) => word.trim().replace(/^type /, "") === name),
  );
  const from = handed?.[0] ?? (imported && join(file, "..", imported[2] as string));
  if (from === undefined) throw new Error(`${file} has no ${name}`);
  return declaration(from, name);
}

describe("the library", () => {
  test("says of everything that it exports what it is", () => {
    const names = exportsOf("index.ts");
    expect(names.length).toBeGreaterThan(80);
    expect(names.filter(([file, name]) => !declaration(file, name).startsWith("/**"))).toEqual([]);
  });

  test("says of every method of LayerStore what it does", () => {
    const methods = [...text("storage/layer-store.ts").matchAll(/(.*)\n {2}async (\w+)\(/g)];
    expect(methods.length).toBeGreaterThan(20);
    expect(methods.filter(([, before]) => !before?.endsWith("*/")).map(([, , name]) => name)).toEqual([]);
  });

  test("says of what takes a container by its id when it throws", () => {
    const names = exportsOf("index.ts").map(([file, name]) => declaration(file, name));
    const ofContainers = names.filter((one) => /function\*? (?:\w+Container|execProcess|container\w+)$/.test(one));
    expect(ofContainers.length).toBeGreaterThan(12);
    expect(ofContainers.filter((one) => !one.includes("@throws"))).toEqual([]);
  });
});
