/** The three ways the sources of sys/ are carried: Bun on the sources, Bun compiled to one file, an ESM bundle for Node. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BUN } from "../../helpers/both-engines.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

// Becomes another program, as `run` in the foreground does with the monitor.
const PROGRAM = `
import { execve } from "${ROOT}/src/sys/process.ts";
import { memfdCreate } from "${ROOT}/src/sys/file.ts";
memfdCreate("hidden");
setInterval(() => {}, 1000); // the engine is as alive as it can be
console.log("before " + process.pid);
execve("/bin/sh", ["sh", "-c", "echo after $$; ls -l /proc/$$/fd; grep Threads /proc/$$/status; exit 5"], ["PATH=/bin:/usr/bin"]);
`;

describe.skipIf(!existsSync(BUN))("sys as a bundle", () => {
  let directory: string;
  beforeAll(() => {
    directory = mkdtempSync(join(tmpdir(), "tsrun-test-sys-"));
    // The bundle for Node looks for koffi from where it lies.
    symlinkSync(join(ROOT, "node_modules"), join(directory, "node_modules"));
    writeFileSync(join(directory, "program.ts"), PROGRAM);
  });
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  /** The process that ran the program is the one that ran the shell, with its exit code and without its descriptors. */
  function becomesAnother(command: string, ...args: string[]): void {
    const { stdout, stderr, status, pid } = spawnSync(command, args, { encoding: "utf8", cwd: directory });
    expect(stderr).toBe("");
    expect(stdout).toContain(`before ${pid}\nafter ${pid}\n`);
    expect(stdout).toContain("Threads:\t1\n");
    expect(stdout).not.toContain("hidden");
    for (const fd of [0, 1, 2]) expect(stdout).toMatch(new RegExp(` ${fd} -> `));
    expect(status).toBe(5);
  }

  test("Bun on the sources becomes another program and keeps its pid", () => {
    becomesAnother(BUN, "program.ts");
  });

  test("compiled by Bun to one file it does so too, and carries no koffi", () => {
    execFileSync(BUN, ["build", "--minify", "--target=bun", "--outfile", "one.js", "program.ts"], {
      cwd: directory,
      stdio: "pipe",
    });
    const text = readFileSync(join(directory, "one.js"), "utf8");
    expect(text.length).toBeLessThan(60_000);
    const flags = [
      "--compile",
      "--bytecode",
      "--minify",
      "--no-compile-autoload-bunfig",
      "--no-compile-autoload-dotenv",
    ];
    execFileSync(BUN, ["build", ...flags, "program.ts", "--outfile", "one"], { cwd: directory, stdio: "pipe" });
    becomesAnother(join(directory, "one"));
  });

  test("as an ESM bundle under Node it does so too, with koffi outside", () => {
    const flags = ["--target=node", "--format=esm", "--external", "koffi", "--outfile", "program.mjs"];
    execFileSync(BUN, ["build", ...flags, "program.ts"], { cwd: directory, stdio: "pipe" });
    becomesAnother(process.execPath, "program.mjs");
  });
});
