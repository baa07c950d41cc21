// What the scripts share: running commands, saying what is done, finding bun, knowing what changed.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

/** The top of the repository. */
export const ROOT = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** One line about what is being done, or was. */
export function say(text) {
  process.stdout.write(`${text}\n`);
}

/** A script ends with this: what went wrong in one line, without a stack trace. */
export class Failure extends Error {}

/** Runs `main` and turns a Failure into a line on standard error and exit code 1. */
export async function entry(main) {
  try {
    process.exitCode = (await main()) ?? 0;
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 1;
  }
}

/** Runs a command to its end; its output goes through unless `quiet`, then it is shown only on failure. */
export function run(command, args, { quiet = false, ...options } = {}) {
  const result = spawnSync(command, args, {
    cwd: ROOT,
    stdio: quiet ? ["ignore", "pipe", "pipe"] : ["ignore", "inherit", "inherit"],
    encoding: "utf8",
    maxBuffer: 1 << 28,
    ...options,
  });
  if (result.error) throw new Failure(`${command}: ${result.error.message}`);
  if (result.status !== 0) {
    if (quiet) process.stderr.write(`${result.stdout}${result.stderr}`);
    throw new Failure(
      `${[command, ...args].join(" ").slice(0, 200)}: ${result.signal ?? `exit code ${result.status}`}`,
    );
  }
  return result.stdout ?? "";
}

/** The output of a command, trimmed, or undefined when it fails or is not there. */
export function output(command, args, options = {}) {
  const result = spawnSync(command, args, {
    cwd: ROOT,
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    ...options,
  });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

/** Is there a program of this name on PATH? */
export function has(command) {
  return (process.env.PATH ?? "").split(":").some((dir) => dir !== "" && existsSync(join(dir, command)));
}

export const isRoot = process.getuid?.() === 0;

/** A real bun, wherever npm left it: its postinstall moves the binary, and does not always run. */
export function findBun() {
  const arch = process.arch === "arm64" ? "aarch64" : process.arch;
  const candidates = [
    "node_modules/bun/bin/bun.exe",
    `node_modules/@oven/bun-linux-${arch}/bin/bun`,
    `node_modules/@oven/bun-linux-${arch}-baseline/bin/bun`,
    `node_modules/@oven/bun-linux-${arch}-musl/bin/bun`,
  ];
  for (const candidate of candidates) {
    const path = join(ROOT, candidate);
    // The placeholder that npm leaves where install scripts do not run is a few hundred bytes of text.
    if (existsSync(path) && statSync(path).size > 1_000_000 && output(path, ["--version"]) !== undefined) return path;
  }
  throw new Failure("bun is missing: run `npm ci` (it is a devDependency)");
}

/** Every file below the given files and directories, sorted, relative to ROOT. */
export function filesBelow(paths) {
  const found = [];
  const visit = (path) => {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return;
    if (!stat.isDirectory()) found.push(relative(ROOT, path));
    else for (const name of readdirSync(path)) visit(join(path, name));
  };
  for (const path of paths) visit(join(ROOT, path));
  return found.sort();
}

/** A digest of the content of files and of `more`: the same digest means that there is nothing to do. */
export function digest(paths, more = "") {
  const hash = createHash("sha256").update(more);
  for (const file of filesBelow(paths)) hash.update(`\0${file}\0`).update(readFileSync(join(ROOT, file)));
  return hash.digest("hex").slice(0, 32);
}

/** Installs npm packages when package-lock.json changed since they were installed. */
export function ensureNodeModules() {
  const lock = join(ROOT, "package-lock.json");
  const installed = statSync(join(ROOT, "node_modules/.package-lock.json"), { throwIfNoEntry: false });
  if (installed !== undefined && existsSync(join(ROOT, "node_modules/.bin/vitest"))) {
    if (installed.mtimeMs >= statSync(lock).mtimeMs || sameVersions(lock)) return;
  }
  say("installing npm packages (npm ci)");
  run("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], { quiet: true });
}

/** A fresh checkout gives every file a new time: compare what is installed instead. */
function sameVersions(lock) {
  const wanted = JSON.parse(readFileSync(lock, "utf8")).packages;
  const have = JSON.parse(readFileSync(join(ROOT, "node_modules/.package-lock.json"), "utf8")).packages;
  const isSame = ([path, entry]) => wanted[path]?.version === entry.version;
  // The optional ones are for one platform each.
  const isThere = ([path, entry]) => path === "" || entry.optional || entry.devOptional || path in have;
  return Object.entries(have).every(isSame) && Object.entries(wanted).every(isThere);
}

/**
 * Installs those Debian packages whose commands are missing: `{package: command or path}`.
 * Returns the packages that are still missing, so that the caller can say what it means.
 */
export function ensureDebianPackages(wanted) {
  const isThere = (what) => (what.startsWith("/") ? existsSync(what) : has(what));
  const missing = Object.keys(wanted).filter((name) => !isThere(wanted[name]));
  if (missing.length === 0) return [];
  if (!isRoot || !has("apt-get")) return missing;
  say(`installing Debian packages: ${missing.join(" ")}`);
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const install = ["-o", "DPkg::Lock::Timeout=600", "-qq", "install", "-y", "--no-install-recommends", ...missing];
  const quiet = { cwd: ROOT, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] };
  if (spawnSync("apt-get", install, quiet).status !== 0) {
    spawnSync("apt-get", ["-qq", "update"], quiet);
    const result = spawnSync("apt-get", install, quiet);
    if (result.status !== 0) process.stderr.write(`${result.stdout}${result.stderr}`);
  }
  return missing.filter((name) => !isThere(wanted[name]));
}
