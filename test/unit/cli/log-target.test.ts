import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { journalEntry, type LogLine, logTarget, syslogLine } from "../../../src/cli/log-target.ts";
import { closeQuiet } from "../../../src/sys/file.ts";
import { recvData, unixReceive } from "../../../src/sys/socket.ts";

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tsrun-log-"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const line = (message: string, level: LogLine["level"] = "error"): LogLine => ({
  level,
  message,
  time: new Date(2026, 0, 2, 3, 4, 5),
});
const text = (socket: number) => new TextDecoder().decode(recvData(socket, 65536));

describe("cli/log-target", () => {
  test("a path, with or without file:, is appended to in the format asked for", () => {
    const path = join(directory, "log");
    logTarget(path, "json").write([line("one")]);
    logTarget(`file:${path}`, "json").write([line("two"), line("three", "warning")]);
    const objects = readFileSync(path, "utf8").trim().split("\n");
    expect(objects.map((object) => JSON.parse(object).msg)).toEqual(["one", "two", "three"]);
    expect(logTarget(path, "text").isFile).toBe(true);
  });

  test("journald: is a message with its fields for each line, whatever the format", () => {
    const sockets = { journal: join(directory, "journal"), syslog: join(directory, "none") };
    const socket = unixReceive(sockets.journal);
    const target = logTarget("journald:web", "json", sockets);
    expect(target.isFile).toBe(false);
    target.write([]);
    target.write([line("bad\nline"), line("well", "debug")]);
    expect(text(socket)).toBe("MESSAGE=bad\\nline\nPRIORITY=3\nSYSLOG_IDENTIFIER=web\nID=web\n");
    expect(text(socket)).toBe("MESSAGE=well\nPRIORITY=7\nSYSLOG_IDENTIFIER=web\nID=web\n");
    closeQuiet(socket);
  });

  test("syslog: is a line with priority, local time, identifier and pid", () => {
    const sockets = { journal: join(directory, "none"), syslog: join(directory, "log") };
    const socket = unixReceive(sockets.syslog);
    logTarget("syslog:web", "text", sockets).write([line("bad", "warning")]);
    expect(text(socket)).toBe(`<12>Jan  2 03:04:05 web[${process.pid}]: bad`);
    closeQuiet(socket);
    expect(syslogLine("x", { level: "info", message: "m", time: new Date(2026, 11, 31, 23, 59, 58) }, 7)).toBe(
      "<14>Dec 31 23:59:58 x[7]: m",
    );
  });

  test("without an identifier it is tsrun, and none brings a field of its own", () => {
    const sockets = { journal: join(directory, "journal"), syslog: "" };
    const socket = unixReceive(sockets.journal);
    logTarget("journald:", "text", sockets).write([line("a")]);
    expect(text(socket)).toContain("SYSLOG_IDENTIFIER=tsrun\n");
    logTarget("journald:x\nPRIORITY=0", "text", sockets).write([line("a")]);
    expect(text(socket)).toContain("SYSLOG_IDENTIFIER=x\\nPRIORITY=0\n");
    closeQuiet(socket);
  });

  test("a message that no datagram could hold goes cut", () => {
    expect(journalEntry("x", line("y".repeat(1 << 20))).length).toBeLessThan(33_000);
    expect(syslogLine("x", line("y".repeat(1 << 20))).length).toBeLessThan(33_000);
  });

  test("who does not read keeps nobody waiting for more than a moment, however much there is to say", () => {
    const sockets = { journal: join(directory, "journal"), syslog: "" };
    const socket = unixReceive(sockets.journal);
    const target = logTarget("journald:x", "text", sockets);
    const began = performance.now();
    const refusals: string[] = [];
    // A queue is a few hundred messages long.
    for (let count = 0; refusals.length < 20 && count < 5000; count++) {
      try {
        target.write([line("a")]);
      } catch (error) {
        refusals.push((error as Error).message);
      }
    }
    expect(new Set(refusals)).toEqual(new Set([expect.stringContaining("EAGAIN")]));
    expect(performance.now() - began).toBeLessThan(8000);
    closeQuiet(socket);
  });

  test("who is not there is named, with what needs nobody", () => {
    const sockets = { journal: join(directory, "journal"), syslog: join(directory, "log") };
    const refusal = (where: string) => {
      try {
        logTarget(where, "text", sockets).write([]);
      } catch (error) {
        const { message, fix } = error as Error & { fix?: string };
        return [message, fix];
      }
      return undefined;
    };
    const missing = (path: string) => expect.stringMatching(new RegExp(`^write the log to ${path}: ENOENT`));
    const alternative = "--log file:PATH needs none";
    expect(refusal("journald:x")).toEqual([missing(sockets.journal), `is systemd-journald running? ${alternative}`]);
    expect(refusal("syslog:x")).toEqual([
      missing(sockets.syslog),
      `does a daemon of the system log run? ${alternative}`,
    ]);
    closeQuiet(unixReceive(sockets.journal));
    expect(refusal("journald:x")?.[0]).toMatch(/ECONNREFUSED/);
  });
});
