/**
 * Compiles native/ to build/tsrun-init, the static init, and puts it as text into
 * build/init-binary.ts for the CLI and the library to carry.
 *
 * Plain Node, no dependency: it is the first step of the build. The program has no libc and
 * needs no headers (native/kernel.h), so any C compiler that knows GNU C will do, and musl-gcc and
 * gcc make the same bytes. CC chooses one, and TSRUN_INIT_OUT another directory for the result.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const LIMIT_BYTES = 64 * 1024;
const root = fileURLToPath(new URL("..", import.meta.url));
const native = join(root, "native");
const out = resolve(process.env.TSRUN_INIT_OUT ?? join(root, "build"));

const FLAGS = [
  ..."-std=gnu11 -Os -Wall -Wextra -Werror -Wshadow -Wvla -Wstrict-prototypes -Wmissing-prototypes".split(" "),
  // No libc, and nothing that would need one: no stack protector (it lives in thread storage), no unwinding.
  ..."-ffreestanding -nostdlib -static -fno-pie -no-pie -fno-stack-protector -U_FORTIFY_SOURCE".split(" "),
  ..."-fno-asynchronous-unwind-tables -fno-unwind-tables -fno-builtin".split(" "),
  ..."-ffunction-sections -fdata-sections -fno-strict-aliasing -fwrapv -s".split(" "),
  ..."-Wl,--gc-sections -Wl,--build-id=none -Wl,-z,noexecstack -Wl,-z,relro -Wl,-z,now".split(" "),
];

const compiler = findCompiler();
// Else gcc makes of the loop in memset a call of memset; clang wants no word of it, and none that it need not use.
FLAGS.push(isClang(compiler) ? "-Qunused-arguments" : "-fno-tree-loop-distribute-patterns");
const sources = readdirSync(native)
  .filter((name) => name.endsWith(".c"))
  .sort()
  .map((name) => join(native, name));
const binary = join(out, "tsrun-init");

mkdirSync(out, { recursive: true });
// Into a name of our own, then by rename: another build, or a test that reads it, sees one or the other whole.
const fresh = `${binary}.${process.pid}`;
try {
  execFileSync(compiler, [...FLAGS, "-o", fresh, ...sources], { stdio: ["ignore", "inherit", "inherit"] });
} catch (error) {
  console.error(`build-native: ${compiler} failed (${error.status ?? error.code})`);
  process.exit(1);
}
const size = statSync(fresh).size;
if (size > LIMIT_BYTES) {
  console.error(`build-native: the init is ${size} bytes, more than the ${LIMIT_BYTES} it may be`);
  process.exit(1);
}
renameSync(fresh, binary);
const module = join(out, "init-binary.ts");
const text = `// Made by scripts/build-native.mjs from native/.\nexport const INIT_BASE64 =\n  "${readFileSync(binary).toString("base64")}";\n`;
writeFileSync(`${module}.${process.pid}`, text);
renameSync(`${module}.${process.pid}`, module);
console.log(`build-native: ${binary}: ${size} bytes, ${compiler}`);

function isClang(name) {
  return spawnSync(name, ["--version"], { encoding: "utf8" }).stdout.includes("clang");
}

function findCompiler() {
  const candidates = process.env.CC ? [process.env.CC] : ["musl-gcc", "gcc", "cc", "clang"];
  const found = candidates.find((name) => spawnSync(name, ["--version"], { stdio: "ignore" }).status === 0);
  if (found !== undefined) return found;
  console.error(`build-native: no C compiler (looked for ${candidates.join(", ")}); on Debian: apt-get install gcc`);
  process.exit(1);
}
