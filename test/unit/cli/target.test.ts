import { resolve } from "node:path";
import { describe, expect, test } from "vitest";
import { bundleAndId } from "../../../src/cli/target.ts";

const here = process.cwd();

/** `files` are the paths that exist. */
function target(words: { bundle?: string; id?: string; config?: string; argument?: string }, files: string[] = []) {
  return bundleAndId({ bundle: words.bundle, id: words.id, config: words.config, argument: words.argument }, (path) =>
    files.includes(path),
  );
}

describe("cli/target", () => {
  test("with -b the argument is the id, whatever lies in the directory", () => {
    expect(target({ bundle: "/b", argument: "web" }, ["web/config.json"])).toEqual({ bundle: "/b", id: "web" });
  });

  test("an argument with a slash is a bundle, and the id is made up", () => {
    expect(target({ argument: "/b" })).toEqual({ bundle: "/b", id: undefined });
    expect(target({ argument: "./b/" })).toEqual({ bundle: resolve("b"), id: undefined });
  });

  test("a word that names a directory with a config.json is a bundle", () => {
    expect(target({ argument: "web" }, ["web/config.json"])).toEqual({ bundle: resolve("web"), id: undefined });
  });

  test("any other word is an id, and the current directory the bundle, as in runc", () => {
    expect(target({ argument: "web" })).toEqual({ bundle: here, id: "web" });
  });

  test("dot and dot-dot are directories, never ids", () => {
    expect(target({ argument: "." })).toEqual({ bundle: here, id: undefined });
    expect(target({ argument: ".." })).toEqual({ bundle: resolve(".."), id: undefined });
  });

  test("--config decides which file makes a directory a bundle", () => {
    expect(target({ argument: "web", config: "other.json" }, ["web/other.json"]).bundle).toBe(resolve("web"));
    expect(target({ argument: "web", config: "other.json" }, ["web/config.json"]).id).toBe("web");
    expect(target({ argument: "web", config: "/etc/c.json" }, ["web/."]).bundle).toBe(resolve("web"));
  });

  test("--id names the container of a bundle, and of -b without an argument", () => {
    expect(target({ argument: "/b", id: "web" })).toEqual({ bundle: "/b", id: "web" });
    expect(target({ bundle: "/b", id: "web" })).toEqual({ bundle: "/b", id: "web" });
    expect(target({ id: "web" })).toEqual({ bundle: here, id: "web" });
  });

  test("two ids are one too many", () => {
    expect(() => target({ bundle: "/b", argument: "web", id: "db" })).toThrow("two ids given: web and --id db");
  });

  test("an empty id stays empty, so that it is refused and not made up", () => {
    expect(target({ bundle: "/b", argument: "" })).toEqual({ bundle: "/b", id: "" });
  });
});
