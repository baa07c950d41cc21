// A small Debian with redis-server and python3, as a tar that test/integration/programs.test.ts makes layers of.
// Made once by `npm test`, before the sandbox, where it can be made: as root, with mmdebstrap and a mirror.
//
//   node test/helpers/debian-rootfs.mjs
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { fileURLToPath } from "node:url";

export const DEBIAN_DIR = "/var/cache/tsrun-test";
export const DEBIAN_ROOTFS = `${DEBIAN_DIR}/debian-bookworm-1.tar`;
const PACKAGES = ["redis-server", "python3-minimal"];

/** @returns {string | undefined} why there is none, undefined when there is one */
export function ensureDebianRootfs() {
  if (existsSync(DEBIAN_ROOTFS)) return undefined;
  if (process.getuid?.() !== 0) return "needs root";
  mkdirSync(DEBIAN_DIR, { recursive: true });
  const unfinished = `${DEBIAN_DIR}/.new-${process.pid}.tar`;
  const args = ["--quiet", "--variant=minbase", "--mode=root", "--format=tar", `--include=${PACKAGES.join(",")}`];
  // What is not run is left out: it is half of the size.
  for (const path of ["/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*"]) {
    args.push(`--dpkgopt=path-exclude=${path}`);
  }
  args.push(...hostAptOptions(), "bookworm", unfinished);
  try {
    const made = spawnSync("mmdebstrap", args, {
      encoding: "utf8",
      timeout: 600_000,
      stdio: ["ignore", "pipe", "pipe"],
    });
    if (made.error) return `mmdebstrap: ${made.error.message}`;
    if (made.status !== 0) return `mmdebstrap failed: ${made.stderr.trim().split("\n").slice(-3).join(" ")}`;
    renameSync(unfinished, DEBIAN_ROOTFS);
    return undefined;
  } finally {
    rmSync(unfinished, { force: true });
  }
}

/** How the host reaches a mirror holds here too. */
function hostAptOptions() {
  const dump = spawnSync("apt-config", ["dump"], { encoding: "utf8" }).stdout ?? "";
  const wanted = /^Acquire::(https?::Proxy|Check-Valid-Until|Check-Date) /;
  return dump
    .split("\n")
    .filter((line) => wanted.test(line))
    .map((line) => `--aptopt=${line}`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const reason = ensureDebianRootfs();
  process.stdout.write(`${reason === undefined ? DEBIAN_ROOTFS : `no Debian root filesystem: ${reason}`}\n`);
  process.exitCode = reason === undefined ? 0 : 1;
}
