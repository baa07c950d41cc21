/**
 * The config that `tsrun spec` writes: what `runc spec` writes, with our ociVersion and hostname.
 * Rules: runc libcontainer/specconv/example.go; a test compares the two where runc is installed.
 */
import type { IdRange } from "../host.ts";
import type { Linux, LinuxIDMapping, Mount, Spec } from "./types.ts";

export const OCI_VERSION = "1.3.0";

/** For whom a config is. */
export interface DefaultSpecOptions {
  /** For a caller who is not root: a user namespace that maps this one user and group to root. */
  rootless?: Rootless | undefined;
  /** A cgroup namespace as well, as runc has it on cgroup v2. */
  cgroupNamespace?: boolean | undefined;
}

/** A caller who is not root, and what other ids he may map. */
export interface Rootless {
  uid: number;
  gid: number;
  /** Ranges of ids for the container's other users, mapped one after the other from 1 on. Both, or neither. */
  ranges?: { uids: readonly IdRange[]; gids: readonly IdRange[] } | undefined;
}

/** As newSpec, but asks nothing of the machine. A fresh object every time; the caller may change it. */
export function defaultSpec(options: DefaultSpecOptions = {}): Spec {
  const spec: Spec = {
    ociVersion: OCI_VERSION,
    process: {
      terminal: true,
      user: { uid: 0, gid: 0 },
      args: ["sh"],
      env: ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"],
      cwd: "/",
      capabilities: {
        bounding: capabilities(),
        effective: capabilities(),
        permitted: capabilities(),
        ambient: capabilities(),
      },
      rlimits: [{ type: "RLIMIT_NOFILE", hard: 1024, soft: 1024 }],
      noNewPrivileges: true,
    },
    root: { path: "rootfs", readonly: true },
    hostname: "tsrun",
    mounts: defaultMounts(),
    linux: defaultLinux(),
  };
  if (options.cgroupNamespace) spec.linux?.namespaces?.push({ type: "cgroup" });
  return options.rootless === undefined ? spec : rootless(spec, options.rootless);
}

function capabilities(): string[] {
  return ["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"];
}

function defaultMounts(): Mount[] {
  return [
    { destination: "/proc", type: "proc", source: "proc" },
    {
      destination: "/dev",
      type: "tmpfs",
      source: "tmpfs",
      options: ["nosuid", "strictatime", "mode=755", "size=65536k"],
    },
    {
      destination: "/dev/pts",
      type: "devpts",
      source: "devpts",
      options: ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"],
    },
    {
      destination: "/dev/shm",
      type: "tmpfs",
      source: "shm",
      options: ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"],
    },
    { destination: "/dev/mqueue", type: "mqueue", source: "mqueue", options: ["nosuid", "noexec", "nodev"] },
    { destination: "/sys", type: "sysfs", source: "sysfs", options: ["nosuid", "noexec", "nodev", "ro"] },
    {
      destination: "/sys/fs/cgroup",
      type: "cgroup",
      source: "cgroup",
      options: ["nosuid", "noexec", "nodev", "relatime", "ro"],
    },
  ];
}

function defaultLinux(): Linux {
  return {
    resources: { devices: [{ allow: false, access: "rwm" }] },
    namespaces: [{ type: "pid" }, { type: "network" }, { type: "ipc" }, { type: "uts" }, { type: "mount" }],
    maskedPaths: [
      "/proc/acpi",
      "/proc/asound",
      "/proc/kcore",
      "/proc/keys",
      "/proc/latency_stats",
      "/proc/timer_list",
      "/proc/timer_stats",
      "/proc/sched_debug",
      "/sys/firmware",
      "/proc/scsi",
    ],
    readonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
  };
}

/** Without root there is no group 5 to give the terminals, no own network to make a sysfs for, and no cgroup to limit. */
function rootless(spec: Spec, { uid, gid, ranges }: Rootless): Spec {
  const linux: Linux = { ...spec.linux };
  delete linux.resources;
  return {
    ...spec,
    mounts: (spec.mounts ?? []).map(rootlessMount),
    linux: {
      uidMappings: mappings(uid, ranges?.uids),
      gidMappings: mappings(gid, ranges?.gids),
      ...linux,
      namespaces: [...(linux.namespaces ?? []).filter(({ type }) => type !== "network"), { type: "user" }],
    },
  };
}

function mappings(own: number, ranges: readonly IdRange[] = []): LinuxIDMapping[] {
  const list: LinuxIDMapping[] = [{ containerID: 0, hostID: own, size: 1 }];
  let next = 1;
  for (const { first, count } of ranges) {
    list.push({ containerID: next, hostID: first, size: count });
    next += count;
  }
  return list;
}

function rootlessMount(mount: Mount): Mount {
  if (mount.destination === "/dev/pts") {
    return { ...mount, options: (mount.options ?? []).filter((word) => word !== "gid=5") };
  }
  if (mount.destination !== "/sys") return mount;
  return { destination: "/sys", type: "none", source: "/sys", options: ["rbind", "nosuid", "noexec", "nodev", "ro"] };
}
