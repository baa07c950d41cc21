/**
 * Drives the runtime under test as a caller does: as a program. `TSRUN` names another one, so that the
 * same tests can be run against runc or crun; a test that fails there tests a habit of ours.
 */
import { type ChildProcess, spawn as nodeSpawn, type SpawnOptions, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { scratchTop, TEST_PREFIX } from "./scratch.ts";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");

/** The program under test. */
export const RUNTIME = process.env.TSRUN ?? join(ROOT, "dist/tsrun");
export const isTsrun = basename(RUNTIME).startsWith("tsrun");
/** That, and the program of Bun beside it, which carries out its rare parts. */
export const PROGRAMS = [RUNTIME, `${RUNTIME}-bun`].filter((path) => path === RUNTIME || existsSync(path));

/** The program that the helpers run, and where it keeps what it knows of containers. */
export interface Caller {
  program: string;
  stateRoot: string;
}

const USUAL: Caller = { program: RUNTIME, stateRoot: "/run/tsrun" };
let caller = USUAL;

/** From here on containers are another caller's: one with flags or rights of its own. Without one, ours again. */
export function callAs(other: Caller = USUAL): void {
  caller = other;
}

export const program = () => caller.program;
/** Where the state of a container is. */
export const stateDirectory = (id: string) => join(caller.stateRoot, id);

export interface Result {
  /** Exit code, or -1 when a signal ended it. */
  code: number;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** Written to standard input; without it standard input is empty. */
  input?: string;
  env?: Record<string, string>;
  cwd?: string;
  timeoutMs?: number;
  /** Another program than the one under test, to compare with. */
  runtime?: string;
}

/** Everything takes ten to thirty times longer where the CPU is emulated. */
const SLOWNESS = process.env.TSRUN_VM === "1" ? 10 : 1;

/** Runs the runtime to its end. */
export function run(args: readonly string[], options: RunOptions = {}): Result {
  const result = spawnSync(options.runtime ?? caller.program, args, {
    input: options.input ?? "",
    encoding: "utf8",
    env: options.env === undefined ? process.env : { ...process.env, ...options.env },
    cwd: options.cwd,
    timeout: (options.timeoutMs ?? 20_000) * SLOWNESS,
    killSignal: "SIGKILL",
    maxBuffer: 1 << 27,
  });
  if (result.error !== undefined && result.status === null && result.signal === null) throw result.error;
  return { code: result.status ?? -1, signal: result.signal, stdout: result.stdout, stderr: result.stderr };
}

/** Runs the runtime and fails the test, showing what it said, unless it exits with 0. Returns its standard output. */
export function runOk(args: readonly string[], options: RunOptions = {}): string {
  const result = run(args, options);
  if (result.code !== 0) {
    throw new Error(
      `${basename(RUNTIME)} ${args.join(" ")}: ${result.signal ?? `exit code ${result.code}`}\n${result.stderr}`,
    );
  }
  return result.stdout;
}

/** Runs a bundle in the foreground under a new id. */
export function runBundle(bundle: { path: string }, flags: readonly string[] = [], options: RunOptions = {}): Result {
  return run(["run", "-b", bundle.path, ...flags, newId()], options);
}

export interface Started {
  child: ChildProcess;
  pid: number;
  stdout(): string;
  stderr(): string;
  /** Resolves when standard output holds the text; fails when the program ends first. */
  waitFor(text: string): Promise<void>;
  /** Resolves when the program has ended and its output is complete. */
  exit: Promise<Result>;
}

/** Starts the runtime (or `options.runtime`) and lets it run. */
export function spawn(args: readonly string[], options: SpawnOptions & { runtime?: string } = {}): Started {
  const { runtime = caller.program, ...rest } = options;
  const child = nodeSpawn(runtime, args, { stdio: ["pipe", "pipe", "pipe"], ...rest });
  let stdout = "";
  let stderr = "";
  let wake = () => {};
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
    wake();
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  let ended = false;
  const exit = new Promise<Result>((resolve, reject) => {
    child.on("error", reject);
    child.on("close", (code, signal) => {
      ended = true;
      resolve({ code: code ?? -1, signal, stdout, stderr });
      wake();
    });
  });
  exit.catch(() => {});
  return {
    child,
    pid: child.pid ?? -1,
    stdout: () => stdout,
    stderr: () => stderr,
    exit,
    async waitFor(text) {
      while (!stdout.includes(text)) {
        if (ended) throw new Error(`ended without printing ${JSON.stringify(text)}\n${stdout}${stderr}`);
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

const ids: string[] = [];

/** A container id of this test process; what is left of it when the file ends is deleted. */
export function newId(name = "c"): string {
  const id = `${TEST_PREFIX}-${name}${ids.length + 1}`;
  ids.push(id);
  return id;
}

/** The state that the runtime reports, or undefined when it knows no such container. */
export function stateOf(id: string): { status: string; pid: number; [key: string]: unknown } | undefined {
  const result = run(["state", id]);
  return result.code === 0 ? JSON.parse(result.stdout) : undefined;
}

/** Waits until `isTrue` holds, looking every few milliseconds; for what the kernel gives no event for. */
export async function until(isTrue: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const end = Date.now() + timeoutMs * SLOWNESS;
  while (!isTrue()) {
    if (Date.now() > end) throw new Error(`did not happen in ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Takes away every container of this process that a test left. Called after each file. */
export function deleteContainers(): void {
  if (!existsSync(RUNTIME) && RUNTIME.includes("/")) return;
  const mine = ids.splice(0);
  if (mine.length === 0) return;
  // One question for all of them, as each takes its time where the CPU is emulated.
  const list = run(["list", "--quiet"]);
  const isThere = (id: string) => (list.code === 0 ? list.stdout.split("\n").includes(id) : stateOf(id) !== undefined);
  for (const id of mine) if (isThere(id)) run(["delete", "--force", id]);
}

/** Mounts of this mount namespace: `mountpoint type source options`, sorted; what must not change. */
export function hostMounts(): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .trim()
    .split("\n")
    .map((line) => {
      const [left = "", right = ""] = line.split(" - ");
      const [, , , root, at, flags, ...propagation] = left.split(" ");
      return [at, root, flags, propagation.map((word) => word.replace(/:\d+/, "")).join(","), right].join(" ");
    })
    .sort();
}

/** Directories in the cgroup hierarchies whose name holds this process's prefix, or `name`. */
export function cgroupsNamed(name = TEST_PREFIX): string[] {
  const found: string[] = [];
  const visit = (dir: string, depth: number) => {
    let entries: string[];
    try {
      entries = readdirSync(dir, { withFileTypes: true })
        .filter((entry) => entry.isDirectory())
        .map((entry) => join(dir, entry.name));
    } catch {
      return; // Somebody else's cgroup, removed while we looked.
    }
    for (const entry of entries) {
      if (basename(entry).includes(name)) found.push(entry);
      else if (depth > 0) visit(entry, depth - 1);
    }
  };
  visit("/sys/fs/cgroup", 6);
  return found;
}

/** Processes that belong to a container of this process: by cgroup, by command line, by what they have open. */
export function processesNamed(name = TEST_PREFIX): string[] {
  const found: string[] = [];
  for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry) && Number(entry) !== process.pid)) {
    // Dead, and handed to pid 1, which reaps at its own pace.
    if (/\) Z 1 /.test(readQuietly(`/proc/${pid}/stat`))) continue;
    const cmdline = readQuietly(`/proc/${pid}/cmdline`).replaceAll("\0", " ");
    const traces = [
      cmdline,
      readQuietly(`/proc/${pid}/cgroup`),
      linkQuietly(`/proc/${pid}/cwd`),
      linkQuietly(`/proc/${pid}/root`),
    ];
    // On v1 the kernel runs systemd's release agent with the name of a cgroup that has become empty.
    if (cmdline.includes("systemd-cgroups-agent")) continue;
    if (traces.some((trace) => trace.includes(name))) found.push(`${pid} ${cmdline}`);
  }
  return found;
}

/** Where runtimes keep what they know of containers. */
const STATE_DIRS = [
  "/run/tsrun",
  "/run/runc",
  "/run/crun",
  "/var/lib/tsrun/overlay2",
  "/var/lib/tsrun/overlay2/l",
  "/var/lib/tsrun/image/overlay2/layerdb/mounts",
];

/** Entries of the runtime's own directories. */
export function stateFiles(): string[] {
  return [...new Set([...STATE_DIRS, caller.stateRoot])].flatMap((dir) =>
    existsSync(dir) ? readdirSync(dir).map((name) => join(dir, name)) : [],
  );
}

export interface Leftovers {
  mounts: string[];
  cgroups: string[];
  processes: string[];
  files: string[];
}

/** What is there now; `expectNothingLeft(before)` compares. */
export function inventory(): Leftovers {
  return { mounts: hostMounts(), cgroups: cgroupsNamed(), processes: processesNamed(), files: stateFiles() };
}

/** Nothing is there that was not there before: no mount, cgroup, process or file. */
export function expectNothingLeft(before: Partial<Leftovers> = {}): void {
  const now = inventory();
  const added = (key: keyof Leftovers) => {
    // Each as often as it was there: two mounts of the same in one place are one line twice.
    const known = [...(before[key] ?? [])];
    return now[key].filter((entry) => {
      const at = known.indexOf(entry);
      if (at >= 0) known.splice(at, 1);
      return at < 0;
    });
  };
  const mounts = before.mounts === undefined ? now.mounts.filter((line) => isOurs(line)) : added("mounts");
  expect({ mounts, cgroups: added("cgroups"), processes: added("processes"), files: added("files") }).toEqual({
    mounts: [],
    cgroups: [],
    processes: [],
    // The store keeps its own directories.
    files: now.files.filter((file) => !(before.files ?? []).includes(file) && file.endsWith("/overlay2/l")),
  });
}

function isOurs(mount: string): boolean {
  const top = scratchTop();
  return mount.includes(TEST_PREFIX) || (top !== undefined && mount.includes(top)) || /\/tsrun\/./.test(mount);
}

function readQuietly(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // The process has ended.
  }
}

function linkQuietly(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return "";
  }
}
