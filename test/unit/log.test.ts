import { afterEach, describe, expect, test } from "vitest";
import { debug, escapeControl, flushLog, formatLine, isDebugging, logTime, setLogSink, warn } from "../../src/log.ts";

afterEach(() => setLogSink(undefined));

describe("log", () => {
  test("a JSON line has exactly the three keys that containerd and podman read", () => {
    expect(formatLine("json", "error", 'mount "x"', "2026-01-02T03:04:05Z")).toBe(
      '{"level":"error","msg":"mount \\"x\\"","time":"2026-01-02T03:04:05Z"}',
    );
  });

  test("a text line is logrus text: quoted where a blank or a quote would confuse", () => {
    const time = "2026-01-02T03:04:05Z";
    expect(formatLine("text", "error", 'no "x" here', time)).toBe(
      'time="2026-01-02T03:04:05Z" level=error msg="no \\"x\\" here"',
    );
    expect(formatLine("text", "debug", "plain", time)).toBe('time="2026-01-02T03:04:05Z" level=debug msg=plain');
    expect(formatLine("text", "debug", "", time)).toBe('time="2026-01-02T03:04:05Z" level=debug msg=""');
  });

  test("the time is RFC 3339 in UTC, to the second", () => {
    expect(logTime(new Date(1_767_323_045_678))).toBe("2026-01-02T03:04:05Z");
  });

  test("a name from a container can neither start a new line nor drive a terminal", () => {
    expect(escapeControl("a\nb\r\tc")).toBe("a\\nb\\r\\tc");
    expect(escapeControl("\u001b[2J\u0007\u007f\u009b")).toBe("\\x1b[2J\\x07\\x7f\\x9b");
    expect(escapeControl("\u2028\u202e\u2066")).toBe("\\u2028\\u202e\\u2066");
    expect(escapeControl("naïve ✓ 日本")).toBe("naïve ✓ 日本");
    expect(formatLine("json", "error", "a\nb", "t").split("\n")).toHaveLength(1);
  });

  test("library code that logs is silent until somebody listens", () => {
    const lines: string[] = [];
    warn("nobody");
    debug("nobody");
    flushLog();
    setLogSink({ write: (level, message) => lines.push(`${level} ${message}`), flush: () => lines.push("flush") });
    expect(isDebugging()).toBe(false);
    debug("not asked for");
    warn("heard");
    flushLog();
    expect(lines).toEqual(["warning heard", "flush"]);
    setLogSink({ write: (level, message) => lines.push(`${level} ${message}`), flush: () => {} }, true);
    debug("asked for");
    expect(lines.at(-1)).toBe("debug asked for");
  });
});
