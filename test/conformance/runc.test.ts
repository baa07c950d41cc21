/**
 * What a process sees under tsrun is what it sees under runc, from the same bundle: the default config.json of
 * `runc spec`, root and rootless form. Each difference that is allowed is named here with its reason.
 */
import { expect, test } from "vitest";
import { type Bundle, defaultConfig, makeBundle } from "../helpers/bundle.ts";
import { describeNeeds } from "../helpers/needs.ts";
import { newId, runOk } from "../helpers/runtime.ts";

/** Prints one fact a line; sections are told apart by their first word. */
const PROBE = `
cd /
id | sed 's/^/id /'
grep -E '^(Umask|Groups|NStgid|NoNewPrivs|Seccomp|Seccomp_filters|Cap|SigBlk|SigIgn|SigCgt|Cpus_allowed_list)' /proc/self/status | grep -v NStgid | sed 's/^/status /'
sed 's/^/limit /' /proc/self/limits
env | sort | grep -v -E '^(SHLVL|PWD|_)=' | sed 's/^/env /'
pwd | sed 's/^/cwd /'
hostname | sed 's/^/hostname /'
echo oom $(cat /proc/self/oom_score_adj)
echo pid $$
# Descriptors of this shell: not the one that lists them.
for fd in 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do [ -e /proc/$$/fd/$fd ] && echo fd $fd; done
sed 's/^/uid_map /' /proc/self/uid_map
sed 's/^/gid_map /' /proc/self/gid_map
cat /proc/self/setgroups | sed 's/^/setgroups /'
cat /proc/self/mountinfo | while read -r id parent dev root point rest; do echo "mount $point $rest"; done
find /dev | sort | while read -r path; do echo "dev $(stat -c '%n %F %a %u %g %t:%T' $path) $(readlink $path)"; done
for ns in cgroup ipc mnt net pid time user uts; do echo "ns $ns $(readlink /proc/self/ns/$ns)"; done
ip link 2>/dev/null | grep -E '^[0-9]' | sed 's/qlen.*//; s/^/link /'
for path in /proc/acpi /proc/kcore /proc/keys /proc/timer_list /proc/sched_debug /proc/scsi /sys/firmware; do
  if [ -d $path ]; then echo "masked $path dir $(ls -A $path | wc -l)"; elif [ -e $path ]; then echo "masked $path file $(head -c 1 $path 2>/dev/null | wc -c)"; fi
done
for path in /proc/sys/kernel/domainname /proc/irq /proc/bus /proc/fs /proc/sysrq-trigger /sys/kernel /etc/passwd; do
  [ -e $path ] && if [ -d $path ]; then mkdir $path/x 2>/dev/null && echo "writable $path" && rmdir $path/x || echo "unwritable $path"; else (: >> $path) 2>/dev/null && echo "writable $path" || echo "unwritable $path"; fi
done
stat -c 'root %F %a' /
cat /proc/self/cgroup | sed 's/^/cgroup /'
`;

type Facts = Map<string, string[]>;

function factsOf(output: string): Facts {
  const facts: Facts = new Map();
  for (const line of output.split("\n")) {
    if (line === "") continue;
    const [section = "", ...rest] = line.split(" ");
    facts.set(section, [...(facts.get(section) ?? []), rest.join(" ")]);
  }
  return facts;
}

/** What may differ, and why: the line as it is compared. */
const ALLOWED: Record<string, (line: string, id: string) => string> = {
  // The cgroup is named after the container.
  cgroup: (line, id) => line.replaceAll(id, "<id>"),
  mount: (line, id) => mountFact(line.replaceAll(id, "<id>")),
};

const MASKED =
  /^\/(proc\/(acpi|scsi|keys|timer_list|sched_debug|kcore|asound|latency_stats|timer_stats)|sys\/firmware)$/;

/**
 * - Order and peer group numbers are no matter of the container's: lines are sorted, numbers left out.
 * - What masks a path is nodev, noexec and nosuid in tsrun, and for a file the host's /dev/null instead of the
 *   container's, as the container's is in the image's reach: only that it is masked is compared.
 * - The tmpfs of /sys/fs/cgroup is read-only in tsrun when the mount says so; runc 1.1.5 leaves it writable.
 * - On v2, without a cgroup namespace, tsrun binds the container's cgroup, where runc mounts the file system anew.
 * - The root is private unless the config says otherwise, as under crun; runc's is a slave of the host's.
 */
function mountFact(line: string): string {
  const match = /^(\S+) (\S+) (.*?)- (\S+) (\S+) (\S+)$/.exec(line);
  if (!match) return line;
  const [, point = "", flags = "", optional = "", type = "", source = "", data = ""] = match;
  if (MASKED.test(point)) return `${point} masked`;
  if (type === "cgroup2") return `${point} ${flags} ${type}`;
  const propagation = point === "/" ? "" : optional.replace(/\b(master|shared|propagate_from):\d+/g, "$1").trim();
  const words = flags.split(",").filter((word) => point !== "/sys/fs/cgroup" || !/^r[ow]$/.test(word));
  return `${point} ${words.sort().join(",")} ${propagation} ${type} ${source} ${data.split(",").sort().join(",")}`;
}

function comparable(facts: Facts, section: string, id: string): string[] {
  const normal = ALLOWED[section] ?? ((line: string) => line);
  return (facts.get(section) ?? [])
    .map((line) => normal(line, id))
    .filter((line) => line !== undefined)
    .sort();
}

/** Which namespaces are not the ones of this test. */
function newNamespaces(facts: Facts, own: Facts): string[] {
  const host = new Set(own.get("ns"));
  return (facts.get("ns") ?? []).filter((line) => !host.has(line)).map((line) => line.split(" ")[0] ?? "");
}

async function hostNamespaces(): Promise<Facts> {
  const { readlinkSync } = await import("node:fs");
  const names = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];
  return new Map([["ns", names.map((name) => `${name} ${readlinkSync(`/proc/self/ns/${name}`)}`)]]);
}

async function compare(bundle: Bundle): Promise<void> {
  const id = newId();
  const tsrun = factsOf(runOk(["run", "-b", bundle.path, id]));
  const runc = factsOf(runOk(["run", "-b", bundle.path, id], { runtime: "runc" }));
  const own = await hostNamespaces();
  expect(newNamespaces(tsrun, own)).toEqual(newNamespaces(runc, own));
  for (const section of new Set([...runc.keys(), ...tsrun.keys()])) {
    if (section === "ns") continue;
    expect(comparable(tsrun, section, id), section).toEqual(comparable(runc, section, id));
  }
}

describeNeeds({ root: true, native: true, commands: ["runc"] })(
  "a process sees under tsrun what it sees under runc",
  () => {
    test("with the default config of `runc spec`", async () => {
      const bundle = makeBundle({ args: ["sh", "-c", PROBE] });
      await compare(bundle);
    });

    test("with the default config, read-only root as it says", async () => {
      const bundle = makeBundle({ args: ["sh", "-c", PROBE] });
      bundle.edit((spec) => {
        spec.root.readonly = defaultConfig().root.readonly ?? true;
      });
      await compare(bundle);
    });

    test("with the default config of `runc spec --rootless`", async () => {
      const bundle = makeBundle({ args: ["sh", "-c", PROBE], rootless: true });
      await compare(bundle);
    });

    test("as another user, with groups, umask, limits and a score", async () => {
      const bundle = makeBundle({
        args: ["sh", "-c", PROBE],
        edit(spec) {
          spec.process.user = { uid: 1000, gid: 1000, umask: 0o27, additionalGids: [2000, 5] };
          spec.process.oomScoreAdj = 321;
          spec.process.rlimits = [
            { type: "RLIMIT_NOFILE", soft: 100, hard: 200 },
            { type: "RLIMIT_CORE", soft: 0, hard: 0 },
          ];
          spec.process.cwd = "/made/up";
          spec.process.noNewPrivileges = false;
          spec.process.capabilities = {
            bounding: ["CAP_CHOWN", "CAP_KILL", "CAP_NET_RAW"],
            permitted: ["CAP_CHOWN", "CAP_KILL"],
            effective: ["CAP_CHOWN"],
            inheritable: ["CAP_CHOWN", "CAP_KILL"],
            ambient: ["CAP_KILL"],
          };
        },
      });
      await compare(bundle);
    });

    test("with mounts, devices and sysctls", async () => {
      const bundle = makeBundle({
        args: ["sh", "-c", PROBE],
        edit(spec) {
          spec.mounts.push(
            { destination: "/mnt/a", type: "tmpfs", source: "a", options: ["size=1m", "mode=1770", "nosuid", "ro"] },
            { destination: "/mnt/b", type: "bind", source: "/usr", options: ["bind", "ro", "nosuid"] },
            {
              destination: "/mnt/c",
              type: "bind",
              source: "/dev/shm",
              // Where the source is nosuid and nodev, runc 1.1 makes it neither unless that is asked for; tsrun keeps it.
              options: ["rbind", "rslave", "nosuid", "nodev", "noexec", "rw"],
            },
          );
          spec.linux.devices = [
            { path: "/dev/fuse", type: "c", major: 10, minor: 229, fileMode: 0o640, uid: 3, gid: 4 },
            { path: "/dev/sub/zero", type: "c", major: 1, minor: 5 },
          ];
          spec.linux.sysctl = { "net.ipv4.ip_forward": "1", "kernel.shmmax": "4096" };
        },
      });
      await compare(bundle);
    });
  },
);
