import { describe, expect, test } from "vitest";
import type { Process } from "../../../src/spec/types.ts";
import { stepsOf } from "./helpers.ts";

const terminal = (more: Partial<Process> = {}) => ({
  options: { detach: true, consoleSocket: "/s" },
  spec: ({ process }: { process: Process }) => void Object.assign(process, { terminal: true, ...more }),
});

describe("plan/terminal", () => {
  test("the pty is of the container's devpts: made after its mounts, and before the change of root", () => {
    const lines = stepsOf(terminal());
    const at = (start: string) => lines.findIndex((line) => line.startsWith(start));
    expect(at("pty")).toBeGreaterThan(at("mknod"));
    expect(at("console")).toBeGreaterThan(at("pty"));
    expect(at("controlling-terminal")).toBeGreaterThan(at("setsid"));
    expect(at("controlling-terminal")).toBeLessThan(at("pivot_root"));
  });

  test("consoleSize is its first size: rows, then columns", () => {
    const lines = stepsOf(terminal({ consoleSize: { height: 24, width: 80 } }), "process.consoleSize");
    expect(lines).toEqual([expect.stringMatching(/^winsize \d+ 24 80$/)]);
  });

  test("it belongs to the user of the process", () => {
    expect(stepsOf(terminal({ user: { uid: 1000, gid: 1000 } }))).toContain("fchown 0 1000:-1");
  });

  test("without process.terminal there is none", () => {
    expect(stepsOf({}).filter((line) => /pty|console|controlling/.test(line))).toEqual([]);
  });
});
