import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { SpecError, SyscallError, TsrunError } from "../../../src/errors.ts";
import { flushLog, setLogSink, warn } from "../../../src/log.ts";

const stderr: string[] = [];
vi.mock("../../../src/cli/output.ts", () => ({ writeError: (text: string) => stderr.push(text), writeOut: () => {} }));
const { describeError, humanError, printError, setUpLog } = await import("../../../src/cli/report.ts");
const { UsageError } = await import("../../../src/cli/parse.ts");

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tsrun-report-"));
  stderr.length = 0;
});
afterEach(() => {
  setLogSink(undefined);
  rmSync(directory, { recursive: true });
});

const failedMount = () =>
  new TsrunError("create web", {
    cause: new SyscallError("mount", "EINVAL", {
      path: "/run/tsrun/web/rootfs",
      fix: "put upperdir and workdir on one filesystem",
    }),
  });

describe("cli/report", () => {
  test("an error is its chain of causes on one line and the fix on the next", () => {
    expect(humanError(describeError(failedMount()))).toBe(
      "tsrun: create web: mount /run/tsrun/web/rootfs: EINVAL (Invalid argument)\n" +
        "  fix: put upperdir and workdir on one filesystem\n",
    );
  });

  test("in a log all of it is one line", () => {
    expect(describeError(failedMount()).line).toBe(
      "create web: mount /run/tsrun/web/rootfs: EINVAL (Invalid argument) (fix: put upperdir and workdir on one filesystem)",
    );
  });

  test("a level that quotes its cause does not say it twice", () => {
    const cause = new Error("inner");
    expect(describeError(new TsrunError("outer: internal error: inner; please report it", { cause })).headline).toBe(
      "outer: internal error: inner; please report it",
    );
  });

  test("all problems of a config are shown, one a line, and one line in the log", () => {
    const error = new TsrunError("create web", {
      cause: new SpecError([
        { path: "process.args", message: "must not be empty" },
        { path: "", message: "is not an object" },
      ]),
    });
    expect(humanError(describeError(error))).toBe(
      "tsrun: create web: config.json has 2 problems\n  process.args: must not be empty\n  is not an object\n",
    );
    expect(describeError(error).line).toBe("create web: process.args: must not be empty; is not an object");
  });

  test("what has the problems is named: it is not always config.json", () => {
    const problems = ["a", "b"].map((path) => ({ path, message: "is missing" }));
    expect(describeError(new SpecError(problems, { of: "/tmp/p.json" })).headline).toBe("/tmp/p.json has 2 problems");
  });

  test("what was being done comes first, unless the message names the container itself", () => {
    const context = { verb: "kill", subject: "web" };
    expect(describeError(new TsrunError("container not running"), context)).toMatchObject({
      headline: "kill web: container not running",
      line: "kill web: container not running",
    });
    expect(describeError(new TsrunError("container web does not exist"), context).headline).toBe(
      "container web does not exist",
    );
  });

  test("a single problem stays on the first line", () => {
    const error = new SpecError([{ path: "root", message: "is missing" }]);
    expect(humanError(describeError(error))).toBe("tsrun: root: is missing\n");
  });

  test("control characters of a container's names do not reach the terminal", () => {
    const error = new TsrunError("mask /proc/\u001b[2J\nlevel=error", { fix: "not\u0007this" });
    expect(humanError(describeError(error))).toBe("tsrun: mask /proc/\\x1b[2J\\nlevel=error\n  fix: not\\x07this\n");
  });

  test("an error of node:fs reads like our own", () => {
    try {
      readFileSync("/nonexistent/x");
      expect.unreachable();
    } catch (error) {
      expect(describeError(error).headline).toMatch(/^open \/nonexistent\/x: ENOENT \(.+\)$/);
    }
  });

  test("a bug is called an internal error, without a stack or source", () => {
    const text = humanError(describeError(new TypeError("undefined is not a function")));
    expect(text).toBe("tsrun: internal error: undefined is not a function; please report it\n");
    expect(humanError(describeError("thrown text"))).toContain("internal error: thrown text");
    expect(humanError(describeError(undefined)).trim()).not.toBe("tsrun:");
  });

  test("causes that go in a circle end", () => {
    const error = new TsrunError("a");
    (error as { cause?: unknown }).cause = error;
    expect(describeError(error).headline).toBe("a");
  });

  test("a typing error is answered with what was perhaps meant", () => {
    const error = new UsageError("unknown command", { suggest: { word: "strat", among: ["start", "state"] } });
    expect(describeError(error).fixes).toEqual(["did you mean start?"]);
  });

  test("a failure leaves exactly one JSON object in the log, warnings or not", () => {
    const log = join(directory, "log.json");
    setUpLog({ log, "log-format": "json" });
    warn("something minor");
    printError(failedMount());
    const object = JSON.parse(readFileSync(log, "utf8"));
    expect(Object.keys(object)).toEqual(["level", "msg", "time"]);
    expect(object.level).toBe("error");
    expect(object.msg).toContain("create web: mount");
    expect(stderr.join("")).toContain("tsrun: create web: mount");
  });

  test("warnings reach the log when the operation has succeeded", () => {
    const log = join(directory, "log");
    setUpLog({ log });
    warn("something minor");
    expect(readFileSync(log, "utf8")).toBe("");
    flushLog();
    flushLog();
    expect(readFileSync(log, "utf8")).toMatch(/^time="[^"]+" level=warning msg="something minor"\n$/);
    expect(stderr).toEqual([]);
  });

  test("the log is appended to", () => {
    const log = join(directory, "log");
    setUpLog({ log });
    printError(new TsrunError("one"));
    setUpLog({ log });
    printError(new TsrunError("two"));
    expect(readFileSync(log, "utf8").trim().split("\n")).toHaveLength(2);
  });

  test("without a file JSON goes to standard error and nothing else does", () => {
    setUpLog({ "log-format": "json" });
    printError(new TsrunError("x"));
    expect(JSON.parse(stderr.join(""))).toMatchObject({ level: "error", msg: "x" });
  });

  test("a log that cannot be opened is an error at once", () => {
    expect(() => setUpLog({ log: join(directory, "missing/log") })).toThrow(/write the log .*missing\/log: ENOENT/);
  });
});
