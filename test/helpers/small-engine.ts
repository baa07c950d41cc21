/** Programs in the engine of dist/tsrun: bundled as the command line is, and run by the program that builds it. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundle } from "../../scripts/build-engine.mjs";

const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/\/$/, "");
const PROGRAM = join(ROOT, "build/engine/tsrun-build");

/** Is dist/tsrun made with it? Where its sources could not be had, it is not. */
export const hasSmallEngine = existsSync(PROGRAM);

/**
 * Runs TypeScript while the program is "built": `print(text)` and `sys`, the files of src/sys by name, are there.
 *
 * @returns what it printed, and how it ended
 */
export function inSmallEngine(
  body: string,
  imports = "",
): { stdout: string; stderr: string; status: number | null; signal: string | null } {
  const directory = mkdtempSync(join(tmpdir(), "tsrun-engine-"));
  try {
    const source = `import { host } from "${ROOT}/src/sys/engine.ts";
${imports.replaceAll("src/", `${ROOT}/src/`)}
host.startProcess(["tsrun"], 42);
function print(text) {
  const bytes = host.encode(text + "\\n");
  host.syscall(${process.arch === "arm64" ? 64 : 1}, 1, host.address(bytes), bytes.length);
}
${body}
`;
    const entry = join(directory, "program.ts");
    writeFileSync(entry, source);
    const modules = bundle(entry, join(directory, "modules"));
    const images = ["small", "large"].map((name) => join(directory, name));
    const result = spawnSync(PROGRAM, ["--build", ...images, ...modules], {
      cwd: join(directory, "modules"),
      encoding: "utf8",
      env: { HOME: "/root", EMPTY: "", EQUALS: "a=b" },
    });
    return { stdout: result.stdout, stderr: result.stderr, status: result.status, signal: result.signal };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
