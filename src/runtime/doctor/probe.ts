/** All the attempts of `doctor`, in an order that leaves nothing behind. */
import { detectCgroups } from "../../cgroup/manager.ts";
import { hostFacts } from "../../host.ts";
import {
  CLONE_NEWNET,
  CLONE_NEWNS,
  CLONE_NEWPID,
  CLONE_NEWUSER,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
} from "../../linux.ts";
import { NAMESPACE_FLAGS } from "../../spec/namespaces.ts";
import type { LinuxNamespaceType } from "../../spec/types.ts";
import { hex } from "../../storage/link.ts";
import { O_RDWR } from "../../sys/constants.ts";
import { closeQuiet, open } from "../../sys/file.ts";
import { existsSync, findProgram, readFileSync } from "../../sys/fs.ts";
import { randomBytes } from "../../sys/random.ts";
import { FIRST_FREE_FD, inUserNamespace, type PlainStep } from "../helper-init.ts";
import { mapIds } from "../idmap.ts";
import { stateRoot, storageRoot } from "../paths.ts";
import { probeCgroups } from "./cgroups.ts";
import { inDirectory, probeOverlay, probePivot } from "./filesystems.ts";
import { attempt, type Outcome, type OverlayProbes, outcomeOf, PROGRAMS, type Probes } from "./probes.ts";

/** @param root where states are to be; see CreateOptions.root */
export function probeHost(root: string | undefined): Probes {
  const hierarchies = detectCgroups();
  const facts = hostFacts(hierarchies.layout);
  const host = { euid: facts.euid, egid: facts.egid, privileged: facts.privileged, userns: facts.userns };
  const name = `tsrun-doctor-${hex(randomBytes(8))}`;
  let overlay: OverlayProbes | undefined;
  let pivot: Outcome;
  const layers = storageRoot();
  const store = inDirectory(layers, name, (dir) => {
    overlay = probeOverlay(host, dir);
    pivot = probePivot(host, dir);
  });
  return {
    kernel: facts.kernel,
    host,
    init: attempt(host.euid === 0 ? host : { ...host, euid: 0 }, "init", []),
    namespaces: probeNamespaces(host),
    proc: attempt(host, "proc", [
      ["clone", CLONE_NEWPID | CLONE_NEWNS, -1],
      ["fsmount", FIRST_FREE_FD, "proc", 0, ["source=proc"]],
    ]),
    sysfs: attempt(host, "sysfs", [
      ["unshare", CLONE_NEWNET | CLONE_NEWNS],
      // As the default config has it: where the host's is read-only, no other one may be mounted.
      ["fsmount", FIRST_FREE_FD, "sysfs", READ_ONLY, ["source=sysfs"]],
    ]),
    pivot: store ?? pivot,
    keyring: attempt(host, "keyring", [["keyring", name]]),
    seccomp: attempt(host, "seccomp", [["noNewPrivs"], ["seccomp", 0, ALLOW_ALL]]),
    seccompActions: words("/proc/sys/kernel/seccomp/actions_avail"),
    states: probeStates(root, name),
    store: { path: layers, outcome: store },
    overlay: overlay ?? nothingOf(store),
    cgroup: probeCgroups(hierarchies, name),
    subordinate: facts.subordinate,
    ranges: probeRanges(host, facts.subordinate),
    lsm: text("/sys/kernel/security/lsm").split(",").filter(Boolean),
    programs: Object.fromEntries(PROGRAMS.map((program) => [program, findProgram(program)])) as Probes["programs"],
    devices: { fuse: opened("/dev/fuse"), tun: opened("/dev/net/tun") },
    systemd: { running: existsSync("/run/systemd/system"), bus: hasBus(host.euid) },
    sysctls: readSysctls(),
  };
}

const READ_ONLY = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/** BPF_RET | BPF_K, SECCOMP_RET_ALLOW: struct sock_filter of linux/filter.h. */
const ALLOW_ALL = new Uint8Array([0x06, 0, 0, 0, 0, 0, 0xff, 0x7f]);

function probeNamespaces(host: Probes["host"]): Probes["namespaces"] {
  const outcomes: Partial<Probes["namespaces"]> = {};
  for (const type of Object.keys(NAMESPACE_FLAGS) as LinuxNamespaceType[]) {
    const flag = NAMESPACE_FLAGS[type];
    const isOwn = flag === CLONE_NEWUSER && host.euid !== 0;
    // A new network is of use with lo, for which another capability is needed than for the namespace.
    const more: PlainStep[] = flag === CLONE_NEWNET ? [["loopback"]] : [];
    outcomes[type] = attempt(host, `namespace ${type}`, isOwn ? [] : [["unshare", flag], ...more]);
  }
  return outcomes as Probes["namespaces"];
}

function probeStates(root: string | undefined, name: string): Probes["states"] {
  let path = root ?? "";
  const outcome = outcomeOf(() => {
    path = stateRoot(root);
  });
  return { path, outcome: outcome ?? inDirectory(path, name, () => {}) };
}

/** The first range of the user beside his own id. */
function probeRanges(host: Probes["host"], { uids, gids }: Probes["subordinate"]): Outcome {
  const [uid] = uids;
  const [gid] = gids;
  if (host.euid === 0 || uid === undefined || gid === undefined) return undefined;
  const maps = (own: number, { first, count }: { first: number; count: number }) => [
    { containerID: 0, hostID: own, size: 1 },
    { containerID: 1, hostID: first, size: count },
  ];
  return outcomeOf(() =>
    inUserNamespace("ranges of ids", [], (pid) =>
      mapIds(pid, { host, uidMappings: maps(host.euid, uid), gidMappings: maps(host.egid, gid) }),
    ),
  );
}

function nothingOf(outcome: Outcome): OverlayProbes {
  return {
    layers: outcome,
    single: outcome,
    userxattr: outcome,
    index: outcome,
    metacopy: outcome,
    redirect: outcome,
    volatile: outcome,
    idmapped: outcome,
  };
}

function opened(path: string): Outcome {
  return outcomeOf(() => closeQuiet(open(path, O_RDWR)));
}

/** systemd makes cgroups for root by the bus of the system, for others by that of the user. */
function hasBus(euid: number): boolean {
  if (euid === 0) return existsSync("/run/dbus/system_bus_socket");
  const { XDG_RUNTIME_DIR: dir, DBUS_SESSION_BUS_ADDRESS: address } = process.env;
  return Boolean(address) || (dir !== undefined && existsSync(`${dir}/bus`));
}

/** Knobs that keep containers from being made. */
const SYSCTLS = [
  "kernel.unprivileged_userns_clone",
  "kernel.apparmor_restrict_unprivileged_userns",
  "kernel.unprivileged_bpf_disabled",
  "vm.memfd_noexec",
  "net.ipv4.ip_unprivileged_port_start",
  "net.ipv4.ping_group_range",
  "user.max_user_namespaces",
  "user.max_mnt_namespaces",
  "user.max_pid_namespaces",
  "user.max_net_namespaces",
  "user.max_cgroup_namespaces",
];

function readSysctls(): Record<string, string> {
  const values: Record<string, string> = {};
  for (const name of SYSCTLS) {
    const value = text(`/proc/sys/${name.replaceAll(".", "/")}`).trim();
    if (value !== "") values[name] = value.replaceAll(/\s+/g, " ");
  }
  return values;
}

function words(path: string): string[] {
  return text(path).trim().split(/\s+/).filter(Boolean);
}

function text(path: string): string {
  try {
    return readFileSync(path);
  } catch {
    // This kernel does not have it, or the caller may not know it.
    return "";
  }
}
