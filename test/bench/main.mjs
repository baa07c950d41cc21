// `npm run bench`: tsrun beside crun and runc, in one interleaved run, because only ratios from one run on one
// machine are to be trusted.
//
// Runs as root in the sandbox, where the host is read-only. crun before 1.9 does not know the hybrid cgroup
// layout, so the v2 tree is taken away in the sandbox: all of them see cgroup v1, or v2.
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { build } from "../../scripts/build.mjs";
import { ensureNodeModules, entry, Failure, has, isRoot, output, ROOT, run, say } from "../../scripts/tools.mjs";
import { storageBench, storageTable } from "./storage.mjs";

/** What can be measured by itself. */
const PARTS = ["run", "life", "memory", "storage"];

const HELP = `npm run bench -- [--quick] [--json] [--only NAME,NAME] [--tsrun FILE]

  --quick        fewer rounds
  --json         the figures as JSON
  --only NAMES   of ${PARTS.join(", ")}
  --tsrun FILE   the program to measure (default: dist/tsrun)`;

const argv = process.argv.slice(2);
const { quick: isQuick, json: asJson, only, program: ownProgram } = readOptions();

/** Rounds of each measurement; a round runs every runtime once. */
const ROUNDS = isQuick ? { hot: 15, cold: 8, life: 8 } : { hot: 80, cold: 60, life: 40 };
const QUIET_US = 150_000;

function readOptions() {
  const text = { type: "string" };
  const flag = { type: "boolean", default: false };
  try {
    const { values } = parseArgs({
      args: argv,
      options: { quick: flag, json: flag, help: flag, only: text, tsrun: text },
    });
    if (values.help) {
      say(HELP);
      process.exit(0);
    }
    const only = values.only?.split(",");
    const unknown = only?.find((name) => !PARTS.includes(name));
    if (unknown !== undefined) throw new Error(`--only: there is no "${unknown}"`);
    return { ...values, only, program: values.tsrun };
  } catch (error) {
    say(`${error.message}\n\n${HELP}`);
    process.exit(1);
  }
}

/** Builds what is to be measured, then starts this script again in the sandbox. */
function enterSandbox() {
  ensureNodeModules();
  if (asJson) spawnSync(process.execPath, ["scripts/build.mjs"], { cwd: ROOT, stdio: ["ignore", 2, 2] });
  else build();
  const scratch = mkdtempSync(join(tmpdir(), "tsrun-bench-"));
  try {
    run("gcc", ["-O1", "-o", join(scratch, "timer"), join(ROOT, "test/bench/timer.c")]);
    const command = [process.execPath, join(ROOT, "test/bench/main.mjs"), ...argv];
    const sandbox = ["--ro", ROOT, "--", "sh", "-c", 'umount /sys/fs/cgroup/unified 2>/dev/null; exec "$@"', "bench"];
    return spawnSync(join(ROOT, "test/helpers/sandbox"), [...sandbox, ...command], { cwd: scratch, stdio: "inherit" })
      .status;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

function runtimes() {
  const all = { tsrun: ownProgram ?? join(ROOT, "dist/tsrun") };
  for (const name of ["crun", "runc"]) {
    if (has(name)) all[name] = output("sh", ["-c", `command -v ${name}`]);
    else say(`${name} is not installed, so it is not compared`);
  }
  return all;
}

async function bench() {
  const programs = runtimes();
  const bundles = { true: makeBundle("true", ["true"]), sleep: makeBundle("sleep", ["sleep", "1000"]) };
  const results = {};
  const wanted = (name) => only === undefined || only.includes(name);
  const begin = Date.now();
  if (wanted("run")) {
    Object.assign(
      results,
      timed((name) => runJob(programs[name], bundles.true, "run, hot", 0), ROUNDS.hot, programs),
    );
    Object.assign(
      results,
      timed((name) => runJob(programs[name], bundles.true, "run, cold", QUIET_US), ROUNDS.cold, programs),
    );
  }
  if (wanted("life"))
    Object.assign(
      results,
      timed((name, round) => lifeJobs(programs[name], bundles.sleep, round), ROUNDS.life, programs),
    );
  if (wanted("memory")) {
    results["resident while waiting"] = await forEach(programs, (program) => residentKb(program, bundles.sleep));
    results["smallest memory limit"] = await forEach(programs, (program) => smallestLimitKb(program));
  }
  const storage = wanted("storage") ? storageBench(programs.tsrun, { quick: isQuick }) : undefined;
  const report = {
    kernel: release(),
    cores: cpus().length,
    cgroup: cgroupLayout(),
    seconds: Math.round((Date.now() - begin) / 1000),
    results,
    ...(storage !== undefined && { storageMs: storage }),
  };
  if (asJson) say(JSON.stringify(report, null, 2));
  else {
    if (Object.keys(results).length > 0) print(report, programs);
    if (storage !== undefined) say(`\n${storageTable(storage)}`);
  }
  return 0;
}

/** One container that does nothing, from start to exit code. */
function runJob(program, bundle, label, quietUs) {
  return [{ label, quietUs, argv: [program, "run", "-b", bundle, newId()] }];
}

/** One container's life, verb by verb. */
function lifeJobs(program, bundle) {
  const id = newId();
  return [
    { label: "create", quietUs: 20_000, argv: [program, "create", "-b", bundle, id] },
    { label: "start", argv: [program, "start", id] },
    { label: "state", argv: [program, "state", id] },
    { label: "exec", argv: [program, "exec", id, "true"] },
    { label: "", argv: [program, "kill", id, "KILL"] },
    // The kernel needs a moment to end it, a busy machine more; delete is to find it stopped.
    { label: "", argv: ["/bin/sh", "-c", UNTIL_STOPPED, "until-stopped", program, id] },
    { label: "delete", quietUs: 60_000, argv: [program, "delete", id] },
  ];
}

const UNTIL_STOPPED = `for i in $(seq 500); do
  "$1" state "$2" | grep -q '"stopped"' && exit
  sleep 0.02
done
exit 1`;

let counter = 0;
function newId() {
  return `bench-${process.pid}-${++counter}`;
}

/** Runs the jobs of every runtime in turn, `rounds` times, and gives {label: {runtime: {medianMs, minMs}}}. */
function timed(jobsOf, rounds, programs) {
  const names = Object.keys(programs);
  const samples = {};
  // The first rounds fill caches and are not counted.
  for (let round = -2; round < rounds; round++) {
    const order = names.map((_, i) => names[(i + Math.max(round, 0)) % names.length]);
    const jobs = order.flatMap((name) => jobsOf(name, round).map((job) => ({ ...job, name })));
    const lines = time(jobs);
    jobs
      .filter((job) => job.label !== "")
      .forEach((job, i) => {
        const [, nanoseconds, status] = lines[i].match(/ (\d+) (-?\d+)$/);
        if (status !== "0") {
          const reason = `${job.argv.join(" ")}: wait status ${status}\n${why(job)}`;
          removeAll(jobs);
          throw new Failure(reason);
        }
        if (round < 0) return;
        samples[job.label] ??= {};
        samples[job.label][job.name] ??= [];
        samples[job.label][job.name].push(Number(nanoseconds) / 1e6);
      });
  }
  return mapValues(samples, (byName) =>
    mapValues(byName, (list) => ({ medianMs: median(list), minMs: Math.min(...list) })),
  );
}

function time(jobs) {
  const input = jobs
    .flatMap(({ label, quietUs = 0, argv: args }) => [label, quietUs, args.length, ...args])
    .map((part) => `${part}\0`);
  const result = spawnSync("./timer", [], { input: input.join(""), encoding: "utf8" });
  if (result.status !== 0) {
    removeAll(jobs);
    throw new Failure(`timer: ${result.error?.message ?? result.stderr}`);
  }
  return result.stdout.trim().split("\n");
}

/** Ends the containers of jobs that came to nothing, so that they do not stay. */
function removeAll(jobs) {
  for (const { argv: args } of jobs.filter(({ label }) => label === "delete")) {
    spawnSync(args[0], ["delete", "--force", args.at(-1)], { stdio: "ignore" });
  }
}

/** The runtime's own words about a job that failed. */
function why(job) {
  const again = spawnSync(job.argv[0], job.argv.slice(1), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  return `${again.stdout}${again.stderr}`;
}

/** VmRSS of the process that waits in the foreground. */
async function residentKb(program, bundle) {
  const id = newId();
  const child = spawn(program, ["run", "-b", bundle, id], { stdio: "ignore" });
  const isRunning = () => spawnSync(program, ["state", id], { encoding: "utf8" }).stdout.includes('"running"');
  for (let i = 0; i < 200 && !isRunning(); i++) await sleep(20);
  await sleep(200);
  const kb = Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1] ?? Number.NaN);
  const ended = new Promise((resolve) => child.on("exit", resolve));
  spawnSync(program, ["kill", id, "KILL"]);
  await ended;
  return { kb };
}

/** The smallest memory limit under which a container that does nothing runs three times of three. */
function smallestLimitKb(program) {
  for (const kb of [256, 384, 512, 768, 1024, 2048, 3072, 4096, 5120, 6144, 7168, 8192, 10240, 12288, 16384, 32768]) {
    const bundle = makeBundle(`limit-${kb}`, ["true"], kb * 1024);
    const once = () =>
      spawnSync(program, ["run", "-b", bundle, newId()], { timeout: 10_000, stdio: "ignore" }).status === 0;
    const works = once() && once() && once();
    rmSync(bundle, { recursive: true });
    if (works) return { kb };
  }
  return { kb: Number.NaN };
}

/** The default config of `runc spec` over a static busybox. */
function makeBundle(name, args, memoryLimit) {
  const path = join(process.cwd(), `bundle-${name}`);
  mkdirSync(join(path, "rootfs/bin"), { recursive: true });
  for (const dir of ["proc", "sys", "dev", "etc", "tmp"]) mkdirSync(join(path, "rootfs", dir), { recursive: true });
  run("cp", ["/bin/busybox", join(path, "rootfs/bin/busybox")]);
  for (const applet of ["sh", "true", "sleep"]) symlinkSync("busybox", join(path, "rootfs/bin", applet));
  const config = JSON.parse(readFileSync(join(ROOT, "test/fixtures/runc-spec.json"), "utf8"));
  config.process.terminal = false;
  config.process.args = args;
  if (memoryLimit !== undefined) config.linux.resources.memory = { limit: memoryLimit };
  writeFileSync(join(path, "config.json"), JSON.stringify(config));
  return path;
}

function print({ kernel, cores, cgroup, seconds, results }, programs) {
  const names = Object.keys(programs);
  say(`\nLinux ${kernel}, ${cores} cores, cgroup ${cgroup}; ms, median/minimum; ${seconds} s\n`);
  const others = names.slice(1);
  const rows = [["", ...names, ...others.map((name) => `to ${name}`)]];
  for (const [label, byName] of Object.entries(results)) {
    const show = (value) =>
      value.kb === undefined ? `${value.medianMs.toFixed(1)}/${value.minMs.toFixed(1)}` : `${value.kb} KB`;
    const ratio = (name) => {
      const [ours, theirs] = [byName.tsrun, byName[name]];
      if (ours.kb !== undefined) return (ours.kb / theirs.kb).toFixed(2);
      return `${(ours.medianMs / theirs.medianMs).toFixed(2)}/${(ours.minMs / theirs.minMs).toFixed(2)}`;
    };
    rows.push([label, ...names.map((name) => show(byName[name])), ...others.map(ratio)]);
  }
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  for (const row of rows) {
    say(row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join("  "));
  }
}

function cgroupLayout() {
  const mounts = readFileSync("/proc/self/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" "));
  return mounts.some(([, at, type]) => at === "/sys/fs/cgroup" && type === "cgroup2") ? "v2" : "v1";
}

function median(list) {
  const sorted = [...list].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

function mapValues(object, change) {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value)]));
}

async function forEach(programs, measure) {
  const found = {};
  for (const [name, program] of Object.entries(programs)) found[name] = await measure(program);
  return found;
}

function sleep(ms) {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

await entry(async () => {
  if (!isRoot) throw new Failure("the bench runs containers: run it as root (sudo npm run bench)");
  if (process.env.TSRUN_SANDBOX !== "1" && process.env.TSRUN_VM !== "1") return enterSandbox();
  return bench();
});
