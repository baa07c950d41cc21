// The part of `npm run bench` that is about images: import beside umoci and skopeo + podman, mounts of many layers,
// and `layer diff` by the size of the image. Runs in the sandbox; one store, on tmpfs, for all of them.
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { has, ROOT, say } from "../../scripts/tools.mjs";

const BUN = join(ROOT, "node_modules/bun/bin/bun.exe");

/** @returns {Record<string, Record<string, number>>} milliseconds, by measurement and program */
export function storageBench(tsrun, { quick }) {
  const scratch = mkdtempSync("/var/lib/tsrun/bench-");
  const results = {};
  try {
    const missing = ["umoci", "skopeo", "podman"].filter((name) => !has(name));
    if (missing.length > 0) say(`not installed, so not compared: ${missing.join(" ")}`);
    const small = quick ? 10_000 : 50_000;
    if (has("umoci")) {
      results["import, 100 MB"] = imports(tsrun, layout(scratch, "big", bigFiles), scratch, quick ? 2 : 5);
      results[`import, ${small / 1000},000 files`] = imports(
        tsrun,
        layout(scratch, "small", (dir) => smallFiles(dir, small)),
        scratch,
        quick ? 1 : 3,
      );
    }
    Object.assign(results, inBun(scratch, small));
    return results;
  } finally {
    unmountPodman(scratch);
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Podman's overlay driver binds its directory on itself, and leaves that when it fails. */
function unmountPodman(scratch) {
  spawnSync("umount", ["-q", join(scratch, "podman/overlay")], { stdio: "ignore" });
}

function must(command, args, cwd) {
  const result = spawnSync(command, args, { cwd, encoding: "utf8", maxBuffer: 1 << 28 });
  if (result.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${result.stderr}`);
  return result.stdout;
}

function layout(scratch, name, fill) {
  const path = join(scratch, name);
  const bundle = join(scratch, `${name}-bundle`);
  must("umoci", ["init", "--layout", path]);
  must("umoci", ["new", "--image", `${path}:v1`]);
  must("umoci", ["unpack", "--image", `${path}:v1`, bundle]);
  fill(join(bundle, "rootfs"));
  must("umoci", ["repack", "--image", `${path}:v1`, bundle]);
  rmSync(bundle, { recursive: true });
  return path;
}

/** 100 MB in 50 files, of which two thirds cannot be compressed. */
function bigFiles(rootfs) {
  const script =
    'mkdir big; for i in $(seq 50); do head -c 1333333 /dev/urandom > big/$i; yes "line $i" | head -c 666667 >> big/$i; done';
  must("bash", ["-c", script], rootfs);
}

function smallFiles(rootfs, count) {
  for (let dir = 0; dir < count / 250; dir++) {
    mkdirSync(join(rootfs, `d${dir}`));
    for (let file = 0; file < 250; file++) writeFileSync(join(rootfs, `d${dir}/f${file}`), `file ${dir} ${file}\n`);
  }
}

/** Median of importing the layout anew, interleaved. */
function imports(tsrun, path, scratch, rounds) {
  const at = (name) => join(scratch, name);
  const programs = {
    tsrun: () => must(tsrun, ["image", "import", "-q", "--store", at("store"), path]),
    umoci: () => must("umoci", ["unpack", "--image", `${path}:v1`, at("unpacked")]),
  };
  if (has("skopeo") && has("podman")) {
    const roots = ["--root", at("podman"), "--runroot", at("podman-run"), "--storage-driver", "overlay"];
    // Where it would keep networks is read-only in the sandbox.
    writeFileSync(at("containers.conf"), `[network]\nnetwork_config_dir = "${at("networks")}"\n`);
    process.env.CONTAINERS_CONF = at("containers.conf");
    programs["skopeo+podman"] = () => {
      must("skopeo", ["copy", "-q", `oci:${path}:v1`, `oci-archive:${at("archive.tar")}`]);
      must("podman", [...roots, "load", "-q", "-i", at("archive.tar")]);
    };
  }
  const times = {};
  for (let round = 0; round < rounds; round++) {
    for (const [name, job] of Object.entries(programs)) {
      const begin = performance.now();
      try {
        job();
        times[name] ??= [];
        times[name].push(performance.now() - begin);
      } catch (error) {
        if (name !== "skopeo+podman") throw error;
        say(`podman load does not work here: ${String(error).split("\n")[0].slice(0, 200)}`);
        delete programs[name];
      }
      unmountPodman(scratch);
      for (const made of ["store", "unpacked", "podman", "podman-run", "archive.tar"]) must("rm", ["-rf", at(made)]);
    }
  }
  return Object.fromEntries(
    Object.entries(times).map(([name, list]) => [name, list.sort((a, b) => a - b)[list.length >> 1]]),
  );
}

/** What needs the library: mounts and diffs, in Bun as the command line has them. */
function inBun(scratch, files) {
  const program = join(scratch, "program.ts");
  writeFileSync(program, PROGRAM);
  const out = must(BUN, [program, scratch, String(files)]);
  return JSON.parse(out.trim().split("\n").at(-1));
}

const PROGRAM = `
import { chmodSync, mkdirSync, unlinkSync, writeFileSync } from "node:fs";
import { prepareRootfs, removeRootfs } from "${ROOT}/src/storage/rootfs.ts";
import { mountRootfs } from "${ROOT}/src/storage/mount.ts";
import { diffContainer } from "${ROOT}/src/storage/diff.ts";
import { storeContext } from "${ROOT}/src/storage/context.ts";
import { close } from "${ROOT}/src/sys/file.ts";
const [scratch, files] = process.argv.slice(2);
const storageRoot = scratch + "/mounts";
const results = {};
const median = (list) => list.sort((a, b) => a - b)[list.length >> 1];
for (let i = 0; i < 400; i++) mkdirSync(scratch + "/layers/l" + i, { recursive: true });
for (const count of [10, 100, 400]) {
  const layers = Array.from({ length: count }, (_, i) => scratch + "/layers/l" + i);
  const times = [];
  for (let round = 0; round < 15; round++) {
    const begin = performance.now();
    const record = prepareRootfs({ id: "m", layers, userns: false, storageRoot });
    const fd = mountRootfs(record);
    times.push(performance.now() - begin);
    close(fd);
    removeRootfs(record);
  }
  results["mount, " + count + " layers"] = { tsrun: median(times) };
}
for (const count of [500, Number(files)]) {
  const layer = scratch + "/image-" + count;
  for (let i = 0; i < count; i++) {
    if (i % 250 === 0) mkdirSync(layer + "/d" + i / 250, { recursive: true });
    writeFileSync(layer + "/d" + Math.floor(i / 250) + "/f" + (i % 250), "x");
  }
  const record = prepareRootfs({ id: "d", layers: [layer], userns: false, storageRoot });
  const fd = mountRootfs(record);
  const root = "/proc/self/fd/" + fd;
  for (let i = 0; i < 4; i++) writeFileSync(root + "/d0/new" + i, "new");
  for (let i = 0; i < 3; i++) unlinkSync(root + "/d1/f" + i);
  for (let i = 3; i < 6; i++) chmodSync(root + "/d1/f" + i, 0o600);
  const context = storeContext(storageRoot, undefined);
  const times = [];
  for (let round = 0; round < 15; round++) {
    const begin = performance.now();
    const changes = diffContainer(context, "d");
    times.push(performance.now() - begin);
    if (changes.length !== 12) throw new Error("12 changes, not " + JSON.stringify(changes));
  }
  close(fd);
  removeRootfs(record);
  results["diff after 10 changes, " + count + " files"] = { tsrun: median(times) };
}
console.log(JSON.stringify(results));
`;

/** A table of milliseconds, with the ratio to umoci where there is one. */
export function storageTable(results) {
  const rows = Object.entries(results).map(([name, times]) => {
    const cells = Object.entries(times).map(
      ([program, ms]) => `${program} ${ms < 20 ? ms.toFixed(2) : ms.toFixed(0)} ms`,
    );
    const ratio = times.umoci === undefined ? "" : `  (${(times.tsrun / times.umoci).toFixed(2)} of umoci)`;
    return `${name.padEnd(40)} ${cells.join(", ")}${ratio}`;
  });
  return rows.join("\n");
}
