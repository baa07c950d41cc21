// The sources of QuickJS, the JavaScript engine that dist/tsrun carries: one release, as Debian keeps it.
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ensureDebianPackages, output, ROOT } from "./tools.mjs";

const VERSION = "2025.04.26";
const SHA256 = "ec81da5b3249ed648dbc7df4a1654988910e66a118d9b71cb63534216efcfbbe";
const ARCHIVE = `quickjs_${VERSION}.orig.tar.xz`;
const DIRECTORY = join(ROOT, `build/quickjs-${VERSION}`);

/**
 * A directory with the unpacked sources, downloaded through apt the first time; or why there is none. TSRUN_QUICKJS
 * names a directory with this or another release, where there is no apt.
 *
 * @returns {{directory: string} | {reason: string}}
 */
export function quickjsSources() {
  const given = process.env.TSRUN_QUICKJS;
  if (given) {
    return existsSync(join(given, "quickjs.c"))
      ? { directory: given }
      : { reason: `TSRUN_QUICKJS: ${given} has no quickjs.c` };
  }
  if (existsSync(join(DIRECTORY, "quickjs.c"))) return { directory: DIRECTORY };
  const helper = "/usr/lib/apt/apt-helper";
  if (!existsSync(helper)) return { reason: "its sources are taken from Debian, and this machine has no apt" };
  if (ensureDebianPackages({ "xz-utils": "xz" }).length > 0)
    return { reason: "xz is missing (apt-get install xz-utils)" };
  mkdirSync(join(ROOT, "build"), { recursive: true });
  const archive = join(ROOT, "build", ARCHIVE);
  for (const uri of debianArchives()) {
    if (isRight(archive)) break;
    rmSync(archive, { force: true });
    output(helper, ["download-file", `${uri}/pool/main/q/quickjs/${ARCHIVE}`, archive, `SHA256:${SHA256}`]);
  }
  if (!isRight(archive)) return { reason: `its sources (${ARCHIVE}) cannot be had from this machine's Debian archive` };
  const temporary = join(ROOT, `build/.quickjs.${process.pid}`);
  rmSync(temporary, { recursive: true, force: true });
  mkdirSync(temporary);
  try {
    if (output("tar", ["-xf", archive, "-C", temporary, "--strip-components=1"]) === undefined) {
      return { reason: `${archive} cannot be unpacked` };
    }
    // By rename, so that there is a whole one or none; somebody else may have been quicker.
    if (!existsSync(DIRECTORY)) renameSync(temporary, DIRECTORY);
    return { directory: DIRECTORY };
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}

function isRight(file) {
  return existsSync(file) && createHash("sha256").update(readFileSync(file)).digest("hex") === SHA256;
}

/** Where this machine gets its Debian packages from. */
function debianArchives() {
  const lines = output("apt-get", [
    "indextargets",
    "--format",
    "$(REPO_URI)",
    "Created-By: Packages",
    "Origin: Debian",
  ]);
  const uris = (lines ?? "").split("\n").filter((line) => /^https?:/.test(line));
  return [...new Set(uris.map((uri) => uri.replace(/\/$/, "")))];
}
