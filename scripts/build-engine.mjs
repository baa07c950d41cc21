// dist/tsrun: QuickJS, native/engine/ and the command line as it stands in memory once it is loaded, in one static
// program. A first program with an empty arena loads the modules and writes its memory to two files; the second is linked
// from the same objects with those files in the arena's place, so that every address in it is right.
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { digest, Failure, findBun, output, ROOT, run } from "./tools.mjs";

const OUT = join(ROOT, "build/engine");
const PARTS = ["quickjs", "libregexp", "libunicode", "cutils", "dtoa"];
const GLOBALS = "src/sys/globals.ts";
/** Where native/engine/arena.h has its two ranges, by their sections. */
const RANGES = { ".arena": "0x1000000000", ".arena_large": "0x1800000000" };

/** musl's start costs less than that of glibc, which asks the CPU about itself. */
export function engineCompiler() {
  return ["musl-gcc", "gcc"].find((name) => output(name, ["--version"]) !== undefined);
}

/** Compiles QuickJS: the slow part, some twenty seconds, and only done when it or the compiler is another one. */
export function buildObjects(sources) {
  mkdirSync(OUT, { recursive: true });
  const compiler = engineCompiler();
  const stamp = `${digest(["scripts/build-engine.mjs"], `${compiler} ${sources} ${output(compiler, ["--version"])}`)}\n`;
  const stampFile = join(OUT, "objects.stamp");
  const isThere = PARTS.every((part) => existsSync(join(OUT, `${part}.o`)));
  if (isThere && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  for (const part of PARTS) {
    const flags = ["-O2", "-fwrapv", "-fno-pie", "-ffunction-sections", "-fdata-sections", "-D_GNU_SOURCE"];
    compile(
      compiler,
      [...flags, `-DCONFIG_VERSION="${basename(sources)}"`, "-c", join(sources, `${part}.c`)],
      `${part}.o`,
    );
  }
  writeFileSync(stampFile, stamp);
}

/** Bundles `entry` (below src/) for the engine and links `program` from it. Leaves build/engine/tsrun-build. */
export function linkProgram(sources, entry, program, defines) {
  const compiler = engineCompiler();
  const warnings = ["-Wall", "-Wextra", "-Werror", "-Wshadow"];
  for (const part of ["host", "arena"]) {
    const flags = ["-std=gnu11", "-O2", "-fno-pie", ...warnings, "-isystem", sources];
    compile(compiler, [...flags, "-c", join(ROOT, `native/engine/${part}.c`)], `${part}.o`);
  }
  assemble(compiler, "init", embed(".rodata", "init_binary", join(ROOT, "build/tsrun-init")));
  const modules = bundle(entry, join(OUT, "modules"), defines);

  const empty = join(OUT, "arena.empty");
  writeFileSync(empty, Buffer.alloc(4096));
  const first = join(OUT, "tsrun-build");
  link(compiler, [empty, empty], first);
  const images = [join(OUT, "arena.small"), join(OUT, "arena.large")];
  run(first, ["--build", ...images, ...modules], { cwd: join(OUT, "modules"), quiet: true });

  const second = `${program}.${process.pid}`;
  try {
    link(compiler, images, second);
    const moved = differences(symbols(first), symbols(second));
    if (moved.length > 0) throw new Failure(`the linker moved ${moved[0]}: what is in memory would point elsewhere`);
    run("strip", [second], { quiet: true });
    renameSync(second, program);
  } finally {
    rmSync(second, { force: true });
  }
}

/**
 * Bundles a file for the engine. What only other engines can load (modules of Node, packages of npm) is left out: when
 * the program comes to such a part, it starts dist/tsrun-bun in its place.
 *
 * @returns the modules to load, in order
 */
export function bundle(entry, outdir, defines = []) {
  rmSync(outdir, { recursive: true, force: true });
  const externals = ["koffi", "bun:ffi", "node:*", "commander", "execa"].flatMap((name) => ["--external", name]);
  const flags = ["--target=browser", "--format=esm", "--minify", "--splitting", "--packages=external", ...externals];
  // What the engine lacks is a module of its own and loaded first, wherever the bundler puts the rest.
  for (const file of [GLOBALS, entry]) {
    const args = ["build", ...flags, ...defines, "--outdir", outdir, resolve(ROOT, file)];
    run(findBun(), args, { quiet: true, cwd: join(ROOT, "build") });
  }
  const main = basename(entry).replace(/\.ts$/, ".js");
  const texts = new Map(readdirSync(outdir).map((name) => [name, readFileSync(join(outdir, name), "utf8")]));
  const needsNode = (name, seen = new Set()) => {
    if (seen.has(name)) return false;
    seen.add(name);
    return imported(texts.get(name) ?? "").some((other) =>
      other.startsWith("./") ? needsNode(other.slice(2), seen) : true,
    );
  };
  if (needsNode(main)) throw new Failure(`${entry} imports a module of Node at its start`);
  const first = [basename(GLOBALS).replace(/\.ts$/, ".js"), main];
  const others = [...texts.keys()].filter((name) => !first.includes(name) && !needsNode(name));
  return [...first, ...others].map((name) => `./${name}`);
}

/** What a bundled module imports when it is loaded. */
function imported(text) {
  return [
    ...text.matchAll(/(?:^|[;}\s])(?:import|export)\b[^;"'()]*?\bfrom\s*"([^"]+)"|(?:^|[;}\s])import\s*"([^"]+)"/g),
  ].map((match) => match[1] ?? match[2]);
}

function compile(compiler, args, object) {
  run(compiler, [...args, "-o", join(OUT, object)], { quiet: true });
}

/** Assembler text: a file as the bytes between `symbol` and `symbol_end`. */
function embed(section, symbol, file) {
  const names = `.global ${symbol}, ${symbol}_end`;
  return `${names}\n.balign 4096\n${symbol}:\n.incbin "${file}"\n${symbol}_end:\n`.replace(
    /^/,
    `.section ${section}\n`,
  );
}

function assemble(compiler, name, text) {
  const source = join(OUT, `${name}.S`);
  writeFileSync(source, `${text}.section .note.GNU-stack,"",@progbits\n`);
  compile(compiler, ["-c", source], `${name}.o`);
}

function link(compiler, images, program) {
  const names = Object.keys(RANGES);
  const texts = names.map((name, i) => embed(`${name},"aw",@progbits`, `arena_image${i}`, images[i]));
  assemble(compiler, "image", texts.join(""));
  const objects = ["host", "arena", "init", ...PARTS, "image"].map((name) => join(OUT, `${name}.o`));
  const place = names.flatMap((name, i) => [`-Wl,-u,arena_image${i}`, `-Wl,--section-start=${name}=${RANGES[name]}`]);
  run(compiler, ["-static", "-no-pie", "-Wl,--gc-sections", ...place, "-o", program, ...objects, "-lm"], {
    quiet: true,
  });
}

/** Name to address of all that is linked, but for the arena's own end. */
function symbols(program) {
  const lines = run("nm", [program], { quiet: true }).split("\n");
  return new Map(
    lines
      .map((line) => line.split(" "))
      .filter(([address, , name]) => address && name !== undefined && !name.startsWith("arena_image"))
      .map(([address, , name]) => [name, address]),
  );
}

function differences(first, second) {
  return [...first].filter(([name, address]) => second.get(name) !== address).map(([name]) => name);
}
