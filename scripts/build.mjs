// `npm run build`: the native init, dist/tsrun (the CLI), dist/tsrun-bun (its rare parts), dist/index.js (the
// library) and its types. What has not changed since the last build is not built again; `--force` builds all.
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { buildObjects, linkProgram } from "./build-engine.mjs";
import { quickjsSources } from "./quickjs.mjs";
import { digest, ensureNodeModules, entry, Failure, findBun, output, ROOT, run, say } from "./tools.mjs";

const STAMPS = join(ROOT, "build/stamps.json");

/** Turns a Bun program into one file that reads nothing from the directory it is started in. */
const COMPILE = [
  "--compile",
  "--bytecode",
  "--minify",
  // The process is over before compiled code could pay: 4 ms of CPU time in the engine's threads.
  "--compile-jit-policy=1000",
  // What is imported on demand (help, the rare verbs) is then a file of its own, and costs nothing until it is
  // asked for; in one file it makes every other module slower to start, by 2 to 3 ms in all.
  "--format=esm",
  "--splitting",
  "--no-compile-autoload-bunfig",
  "--no-compile-autoload-dotenv",
  "--no-compile-autoload-tsconfig",
  "--no-compile-autoload-package-json",
];

/** Builds what is not up to date, and says so, a line for each product. */
export function build({ force = false } = {}) {
  ensureNodeModules();
  mkdirSync(join(ROOT, "build"), { recursive: true });
  mkdirSync(join(ROOT, "dist"), { recursive: true });
  const stamps = existsSync(STAMPS) ? JSON.parse(readFileSync(STAMPS, "utf8")) : {};

  // `tsrun --version` says which commit it is made from; without git (a source archive) it does not know.
  const commit = output("git", ["rev-parse", "--short=12", "HEAD"]);
  const defines = commit === undefined ? [] : [`--define=TSRUN_COMMIT=${JSON.stringify(commit)}`];
  const sources = ["src", "config", "build/init-binary.ts", "package-lock.json", "scripts/build.mjs"];

  const target = (name, outputs, inputs, more, make) => {
    const stamp = digest(inputs, more);
    const isCurrent = !force && stamps[name] === stamp && outputs.every((path) => existsSync(join(ROOT, path)));
    const before = performance.now();
    if (!isCurrent) {
      make();
      stamps[name] = stamp;
      writeFileSync(STAMPS, `${JSON.stringify(stamps, null, 2)}\n`);
    }
    const [first] = outputs;
    const size = first === undefined ? "" : ` ${kilobytes(first)}`;
    say(
      `${name.padEnd(8)} ${first}${size} ${isCurrent ? "(up to date)" : `(${((performance.now() - before) / 1000).toFixed(1)} s)`}`,
    );
  };

  const compiler = output("sh", ["-c", "command -v musl-gcc || command -v gcc || echo none"]) ?? "none";
  target(
    "init",
    ["build/tsrun-init", "build/init-binary.ts"],
    ["native", "scripts/build-native.mjs", "src/plan/step.ts"],
    compiler,
    () => run(process.execPath, ["scripts/build-native.mjs"], { quiet: true }),
  );

  target("help", ["build/help-texts.ts"], [...sources, "scripts/help-texts.ts"], "", () => {
    const text = run(findBun(), ["scripts/help-texts.ts"], { quiet: true });
    writeFileSync(join(ROOT, "build/help-texts.ts"), text);
  });

  const engine = quickjsSources();
  if (engine.directory !== undefined) {
    const inputs = [...sources, "build/tsrun-init", "build/help-texts.ts", "native/engine", "scripts/build-engine.mjs"];
    target("cli", ["dist/tsrun"], inputs, `${engine.directory} ${compiler} ${defines.join()}`, () => {
      buildObjects(engine.directory);
      linkProgram(engine.directory, "src/main.quickjs.ts", join(ROOT, "dist/tsrun"), defines);
      copyFileSync(join(engine.directory, "LICENSE"), join(ROOT, "dist/LICENSE.quickjs"));
    });
  } else {
    say(`without QuickJS dist/tsrun is the program of Bun, which starts slower: ${engine.reason}`);
  }
  target(engine.directory === undefined ? "cli" : "bun", ["dist/tsrun-bun"], sources, defines.join(), () => {
    const temporary = join(ROOT, `dist/.tsrun-bun.${process.pid}`);
    try {
      bun(["build", ...COMPILE, ...defines, "--external=koffi", join(ROOT, "src/main.ts"), `--outfile=${temporary}`]);
      // By rename: a running program stays what it is, and there is always a whole one.
      renameSync(temporary, join(ROOT, "dist/tsrun-bun"));
    } finally {
      rmSync(temporary, { force: true });
    }
  });
  if (engine.directory === undefined) {
    copyFileSync(join(ROOT, "dist/tsrun-bun"), join(ROOT, `dist/.tsrun.${process.pid}`));
    renameSync(join(ROOT, `dist/.tsrun.${process.pid}`), join(ROOT, "dist/tsrun"));
  }

  target("library", ["dist/index.js"], sources, defines.join(), () => {
    const temporary = join(ROOT, `dist/.index.${process.pid}.js`);
    bun([
      "build",
      "--target=node",
      "--format=esm",
      "--packages=external",
      "--external=bun:ffi",
      ...defines,
      join(ROOT, "src/index.ts"),
      `--outfile=${temporary}`,
    ]);
    renameSync(temporary, join(ROOT, "dist/index.js"));
  });

  target("types", ["dist/types/src/index.d.ts"], [...sources, "tsconfig.json", "tsconfig.build.json"], "", () => {
    rmSync(join(ROOT, "dist/types"), { recursive: true, force: true });
    run(process.execPath, ["node_modules/.bin/tsc", "-p", "tsconfig.build.json"], { quiet: true });
  });
}

/** bun, in build/: it leaves its temporary files in the working directory. */
function bun(args) {
  const result = spawnSync(findBun(), args, { cwd: join(ROOT, "build"), encoding: "utf8" });
  if (result.status !== 0) {
    process.stderr.write(`${result.stdout}${result.stderr}`);
    throw new Failure(`bun build: ${result.signal ?? `exit code ${result.status}`}`);
  }
}

function kilobytes(path) {
  const size = statSync(join(ROOT, path)).size;
  return size > 10_000_000 ? `${(size / 1e6).toFixed(0)} MB` : `${(size / 1024).toFixed(1)} KB`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await entry(() => build({ force: process.argv.includes("--force") }));
}
