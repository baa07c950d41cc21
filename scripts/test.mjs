// `npm test`: everything this machine can run. Each stage that it cannot run says why.
//
//   node scripts/test.mjs [--unit] [--integration] [--vm] [--no-vm] [--cgroup=v2|v1|hybrid] [--kernel=DEB] [FILTER...]
//
//   unit         no root needed, touches nothing
//   integration  integration and conformance suites, as root, in a sandbox where the host is read-only
//   vm           the same suites in a virtual machine, on the cgroup layouts that this host has not
//   soak         only when asked for: --soak [--minutes=2] [--lifecycles=N] [--seed=N]
//
// Without a stage all of them run but soak. --cgroup picks the VM's layout, --kernel the package of its kernel. FILTER is
// a part of a file name; `-t NAME` picks tests by name.
// TSRUN=runc points the integration suite at another runtime.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileAll } from "../test/helpers/compiled.mjs";
import { DEBIAN_ROOTFS, ensureDebianRootfs } from "../test/helpers/debian-rootfs.mjs";
import { build } from "./build.mjs";
import { ensureDebianPackages, ensureNodeModules, entry, has, isRoot, ROOT, run, say } from "./tools.mjs";

const SANDBOX = join(ROOT, "test/helpers/sandbox");
const RUN_IN_VM = join(ROOT, "test/vm/run-in-vm");
const VITEST = "node_modules/vitest/vitest.mjs";
/** What guest.sh ends with when nothing went on in the guest any more. */
const STALLED = 75;
/** What run-in-vm ends with when the guest as a whole did not come to its end. */
const TIMED_OUT = 124;

const argv = process.argv.slice(2);
const wanted = ["unit", "integration", "vm", "soak"].filter((stage) => argv.includes(`--${stage}`));
const noVm = argv.includes("--no-vm");
const layoutWanted = argv.find((arg) => arg.startsWith("--cgroup="))?.slice("--cgroup=".length);
const kernel = argv.find((arg) => arg.startsWith("--kernel="))?.slice("--kernel=".length);
const passedOn = argv.filter(
  (arg) => !/^--(unit|integration|vm|soak|no-vm|(cgroup|kernel|minutes|lifecycles|seed)=.*)$/.test(arg),
);
const isWanted = (stage) => (wanted.length === 0 ? !(stage === "vm" && noVm) : wanted.includes(stage));
for (const arg of argv) {
  const [, name, value] = /^--(minutes|lifecycles|seed)=([\d.]+)$/.exec(arg) ?? [];
  if (name !== undefined) process.env[`TSRUN_SOAK_${name.toUpperCase()}`] = value;
}

if (!process.stdout.isTTY) process.env.NO_COLOR = "1";

/** How a suite runs: no input, and an end even if it hangs. */
const minutes = 40 + Number(process.env.TSRUN_SOAK_MINUTES ?? 0);
const BOUNDS = { stdio: ["ignore", "inherit", "inherit"], timeout: minutes * 60_000, killSignal: "SIGKILL" };

const total = { passed: 0, failed: 0, skipped: 0 };

await entry(() => {
  ensureNodeModules();
  // Inside a sandbox nobody can install anything, so what the suites use is installed first.
  const packages = { "busybox-static": "/bin/busybox", runc: "runc", crun: "crun" };
  const lacking = isWanted("integration") && isRoot ? ensureDebianPackages(packages) : [];
  if (lacking.length > 0) say(`not installed, so some tests are skipped: ${lacking.join(" ")}`);
  if (isWanted("integration") && isRoot && has("mmdebstrap")) {
    if (!existsSync(DEBIAN_ROOTFS)) say("making a Debian root filesystem, once: about a minute");
    const reason = ensureDebianRootfs();
    if (reason !== undefined) say(`no Debian for programs.test.ts: ${reason}`);
  }
  if (process.env.TSRUN === undefined) build();

  if (isWanted("unit")) stage("unit", unit);
  if (isWanted("integration")) stage("integration", integration);
  if (wanted.includes("soak")) stage("soak", soak);
  if (isWanted("vm")) {
    for (const layout of vmLayouts()) stage(`vm, cgroup ${layout.name}`, (directory) => vm(layout, directory));
  } else if (noVm) {
    say("vm: skipped: --no-vm");
  }

  // CI reads this line.
  say(`${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
  return total.failed > 0 || total.passed === 0 ? 1 : 0;
});

/** Runs one stage and counts its tests; a stage says `{skipped: reason}` or gives the directory with its report. */
function stage(name, body) {
  say(`\n${name}`);
  const before = performance.now();
  const directory = mkdtempSync(join(tmpdir(), "tsrun-report-"));
  try {
    const { skipped, code = 0 } = body(directory);
    if (skipped !== undefined) {
      say(`${name}: skipped: ${skipped}`);
      return;
    }
    const count = readReport(join(directory, "report.json"));
    // A run that ended without a report, or failed outside of any test, is a failure too.
    if (count === undefined || (code !== 0 && count.failed === 0)) {
      say(`${name}: vitest ended with exit code ${code}${count === undefined ? " and no report" : ""}`);
      total.failed++;
    }
    for (const key of Object.keys(total)) total[key] += count?.[key] ?? 0;
    const seconds = ((performance.now() - before) / 1000).toFixed(0);
    say(
      `${name}: ${count?.passed ?? 0} passed, ${count?.failed ?? 0} failed, ${count?.skipped ?? 0} skipped (${seconds} s)`,
    );
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function readReport(path) {
  if (!existsSync(path)) return undefined;
  const report = JSON.parse(readFileSync(path, "utf8"));
  return {
    passed: report.numPassedTests,
    // A file that could not be loaded has no tests that could fail.
    failed:
      report.numFailedTests +
      report.testResults.filter((f) => f.status === "failed" && f.assertionResults.length === 0).length,
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

/** The command that runs these suites; the repository may be read-only, so no bundled configuration is put beside it. */
function vitest(projects) {
  const suites = projects.map((project) => `--project=${project}`);
  const reporters = ["--reporter=default", "--reporter=json"];
  return [VITEST, "run", ...suites, "--passWithNoTests", "--configLoader=runner", ...reporters, ...passedOn];
}

function unit(directory) {
  // Root needs none of its rights for these, so they cannot do harm with them either.
  if (canSandbox()) return sandboxed(directory, ["unit"]);
  const report = `--outputFile.json=${join(directory, "report.json")}`;
  const result = spawnSync(process.execPath, [...vitest(["unit"]), report], { cwd: ROOT, ...BOUNDS });
  return { code: result.status ?? 1 };
}

function integration(directory) {
  if (!isRoot) return { skipped: "needs root (try: sudo npm test)" };
  if (!canSandbox()) return { skipped: "this root may not make a mount namespace for the sandbox (unshare --mount)" };
  return sandboxed(directory, ["integration", "conformance"]);
}

function soak(directory) {
  if (!isRoot || !canSandbox()) return { skipped: "needs root, and a mount namespace for the sandbox" };
  return sandboxed(directory, ["soak"]);
}

function canSandbox() {
  return isRoot && spawnSync("unshare", ["--mount", "true"], { stdio: "ignore" }).status === 0;
}

/** Runs suites where the host is read-only; the report goes to the one directory that stays writable. */
function sandboxed(directory, projects) {
  const script = 'report=$PWD/report.json; cd "$1"; shift; exec "$@" "--outputFile.json=$report"';
  const command = ["bash", "-c", script, "in-sandbox", ROOT, process.execPath, ...vitest(projects)];
  const result = spawnSync(SANDBOX, ["--ro", ROOT, "--", ...command], { cwd: directory, ...BOUNDS });
  return { code: result.status ?? 1 };
}

/**
 * The layouts to test in the VM: in full the one that the host cannot show, cgroup v1 without systemd's v2 tree, which few
 * hosts have, in a shorter run, and with that tree what systemd makes of it.
 */
function vmLayouts() {
  if (layoutWanted !== undefined) return [{ name: layoutWanted, only: [] }];
  const mounts = readFileSync("/proc/self/mounts", "utf8").split("\n");
  const hostIsV2 = mounts.some((line) => /^\S+ \/sys\/fs\/cgroup cgroup2 /.test(line));
  const alone = ["cgroup/modes", "cgroup/systemd.test", "cgroup/hierarchies", "exit-code"];
  const hybrid = { name: "hybrid", only: ["cgroup/modes", "-t", "systemd, as root(?!.*(fork bomb|again and again))"] };
  return hostIsV2
    ? [{ name: "v1", only: [] }, hybrid]
    : [{ name: "v2", only: [] }, { name: "v1", only: alone }, hybrid];
}

function vm(layout, directory) {
  const reason = noVmReason();
  if (reason !== undefined) return { skipped: reason };
  const shared = mkdtempSync(join(ROOT, "build/vm-"));
  try {
    shareWithGuest(shared);
    const isShort = layout.only.length > 0;
    const hasFilter = passedOn.some((arg) => !arg.startsWith("-"));
    const command = [
      "test/vm/guest.sh",
      "--reporter=default",
      "--reporter=json",
      "--outputFile.json=/results/report.json",
      ...passedOn,
      ...(hasFilter ? [] : layout.only),
    ];
    const options = [
      "--cgroup",
      layout.name,
      "--provision",
      join(ROOT, "vagrant/provision.sh"),
      "--results",
      directory,
    ];
    // A guest that stands still must not take the time of what comes after it.
    const limits = [
      "--timeout",
      wanted.includes("vm") ? "5400" : isShort ? "600" : "1900",
      "--env",
      "NO_COLOR",
      ...(process.stdout.isTTY ? ["-v"] : []),
    ];
    if (!wanted.includes("vm") && !hasFilter) limits.push("--env", "TSRUN_BRIEF=1");
    for (const name of ["TSRUN", "TSRUN_BRIEF", "TSRUN_SLOW", "TSRUN_EVERY_STEP", "TSRUN_FUZZ_SEED"]) {
      if (process.env[name] !== undefined) limits.push("--env", name);
    }
    if (kernel !== undefined) limits.push("--kernel", kernel);
    const start = () =>
      spawnSync(RUN_IN_VM, [...options, ...limits, shared, "--", ...command], {
        cwd: ROOT,
        stdio: ["ignore", "inherit", "inherit"],
      });
    let result = start();
    if ((result.status === STALLED || result.status === TIMED_OUT) && isShort) {
      say("the guest stood still: once more");
      result = start();
    }
    if (result.status === 125 && process.env.CI !== "true")
      return { skipped: "the virtual machine cannot be made here" };
    return { code: result.status ?? 1 };
  } finally {
    rmSync(shared, { recursive: true, force: true });
  }
}

function noVmReason() {
  if (!isRoot) return "needs root (it makes file system images with their owners)";
  if (process.env.TSRUN?.includes("/")) return "TSRUN names a file that the guest has not";
  if (process.arch !== "x64") return `the guest is amd64, this is ${process.arch}`;
  if (
    !/^VERSION_CODENAME=bookworm$/m.test(existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "")
  ) {
    return "the guest is made with the tools of Debian 12, which this is not";
  }
  return undefined;
}

/** Links into `shared` what the guest needs: sources, products, the packages of the tests, and node itself. */
function shareWithGuest(shared) {
  const isHeavy = (path) => /^(@biomejs|@typescript|@types|typescript|bun-types|\.vite.*)$/.test(path);
  const link = (from, to) => run("cp", ["-a", "--link", "--no-target-directory", from, to], { quiet: true });
  for (const name of ["src", "test", "scripts", "native", "config", "docs", "vagrant", "dist"]) {
    if (existsSync(join(ROOT, name))) link(join(ROOT, name), join(shared, name));
  }
  for (const name of readdirSync(ROOT)) {
    if (/\.(json|ts|md)$|^Vagrantfile$/.test(name)) link(join(ROOT, name), join(shared, name));
  }
  mkdirSync(join(shared, "build/vm/bin"), { recursive: true });
  for (const name of ["tsrun-init", "init-binary.ts"]) link(join(ROOT, "build", name), join(shared, "build", name));
  link(compileAll(), join(shared, "build/test"));
  run("cp", [process.execPath, join(shared, "build/vm/bin/node")], { quiet: true });
  mkdirSync(join(shared, "node_modules"));
  for (const name of readdirSync(join(ROOT, "node_modules"))) {
    if (!isHeavy(name)) link(join(ROOT, "node_modules", name), join(shared, "node_modules", name));
  }
  rmSync(join(shared, "node_modules/bun/bin/bunx.exe"), { force: true });
}
