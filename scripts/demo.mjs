// `npm run demo`: on a Debian 12 machine with root, Node 20, npm and gcc. Installs what is missing,
// builds tsrun, makes a bundle of three layer directories, runs it, and shows what happened. Leaves
// nothing mounted and nothing behind but dist/, build/, node_modules/ and the packages it installed.
import { spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { build } from "./build.mjs";
import { ensureDebianPackages, ensureNodeModules, entry, Failure, isRoot, ROOT, run, say } from "./tools.mjs";

const ID = "tsrun-demo";
const TSRUN = join(ROOT, "dist/tsrun");

function demo() {
  if (!isRoot) throw new Failure("the demo mounts file systems and makes cgroups: run it as root (sudo npm run demo)");

  heading("1. What is needed");
  ensureNodeModules();
  const lacking = ensureDebianPackages({ gcc: "gcc", "musl-tools": "musl-gcc", "busybox-static": "/bin/busybox" });
  if (lacking.includes("busybox-static")) throw new Failure("busybox-static could not be installed");
  say("everything is there");

  heading("2. Build");
  build();

  // An earlier demo may have been interrupted.
  if (spawnSync(TSRUN, ["state", ID], { stdio: "ignore" }).status === 0) run(TSRUN, ["delete", "--force", ID]);
  const work = mkdtempSync("/var/tmp/tsrun-demo-");
  try {
    heading("3. A bundle of three layers");
    const bundle = join(work, "bundle");
    const layers = makeLayers(work);
    makeBundle(bundle, layers);
    const before = mounts();
    const untouched = listing(work);

    heading("4. tsrun run, seen from inside");
    // --keep: what the container wrote stays until `tsrun delete`, so that it can be looked at.
    say(`$ dist/tsrun run --keep --bundle ${bundle} ${ID}`);
    const result = spawnSync(TSRUN, ["run", "--keep", "--bundle", bundle, ID], {
      stdio: ["ignore", "inherit", "inherit"],
    });
    say(`exit code ${result.status ?? result.signal} (the application ends with 7)`);
    if (result.status !== 7) throw new Failure("the container did not run as it should");

    heading("5. What the read-write layer holds");
    showReadWriteLayer();
    say(listing(work) === untouched ? "the three layers are byte for byte what they were" : "A LAYER WAS CHANGED");

    heading("6. Afterwards");
    run(TSRUN, ["delete", ID]);
    say(`$ dist/tsrun delete ${ID}`);
    const left = mounts().filter((mount) => !before.includes(mount));
    const isUnknown = spawnSync(TSRUN, ["state", ID], { stdio: "ignore" }).status !== 0;
    say(`mounts left: ${left.length}; container known: ${isUnknown ? "no" : "yes"}; bundle removed`);
    if (left.length > 0 || !isUnknown || listing(work) !== untouched)
      throw new Failure("the demo left something behind");
  } finally {
    if (spawnSync(TSRUN, ["state", ID], { stdio: "ignore" }).status === 0) run(TSRUN, ["delete", "--force", ID]);
    removeUnlessMounted(work);
  }
}

function heading(text) {
  say(process.stdout.isTTY ? `\n\x1b[1m${text}\x1b[0m` : `\n${text}`);
}

/** Three directories, as an image's layers would be: each holds only what differs from those below. */
function makeLayers(work) {
  const [base, application, changes] = ["base", "application", "changes"].map((name) => {
    const path = join(work, "layers", name);
    mkdirSync(path, { recursive: true });
    return path;
  });

  for (const dir of ["bin", "etc", "tmp", "root", "proc", "sys", "dev", "usr/share"])
    mkdirSync(join(base, dir), { recursive: true });
  chmodSync(join(base, "tmp"), 0o1777);
  copyFileSync("/bin/busybox", join(base, "bin/busybox"));
  chmodSync(join(base, "bin/busybox"), 0o755);
  for (const name of run("/bin/busybox", ["--list"], { quiet: true }).trim().split("\n")) {
    if (name !== "busybox") symlinkSync("busybox", join(base, "bin", name));
  }
  writeFileSync(join(base, "etc/passwd"), "root:x:0:0:root:/root:/bin/sh\n");
  writeFileSync(join(base, "etc/motd"), "a busybox base system\n");
  writeFileSync(join(base, "usr/share/manual.txt"), "five hundred pages\n");

  mkdirSync(join(application, "app"));
  mkdirSync(join(application, "etc"));
  writeFileSync(join(application, "app/start"), APPLICATION);
  chmodSync(join(application, "app/start"), 0o755);
  writeFileSync(join(application, "etc/app.conf"), "mode=factory\n");

  mkdirSync(join(changes, "etc"));
  mkdirSync(join(changes, "usr/share"), { recursive: true });
  writeFileSync(join(changes, "etc/app.conf"), "mode=production\n");
  // Overlay's word for "deleted": a character device 0:0 of that name.
  run("mknod", [join(changes, "usr/share/manual.txt"), "c", "0", "0"]);

  say(`base         busybox, /etc/motd, /usr/share/manual.txt
application  /app/start, /etc/app.conf (mode=factory)
changes      /etc/app.conf (mode=production), /usr/share/manual.txt deleted`);
  return [base, application, changes];
}

/** The container's process: shows where it is, writes, deletes, and asks for more than it may have. */
const APPLICATION = `#!/bin/sh
set -- /proc/[0-9]*
echo "host name       $(hostname), pid $$ of $#"
echo "root directory  $(ls / | tr '\\n' ' ')"
echo "app.conf        $(cat /etc/app.conf)"
[ -e /usr/share/manual.txt ] || echo "manual.txt      deleted by the upper layer"
echo "hosts           $(grep "$(hostname)" /etc/hosts)"
echo "network         $(ip -o -4 addr show | awk '{ print $2, $4 }' | tr '\\n' ' ')"
echo "capabilities    $(awk '/^CapEff/ { print $2 }' /proc/self/status)"
for file in memory.max memory/memory.limit_in_bytes pids.max pids/pids.max cpu.max cpu/cpu.cfs_quota_us; do
  [ -r /sys/fs/cgroup/$file ] && echo "limit           $file = $(cat /sys/fs/cgroup/$file)"
done
dd if=/dev/zero of=/dev/null bs=64M count=1 2>/dev/null
echo "64 MB of memory refused: dd ended with $? (137 = killed)"
echo "written by the container" >/root/notes.txt
echo "changed by the container" >>/etc/motd
rm /etc/app.conf
exit 7
`;

function makeBundle(bundle, layers) {
  mkdirSync(bundle);
  run(TSRUN, ["spec", "--bundle", bundle]);
  const file = join(bundle, "config.json");
  const config = JSON.parse(readFileSync(file, "utf8"));
  config.annotations = {
    ...config.annotations,
    "org.tsrun.layers": JSON.stringify(layers.map((path) => path.replace(/^.*\/layers\//, "../layers/"))),
  };
  config.hostname = "demo";
  config.root.readonly = false;
  config.process.terminal = false;
  config.process.args = ["/app/start"];
  config.linux.resources = {
    ...config.linux.resources,
    memory: { limit: 32 << 20, swap: 32 << 20 },
    pids: { limit: 24 },
    cpu: { quota: 50_000, period: 100_000 },
  };
  writeFileSync(file, `${JSON.stringify(config, null, 2)}\n`);
  say(`config.json  what \`tsrun spec\` writes, and: 32 MB memory, 24 processes, half a CPU,
             annotation org.tsrun.layers = ${config.annotations["org.tsrun.layers"]}`);
}

/** The files of the container's own layer, as overlay keeps them. */
function showReadWriteLayer() {
  const mountId = readFileSync(`/var/lib/tsrun/image/overlay2/layerdb/mounts/${ID}/mount-id`, "utf8").trim();
  const diff = `/var/lib/tsrun/overlay2/${mountId}/diff`;
  say(diff);
  for (const file of readdirSync(diff, { recursive: true }).sort()) {
    const stat = lstatSync(join(diff, file));
    if (stat.isCharacterDevice() && stat.rdev === 0) say(`  /${file}: deleted (character device 0:0)`);
    else if (stat.isFile()) say(`  /${file}: ${JSON.stringify(readFileSync(join(diff, file), "utf8"))}`);
  }
}

function mounts() {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .trim()
    .split("\n")
    .map((line) => line.split(" ").slice(3).join(" "));
}

/** Names, kinds, sizes and contents below a directory, as one text to compare. */
function listing(path) {
  const lines = readdirSync(path, { recursive: true })
    .sort()
    .map((name) => {
      const stat = lstatSync(join(path, name));
      const content = stat.isFile() ? readFileSync(join(path, name)).toString("latin1") : "";
      return [name, stat.mode, stat.rdev, stat.size, content].join("\0");
    });
  return lines.join("\n");
}

/** Nothing is removed through a mount. */
function removeUnlessMounted(path) {
  if (!existsSync(path)) return;
  const real = realpathSync(path);
  if (mounts().some((line) => line.split(" ")[1]?.startsWith(real))) throw new Failure(`still mounted below ${real}`);
  rmSync(real, { recursive: true });
}

await entry(demo);
