/**
 * Nothing outside is executed because of where the command was started. A program that Bun compiled would, unless
 * told otherwise, run what a bunfig.toml of the current directory names, and take its .env for its environment.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, PROGRAMS, RUNTIME } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

let hostile: string;
let evidence: string;

beforeAll(() => {
  hostile = scratch("hostile");
  evidence = join(hostile, "executed");
  const evil = `require("node:fs").writeFileSync(${JSON.stringify(evidence)}, process.argv.join(" "));\n`;
  const write = (path: string, text: string): void => {
    mkdirSync(join(hostile, path, ".."), { recursive: true });
    writeFileSync(join(hostile, path), text);
  };
  write("evil.cjs", evil);
  write("bunfig.toml", 'preload = ["./evil.cjs"]\n[run]\npreload = ["./evil.cjs"]\n[test]\npreload = ["./evil.cjs"]\n');
  write(".bunfig.toml", 'preload = ["./evil.cjs"]\n');
  const env = `PATH=${hostile}/bin\nBUN_OPTIONS=--preload=./evil.cjs\nNODE_OPTIONS=--require=./evil.cjs\nXDG_RUNTIME_DIR=${hostile}\n`;
  for (const name of [".env", ".env.local", ".env.production", ".env.development"]) write(name, env);
  write("package.json", '{"name":"tsrun","type":"module","imports":{"#x":"./evil.cjs"},"main":"./evil.cjs"}\n');
  write("tsconfig.json", '{"compilerOptions":{"paths":{"commander":["./evil.cjs"],"execa":["./evil.cjs"]}}}\n');
  for (const name of ["commander", "execa", "koffi", "bun"]) {
    write(`node_modules/${name}/package.json`, `{"name":"${name}","main":"index.cjs"}\n`);
    write(`node_modules/${name}/index.cjs`, evil);
  }
  write("bin/ps", `#!/bin/sh\necho "$0" > ${evidence}\n`);
  chmodSync(join(hostile, "bin/ps"), 0o755);
});

/** Runs from the hostile directory with nothing in the environment but what is given. */
function runThere(program: string, args: string[]): { status: number | null; stdout: string } {
  return spawnSync(program, args, { cwd: hostile, env: {}, encoding: "utf8", timeout: 60_000 });
}

describe("a hostile current directory", () => {
  const tsrun = needs({ tsrun: true });

  tsrun("bunfig.toml, .env, package.json, tsconfig.json and node_modules have no say", () => {
    for (const program of PROGRAMS) {
      for (const args of [
        ["--version"],
        ["--help"],
        ["run", "--help"],
        ["list"],
        ["state", "nothing"],
        ["spec", "-f", "out.json"],
      ]) {
        const elsewhere = spawnSync(program, args[0] === "spec" ? ["spec", "-f", join(scratch(), "out.json")] : args, {
          cwd: "/",
          env: {},
          encoding: "utf8",
        });
        rmSync(join(hostile, "out.json"), { force: true });
        const there = runThere(program, args);
        expect({ program, args, code: there.status, stdout: there.stdout }).toEqual({
          program,
          args,
          code: elsewhere.status,
          stdout: elsewhere.stdout,
        });
        expect(existsSync(evidence), `${program} ${args.join(" ")}`).toBe(false);
      }
    }
  });

  needs({ root: true, tsrun: true, commands: ["ps"] })("ps is not looked for where .env says", () => {
    const id = newId();
    const bundle = makeBundle({ args: ["sleep", "1000"] });
    // Without pipes: the container would keep them open.
    spawnSync(RUNTIME, ["run", "-d", "-b", bundle.path, id], { stdio: "ignore" });
    for (const program of PROGRAMS) {
      const { status, stdout } = runThere(program, ["ps", id]);
      expect(existsSync(evidence), program).toBe(false);
      expect(status).toBe(0);
      expect(stdout).toContain("sleep 1000");
    }
  });
});
