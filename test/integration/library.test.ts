/** The library as its users have it: dist/index.js and its types, in Node and in Bun. */
import { spawnSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { findBun } from "../../scripts/tools.mjs";
import { type Bundle, makeBundle } from "../helpers/bundle.ts";
import { needs } from "../helpers/needs.ts";
import { expectNothingLeft, inventory, newId, ROOT } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const TSC = join(ROOT, "node_modules/typescript/bin/tsc");

/** A program that depends on tsrun: a directory with `node_modules/tsrun`, as npm would make it. */
function consumer(file: string, text: string): string {
  const dir = scratch("consumer");
  mkdirSync(join(dir, "node_modules/@types"), { recursive: true });
  symlinkSync(ROOT, join(dir, "node_modules/tsrun"));
  symlinkSync(join(ROOT, "node_modules/@types/node"), join(dir, "node_modules/@types/node"));
  writeFileSync(join(dir, "package.json"), '{ "type": "module" }');
  writeFileSync(join(dir, file), text);
  return dir;
}

const PROGRAM = `
import { containerState, createContainer, deleteContainer, planContainer, runContainer } from "tsrun";
const [bundle, id] = process.argv.slice(2);
const plan = planContainer({ bundle, id });
console.log("steps", plan.steps.length);
const result = await runContainer({ bundle, id });
console.log("run", result.exitCode);
createContainer({ bundle, id: id + "x" });
console.log("state", containerState(undefined, id + "x").status);
deleteContainer(undefined, id + "x", { force: true });
try {
  planContainer({ bundle: bundle + "/no", id });
} catch (error) {
  console.log("refused", error.constructor.name);
}
`;

const EVENTS = `
import { containerEvents, containerMetrics, killContainer, pauseContainer, resumeContainer, runContainer } from "tsrun";
const [bundle, id] = process.argv.slice(2);
const ended = runContainer({ bundle, id });
let ticks = 0;
const timer = setInterval(() => ticks++, 1);
let paused = false;
const types = ["stats", "freeze", "exit"];
for await (const event of containerEvents(undefined, id, { types, intervalMs: 200 })) {
  if (event.type === "stats" && !paused) {
    console.log("stats", ticks > 5 && containerMetrics(undefined, id).includes("running"));
    paused = true;
    pauseContainer(undefined, id);
  }
  if (event.type === "freeze") {
    console.log("frozen", event.data.frozen);
    if (event.data.frozen) resumeContainer(undefined, id);
    else killContainer(undefined, id, 15);
  }
  if (event.type === "exit") console.log("exit", event.data.exitCode);
}
clearInterval(timer);
await ended;
const abort = new AbortController();
setTimeout(() => abort.abort(), 50);
for await (const event of containerEvents(undefined, undefined, { types, signal: abort.signal })) console.log(event);
console.log("aborted");
try {
  for await (const event of containerEvents(undefined, id, { types })) console.log(event);
} catch (error) {
  console.log(error.constructor.name.replace("MissingError", "StateError"));
}
`;

const LONG_LIVED = `
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import {
  containerState, createContainer, deleteContainer, execProcess, killContainer, MissingError, runContainer, startContainer,
} from "tsrun";
const [bundle, id] = process.argv.slice(2);
const gone = async (pid) => {
  for (let i = 0; i < 1000 && existsSync("/proc/" + pid); i++) await sleep(5);
  return !existsSync("/proc/" + pid);
};
const { pid } = createContainer({ bundle, id });
startContainer(undefined, id);
const { pid: left } = await execProcess({ id, args: ["true"], detach: true });
console.log("exec -d", await gone(left));
await execProcess({ id, args: ["sleep", "1000"], detach: true });
killContainer(undefined, id, "SIGKILL");
for (let i = 0; i < 1000 && containerState(undefined, id).status !== "stopped"; i++) await sleep(5);
console.log("killed", containerState(undefined, id).status, containerState(undefined, id).exit.exitCode);
deleteContainer(undefined, id);
console.log("deleted", existsSync("/proc/" + pid));
const { pid: second } = await runContainer({ bundle, id, detach: true });
const awaited = execProcess({ id, args: ["sleep", "1000"] });
const begin = Date.now();
deleteContainer(undefined, id, { force: true });
console.log("deleted by force", Date.now() - begin < 5000, existsSync("/proc/" + second));
console.log("exec", (await awaited).exitCode);
try {
  killContainer(undefined, id, "SIGKILL");
} catch (error) {
  console.log(error instanceof MissingError);
}
`;

function runProgram(engine: string, bundle: Bundle): { code: number | null; stdout: string; stderr: string } {
  const dir = consumer("program.mjs", PROGRAM);
  const result = spawnSync(engine, ["program.mjs", bundle.path, newId("lib")], { cwd: dir, encoding: "utf8" });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

describe("the library", () => {
  const root = needs({ root: true, tsrun: true });

  root("Node and Bun run the same bundle with the same outcome", () => {
    const before = inventory();
    const bundle = makeBundle({ args: ["sh", "-c", "echo hello from $(hostname); exit 5"] });
    const node = runProgram(process.execPath, bundle);
    const bun = runProgram(findBun(), bundle);
    expect(node).toMatchObject({ code: 0, stderr: "" });
    expect(node.stdout).toMatch(/^steps \d+\nhello from runc\nrun 5\nstate created\nrefused SpecError\n$/);
    expect(bun).toEqual(node);
    expectNothingLeft(before);
  });

  root("events are told while the program goes on, in Node and in Bun", () => {
    const bundle = makeBundle({ args: ["sh", "-c", "trap 'exit 6' TERM; echo ready; while :; do sleep 0.1; done"] });
    for (const engine of [process.execPath, findBun()]) {
      const before = inventory();
      const dir = consumer("program.mjs", EVENTS);
      const result = spawnSync(engine, ["program.mjs", bundle.path, newId("lib")], {
        cwd: dir,
        encoding: "utf8",
        timeout: 60_000,
      });
      expect(result.stderr).toBe("");
      expect(result.stdout.split("\n")).toEqual([
        "ready",
        "stats true",
        "frozen true",
        "frozen false",
        "exit 6",
        "aborted",
        "StateError",
        "",
      ]);
      expectNothingLeft(before);
    }
  });

  root("a program that goes on waits for what it has put into containers, so that they can end", () => {
    for (const engine of [process.execPath, findBun()]) {
      const before = inventory();
      const dir = consumer("program.mjs", LONG_LIVED);
      const args = ["program.mjs", makeBundle({ args: ["sleep", "1000"] }).path, newId("lib")];
      const result = spawnSync(engine, args, { cwd: dir, encoding: "utf8", timeout: 60_000 });
      expect(result.stderr).toBe("");
      expect(result.stdout.split("\n")).toEqual([
        "exec -d true",
        "killed stopped 137",
        "deleted false",
        "deleted by force true false",
        "exec 137",
        "true",
        "",
      ]);
      expectNothingLeft(before);
    }
  });

  needs({ files: [TSC], tsrun: true })(
    "its types are found by a TypeScript program, and say what a function takes",
    () => {
      const dir = consumer(
        "program.ts",
        `import { containerEvents, createContainer, planContainer, runContainer, SpecError, type Spec } from "tsrun";
         const spec: Spec = { ociVersion: "1.2.0" };
         export const steps: number = planContainer({ bundle: "." }).steps.length;
         export const code: Promise<number | undefined> = runContainer({ bundle: "." }).then((r) => r.exitCode);
         export async function follow() {
           for await (const event of containerEvents(undefined, "web", { types: ["exit", "pressure"] })) {
             if (event.type === "exit") return event.data.oomKilled;
             if (event.type === "pressure") console.log(event.data.resource, event.data.some?.avg10);
           }
         }
         export const all = [createContainer, SpecError, spec.ociVersion];
         // @ts-expect-error a bundle is a path
         planContainer({ bundle: 3 });
        `,
      );
      for (const resolution of ["nodenext", "bundler"]) {
        const module = resolution === "bundler" ? "esnext" : "nodenext";
        const flags = ["--noEmit", "--strict", "--target", "es2023", "--skipLibCheck", "--types", "node"];
        const result = spawnSync(
          process.execPath,
          [TSC, ...flags, "--module", module, "--moduleResolution", resolution, "program.ts"],
          { cwd: dir, encoding: "utf8" },
        );
        expect(`${result.stdout}${result.stderr}`).toBe("");
      }
    },
    120_000,
  );
});
