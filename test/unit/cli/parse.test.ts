import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defineVerb, type Flag } from "../../../src/cli/flags.ts";
import { parseFlags, parseVerb, UsageError } from "../../../src/cli/parse.ts";

const flags = [
  { name: "bundle", short: "b", kind: "string", help: "" },
  { name: "detach", short: "d", kind: "bool", help: "" },
  { name: "tty", short: "t", kind: "bool", help: "" },
  { name: "preserve-fds", kind: "number", help: "" },
  { name: "env", short: "e", kind: "list", help: "" },
  { name: "format", short: "f", kind: "string", values: ["table", "json"], help: "" },
  { name: "apparmor", kind: "string", help: "", refused: "is not supported in this release" },
] as const satisfies readonly Flag[];

function parse(...argv: string[]) {
  const { values, args } = parseFlags(flags, argv, 0, Number.POSITIVE_INFINITY);
  return { values, args };
}

const verb = (stopAtId: boolean) =>
  defineVerb({ name: "exec", summary: "", usage: "<container-id>", flags, min: 1, max: 9, stopAtId, run: () => 0 });

describe("cli/parse", () => {
  test("a value may follow its flag or an equals sign, after one dash or two", () => {
    for (const words of [
      ["--bundle", "/b"],
      ["--bundle=/b"],
      ["-bundle", "/b"],
      ["-bundle=/b"],
      ["-b", "/b"],
      ["-b=/b"],
    ]) {
      expect(parse(...words, "id"), words.join(" ")).toEqual({ values: { bundle: "/b" }, args: ["id"] });
    }
  });

  test("flags may follow the arguments", () => {
    expect(parse("id", "--detach", "-b", "/b")).toEqual({ values: { detach: true, bundle: "/b" }, args: ["id"] });
  });

  test("a switch takes a value only after an equals sign, in the spellings of Go", () => {
    expect(parse("--detach", "false")).toEqual({ values: { detach: true }, args: ["false"] });
    expect(parse("--detach=false").values).toEqual({ detach: false });
    expect(parse("-d=T").values).toEqual({ detach: true });
    expect(() => parse("--detach=maybe")).toThrow('invalid boolean value "maybe" for flag --detach');
  });

  test("one-letter switches may be written together, and only they", () => {
    expect(parse("-dt").values).toEqual({ detach: true, tty: true });
    expect(() => parse("-db")).toThrow("flag provided but not defined: -db");
    expect(() => parse("--dt")).toThrow("flag provided but not defined: -dt");
  });

  test("after -- everything is an argument", () => {
    expect(parse("-d", "--", "-b", "--", "x")).toEqual({ values: { detach: true }, args: ["-b", "--", "x"] });
  });

  test("a dash alone, an empty word and a value that looks like a flag are taken as they are", () => {
    expect(parse("-", "").args).toEqual(["-", ""]);
    expect(parse("-b", "--detach").values).toEqual({ bundle: "--detach" });
    expect(parse("--bundle=").values).toEqual({ bundle: "" });
    expect(parse("--env=A=b=c").values).toEqual({ env: ["A=b=c"] });
  });

  test("a list keeps every value in order, commas included; of others the last one counts", () => {
    expect(parse("-e", "A=1,2", "--env", "B=3").values).toEqual({ env: ["A=1,2", "B=3"] });
    expect(parse("-b", "x", "-b", "y").values).toEqual({ bundle: "y" });
  });

  test("numbers are whole and not negative", () => {
    for (const text of ["3", "+3", "03", "0x3"]) {
      expect(parse("--preserve-fds", text).values, text).toEqual({ "preserve-fds": 3 });
    }
    for (const bad of ["-1", "1.5", "0x", "three", "", " 1", "1e3", "99999999999999999999"]) {
      expect(() => parse("--preserve-fds", bad), bad).toThrow(/invalid value ".*" for flag --preserve-fds/);
    }
  });

  test("a value outside the allowed ones is refused", () => {
    expect(parse("-f", "json").values).toEqual({ format: "json" });
    expect(() => parse("-f", "jsn")).toThrow('invalid value "jsn" for flag --format: use table or json');
  });

  test("an unknown flag is named in runc's words, and remembers what it could have been", () => {
    try {
      parse("--bundel=x");
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(UsageError);
      expect((error as UsageError).message).toBe("flag provided but not defined: -bundel");
      expect((error as UsageError).suggest?.word).toBe("--bundel");
    }
  });

  // podman looks for these words in the output of `restore --lsm-mount-context`.
  test("a flag without its value says: flag needs an argument", () => {
    expect(() => parse("id", "--bundle")).toThrow("flag needs an argument: --bundle");
  });

  test("names of Object.prototype are unknown flags like others", () => {
    for (const name of ["--constructor", "--__proto__", "--toString"]) {
      expect(() => parse(name)).toThrow("flag provided but not defined");
    }
  });

  test("what was read before an error is kept for the caller", () => {
    const values = {};
    expect(() => parseFlags(flags, ["-b", "x", "--nope"], 0, 0, values)).toThrow();
    expect(values).toEqual({ bundle: "x" });
  });

  test("with no arguments to take, it stops at the first one", () => {
    expect(parseFlags(flags, ["-d", "run", "-t"], 0, 0)).toEqual({
      values: { detach: true },
      args: [],
      next: 1,
      help: false,
    });
  });

  test("a verb that stops at the id leaves later flags to the command", () => {
    const parsed = parseVerb(verb(true), ["exec", "-d", "id", "ls", "-t", "--help"], 1);
    expect(parsed.values).toEqual({ detach: true });
    expect(parsed.args).toEqual(["id", "ls", "-t", "--help"]);
    expect(parsed.help).toBe(false);
  });

  test("a double dash between id and command is not the command, later ones are the command's", () => {
    expect(parseVerb(verb(true), ["id", "--", "sh", "--", "x"], 0).args).toEqual(["id", "sh", "--", "x"]);
    expect(parseVerb(verb(true), ["--", "id", "sh"], 0).args).toEqual(["id", "sh"]);
  });

  test("the number of arguments is checked in runc's words", () => {
    expect(() => parseVerb({ ...verb(false), max: 1 }, [], 0)).toThrow('"exec" requires exactly 1 argument(s)');
    expect(() => parseVerb(verb(false), [], 0)).toThrow('"exec" requires a minimum of 1 argument(s)');
    expect(() => parseVerb({ ...verb(false), max: 2 }, ["a", "b", "c"], 0)).toThrow('"exec" requires a maximum of 2');
  });

  test("a flag for a later release is refused by name, unless it asks for nothing", () => {
    expect(() => parseVerb(verb(false), ["id", "--apparmor", "p"], 0)).toThrow(
      "flag --apparmor is not supported in this release",
    );
    expect(parseVerb(verb(false), ["id", "--apparmor", ""], 0).args).toEqual(["id"]);
  });
});

describe("cli/parse: any words", () => {
  const word = fc.oneof(
    fc.constantFrom(
      "--",
      "-",
      "--bundle",
      "-b",
      "--env=",
      "-e",
      "-dt",
      "--preserve-fds",
      "--format=json",
      "--help",
      "=",
    ),
    fc.string(),
    fc.string().map((text) => `--${text}`),
    fc.string().map((text) => `-${text}`),
  );

  test("either parse or are refused as a wrong command line", () => {
    fc.assert(
      fc.property(fc.array(word), fc.nat(3), (argv, maxArgs) => {
        try {
          const { values, args, next } = parseFlags(flags, argv, 0, maxArgs);
          expect(args.length).toBeLessThanOrEqual(maxArgs);
          expect(next).toBeLessThanOrEqual(argv.length);
          for (const name of Object.keys(values)) expect(flags.some((flag) => flag.name === name)).toBe(true);
        } catch (error) {
          expect(error).toBeInstanceOf(UsageError);
        }
      }),
    );
  });
});
