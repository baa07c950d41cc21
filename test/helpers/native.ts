/**
 * Runs the native init with a plan written by hand, as native/decode.c describes it: independent of the
 * planner and of src/init, so that a mistake on one side shows.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { errnoName } from "../../src/errno.ts";
import { MESSAGE, OPS, type OpName } from "../../src/plan/step.ts";
import { closeQuiet, memfdCreate, write } from "../../src/sys/file.ts";
import { waitid } from "../../src/sys/process.ts";
import { recvMessage, sendMsg, socketpair } from "../../src/sys/socket.ts";
import { posixSpawn } from "../../src/sys/spawn.ts";

type Arg = number | bigint | string | readonly string[] | Uint8Array;
export type HandStep = readonly [op: OpName, ...args: Arg[]];

/** Where the plan and the socket are in the init: out of the way of the numbers that tests use. */
const SYNC_FD = 90;
const PLAN_FD = 91;

export interface InitRun {
  /** FAIL message as "step ERRNO", or undefined. */
  failure: string | undefined;
  /** Kinds of all messages (MESSAGE of src/plan/step.ts), in order. */
  messages: number[];
  /** Tags of the AWAIT messages, in order. */
  awaited: number[];
  /** The container's process, when a clone step made one. */
  pid: number | undefined;
  /** Descriptors that came with FD messages. */
  fds: number[];
  /** Exit code of the process that went furthest, 128 + signal when a signal ended it. */
  exitCode: number;
}

export interface InitOptions {
  /** Descriptors it inherits beside 0 to 2. */
  fds?: readonly { from: number; to: number }[];
  /** What to do at an AWAIT; false closes the socket instead of answering, a number is a descriptor that goes along. */
  onAwait?: (tag: number, pid: number) => unknown;
}

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BUILT = join(ROOT, "build/tsrun-init");

let binary: string | undefined;

/** The init: what the build made, or compiled here when its sources are newer. */
export function initBinary(): string {
  binary ??= isCurrent() ? BUILT : compileInit();
  return binary;
}

function isCurrent(): boolean {
  if (!existsSync(BUILT)) return false;
  const sources = [...readdirSync(join(ROOT, "native")).map((name) => `native/${name}`), "scripts/build-native.mjs"];
  const built = statSync(BUILT).mtimeMs;
  return sources.every((name) => statSync(join(ROOT, name)).mtimeMs <= built);
}

function compileInit(): string {
  const dir = mkdtempSync(join(tmpdir(), "tsrun-native-"));
  process.on("exit", () => rmSync(dir, { recursive: true, force: true }));
  const env = { ...process.env, TSRUN_INIT_OUT: dir };
  execFileSync(process.execPath, [join(ROOT, "scripts/build-native.mjs")], { env, stdio: "pipe" });
  return join(dir, "tsrun-init");
}

/** A plan as bytes. */
export function wire(steps: readonly HandStep[]): Uint8Array {
  const parts: Uint8Array[] = [Buffer.from("tsrun1\0")];
  const names = Object.keys(OPS);
  for (const [op, ...args] of steps) {
    parts.push(Buffer.from(`${names.indexOf(op)}\0`));
    for (const arg of args) {
      if (arg instanceof Uint8Array) parts.push(Buffer.from(`${arg.length}\0`), arg);
      else if (typeof arg === "object") parts.push(Buffer.from([arg.length, ...arg].map((s) => `${s}\0`).join("")));
      else parts.push(Buffer.from(`${arg}\0`));
    }
  }
  return Buffer.concat(parts);
}

/** Every op once, with arguments of its kinds. */
export function everyOp(): HandStep[] {
  const values = { n: 12, u: 3n, s: "/some/path", l: ["one", "", "three"], b: new Uint8Array([0, 1, 2, 255]) };
  return (Object.keys(OPS) as OpName[]).map((op) => [
    op,
    ...[...OPS[op]].map((kind) => values[kind as keyof typeof values]),
  ]);
}

/** Of gcc and clang. */
export const SANITIZE = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"];

export function hasSanitizers(): boolean {
  const input = "int main(void){return 0;}";
  return spawnSync("gcc", [...SANITIZE, "-x", "c", "-", "-o", "/dev/null"], { input }).status === 0;
}

/** Carries out the steps and waits for the end of the process, and of the program it became. */
export function runInit(plan: readonly HandStep[] | Uint8Array, options: InitOptions = {}): InitRun {
  const [ours, theirs] = socketpair();
  const planFd = memfdCreate("test-plan");
  write(planFd, plan instanceof Uint8Array ? plan : wire(plan));
  const first = posixSpawn({
    path: initBinary(),
    argv: ["tsrun-init", String(SYNC_FD), String(PLAN_FD)],
    envp: [],
    fds: [{ from: theirs, to: SYNC_FD }, { from: planFd, to: PLAN_FD }, ...(options.fds ?? [])],
  });
  closeQuiet(theirs);
  closeQuiet(planFd);
  const run: InitRun = { failure: undefined, messages: [], awaited: [], pid: undefined, fds: [], exitCode: -1 };
  for (;;) {
    const { data, fds } = recvMessage(ours, 16);
    if (data.length < 16) break;
    const [type = 0, step = 0, value = 0] = new Int32Array(Uint8Array.from(data).buffer);
    run.messages.push(type);
    run.fds.push(...fds);
    if (type === MESSAGE.PID) run.pid = value;
    if (type === MESSAGE.FAIL) run.failure = `${step} ${errnoName(value)}`;
    if (type !== MESSAGE.AWAIT) continue;
    run.awaited.push(value);
    const answer = options.onAwait?.(value, run.pid ?? first);
    if (answer === false) break;
    sendMsg(ours, "+", typeof answer === "number" ? [answer] : []);
  }
  closeQuiet(ours);
  run.exitCode = waitid({ pid: first }).exitCode;
  if (run.pid !== undefined) run.exitCode = waitid({ pid: run.pid }).exitCode;
  return run;
}

/** Steps that end in this shell command, whose output goes to the file. */
export function shell(command: string, output: string, program = "/bin/sh"): HandStep[] {
  return [
    ["findExecutable", [program]],
    ["cloexecFrom", 3],
    ["exec", ["sh", "-c", `{ ${command}\n} > ${output} 2>&1`], ["PATH=/usr/bin:/bin", "A=1"]],
  ];
}

/** The lines of a file that a test's shell command wrote. */
export function lines(path: string): string[] {
  return readFileSync(path, "utf8").trimEnd().split("\n");
}
