/** From what `doctor` found out to what it means: pure. */
import type { LinuxNamespaceType } from "../../spec/types.ts";
import { cgroupChecks } from "./cgroup-verdicts.ts";
import type { Outcome, OverlayProbes, Probes } from "./probes.ts";
import { type Check, isRoot, type Verdict } from "./verdict.ts";

export type { Check };

/** What was found of a machine. */
export interface Diagnosis {
  /** Can a container with the default config be run? */
  canRun: boolean;
  checks: Check[];
}

export function diagnose(probes: Probes): Diagnosis {
  const tried: Verdict[] = [
    kernelCheck(probes),
    { name: "caller", status: "ok", detail: callerOf(probes) },
    need(works("init", probes.init, "runs from a sealed memfd", initFix(probes))),
    ...namespaceChecks(probes),
    need(works("mount proc", probes.proc, "in a pid namespace", procFix(probes))),
    works("mount sysfs", probes.sysfs, "in a network namespace", "bind /sys instead"),
    pivotCheck(probes),
    keyringCheck(probes),
    seccompCheck(probes),
    need(works("states", probes.states.outcome, probes.states.path, "--root DIR: name a directory that you may write")),
    works("store", probes.store.outcome, probes.store.path, "--store DIR, or free the way there"),
    ...overlayChecks(probes),
    ...cgroupChecks(probes),
    idCheck(probes),
    { name: "security modules", status: "ok", detail: probes.lsm.join(", ") || "none is known" },
    ...programChecks(probes),
    ...sysctlChecks(probes),
  ];
  const verdicts = tried.map((verdict) => inMissingNamespace(probes, verdict));
  return {
    canRun: !verdicts.some(({ isNeeded, status }) => isNeeded && status === "missing"),
    checks: verdicts.map(({ isNeeded: _, ...check }) => check),
  };
}

/**
 * Nearly all is tried in namespaces, by an ordinary user in one of users: where those cannot be made nothing else is
 * known, and no other fix helps.
 */
function inMissingNamespace({ namespaces }: Probes, verdict: Verdict): Verdict {
  const types = /^(?:unshare|clone3) ([a-z,]+): /.exec(verdict.detail)?.[1]?.split(",") as
    | LinuxNamespaceType[]
    | undefined;
  const missing = types?.filter((type) => namespaces[type] !== undefined && verdict.name !== `namespace ${type}`);
  if (missing === undefined || missing.length === 0) return verdict;
  const { fix: _, ...rest } = verdict;
  return { ...rest, detail: `not tried: it needs namespace ${missing.join(" and ")}` };
}

function works(name: string, outcome: Outcome, detail: string, fix?: string): Verdict {
  if (outcome === undefined) return { name, status: "ok", detail };
  return { name, status: "missing", detail: outcome.why, ...(fix !== undefined && { fix }) };
}

function need(verdict: Verdict): Verdict {
  return { ...verdict, isNeeded: true };
}

function callerOf({ host }: Probes): string {
  if (host.euid !== 0) return `user ${host.euid}${host.userns ? " of a user namespace" : ""}`;
  if (host.userns) return "root of a user namespace";
  return host.privileged ? "root" : "root without CAP_SYS_ADMIN";
}

function kernelCheck({ kernel: [major, minor] }: Probes): Verdict {
  const release = `${major}.${minor}`;
  if (major > 5 || (major === 5 && minor >= 12)) return { name: "kernel", status: "ok", detail: `Linux ${release}` };
  const detail = `Linux ${release}; tsrun needs 5.12, for mount_setattr(2)`;
  return { name: "kernel", status: "missing", detail, fix: "use a newer kernel", isNeeded: true };
}

function initFix({ sysctls }: Probes): string | undefined {
  return sysctls["vm.memfd_noexec"] === "2" ? "sysctl -w vm.memfd_noexec=0: no memfd may be executed now" : undefined;
}

/** Those of the default config; the others are asked for by few. */
const NEEDED: readonly LinuxNamespaceType[] = ["mount", "pid", "network", "ipc", "uts"];

function namespaceChecks(probes: Probes): Verdict[] {
  const types = Object.keys(probes.namespaces) as LinuxNamespaceType[];
  return types.map((type) => {
    const outcome = probes.namespaces[type];
    const check = works(
      `namespace ${type}`,
      outcome,
      "can be made",
      outcome && namespaceFix(probes, type, outcome.code),
    );
    const isNeeded = NEEDED.includes(type) || (type === "user" && !isRoot(probes));
    return { ...check, isNeeded };
  });
}

function namespaceFix(probes: Probes, type: LinuxNamespaceType, code: string): string | undefined {
  const { sysctls } = probes;
  if (code === "ENOSPC") return `a limit is reached: sysctl user.max_${SYSCTL_NAMES[type] ?? type}_namespaces`;
  if (code === "EINVAL" || code === "ENOSYS") return "this kernel is built without it, or too old (time: Linux 5.6)";
  if (!isRoot(probes)) {
    if (sysctls["kernel.unprivileged_userns_clone"] === "0") return "sysctl -w kernel.unprivileged_userns_clone=1";
    if (sysctls["kernel.apparmor_restrict_unprivileged_userns"] === "1") return APPARMOR_FIX;
  }
  if (code === "EPERM" && probes.namespaces[type]?.why.startsWith("loopback") === true)
    return "bringing lo up needs CAP_NET_ADMIN";
  if (code === "EPERM")
    return "who made this process's container denies it: by seccomp, a security module or capabilities";
  return undefined;
}

const APPARMOR_FIX =
  "load an AppArmor profile for tsrun that has `userns,`, or sysctl -w kernel.apparmor_restrict_unprivileged_userns=0";

const SYSCTL_NAMES: Partial<Record<LinuxNamespaceType, string>> = { mount: "mnt", network: "net" };

function procFix({ proc, namespaces }: Probes): string | undefined {
  if (proc === undefined || namespaces.pid !== undefined) return undefined;
  return "the /proc of an outer container is masked: start that one with an unmasked /proc, or bind /proc";
}

function pivotCheck({ pivot }: Probes): Verdict {
  if (pivot === undefined) return { name: "pivot_root", status: "ok", detail: "works" };
  const verdict = { name: "pivot_root", status: "limited", detail: pivot.why } as const;
  // Nothing is said of pivot_root where there is no directory to try it in.
  if (pivot.why.startsWith("mkdir ")) return { ...verdict, detail: `not tried: ${pivot.why}` };
  return { ...verdict, fix: "run with --no-pivot, as on an initramfs, or where a seccomp filter forbids it" };
}

function keyringCheck({ keyring }: Probes): Verdict {
  if (keyring === undefined) return { name: "session keyring", status: "ok", detail: "a new one can be joined" };
  return { name: "session keyring", status: "limited", detail: keyring.why, fix: "run with --no-new-keyring" };
}

function seccompCheck({ seccomp, seccompActions }: Probes): Verdict {
  const check = works("seccomp", seccomp, seccompActions.join(" ") || "filters are taken", "CONFIG_SECCOMP_FILTER");
  if (check.status !== "ok" || seccompActions.length === 0 || seccompActions.includes("user_notif")) return check;
  return { ...check, status: "limited", detail: `${check.detail}: no user_notif, so no SCMP_ACT_NOTIFY` };
}

/** Words of overlayfs, and what they are for. */
const OVERLAY: readonly (readonly [keyof OverlayProbes, string, string])[] = [
  ["layers", "overlay", "layers are mounted by the kernel"],
  ["single", "overlay lowerdir+", "500 layers"],
  ["userxattr", "overlay userxattr", "in user namespaces"],
  ["index", "overlay index", "can be asked for"],
  ["metacopy", "overlay metacopy", "can be asked for"],
  ["redirect", "overlay redirect_dir", "is there"],
  ["volatile", "overlay volatile", "no waiting for the disk"],
  ["idmapped", "overlay idmapped", "layers in user namespaces without a copy"],
];

function overlayChecks(probes: Probes): Verdict[] {
  return OVERLAY.map(([key, name, detail]): Verdict => {
    const outcome = probes.overlay[key];
    if (outcome === undefined) return { name, status: "ok", detail };
    if (key === "layers") return works(name, outcome, detail, layersFix(probes));
    if (key === "single" && probes.overlay.layers === undefined) {
      return { name, status: "limited", detail: "some 200 layers at most", fix: "Linux 6.8 takes 500" };
    }
    // overlayfs refuses these together with userxattr, and only who owns a file system maps its ids.
    if (["metacopy", "redirect", "idmapped", "index"].includes(key) && !isRoot(probes)) {
      return { name, status: "limited", detail: "for root of the machine only" };
    }
    return works(name, outcome, detail);
  });
}

function layersFix(probes: Probes): string {
  const { store, programs } = probes;
  if (store.outcome !== undefined) return "the store cannot be written";
  const driver = programs["fuse-overlayfs"] === undefined ? "vfs" : "fuse-overlayfs";
  return `modprobe overlay, a store on ext4, xfs or tmpfs (for others than root Linux 5.11), or --driver ${driver}`;
}

function idCheck(probes: Probes): Verdict {
  const { host, subordinate, ranges } = probes;
  const name = "ids";
  if (host.euid === 0) {
    return { name, status: "ok", detail: host.userns ? "those of this user namespace" : "all of the machine" };
  }
  const only = "one id in a container";
  if (!subordinate.hasPrograms) {
    const detail = `${only}: newuidmap and newgidmap are not installed`;
    return { name, status: "limited", detail, fix: "apt-get install uidmap" };
  }
  const [uid] = subordinate.uids;
  if (uid === undefined || subordinate.gids.length === 0) {
    const detail = `${only}: /etc/subuid and /etc/subgid give user ${host.euid} no range`;
    const fix = `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 $(id -un ${host.euid})`;
    return { name, status: "limited", detail, fix };
  }
  if (ranges !== undefined) {
    // As newuidmap(1) puts the errno into words: it may not do what it is for.
    const fix = /not permitted/.test(ranges.why)
      ? "newuidmap and newgidmap need their setuid bit or file capabilities"
      : `correct the entries of user ${host.euid} in /etc/subuid and /etc/subgid`;
    return { name, status: "limited", detail: `${only}: ${ranges.why}`, fix };
  }
  return { name, status: "ok", detail: `one's own, and ${uid.count} from ${uid.first} on` };
}

function programChecks({ programs, devices, systemd, host }: Probes): Verdict[] {
  const program = (name: keyof typeof programs, use: string, device?: Outcome): Verdict => {
    const path = programs[name];
    if (path === undefined) {
      const fix = `apt-get install ${name === "pasta" ? "passt" : name}`;
      return { name, status: "missing", detail: `not installed; ${use}`, fix };
    }
    if (device !== undefined)
      return {
        name,
        status: "limited",
        detail: device.why,
        fix: "load its module, and let this user open it (a udev rule)",
      };
    return { name, status: "ok", detail: use };
  };
  const bus = host.euid === 0 ? "the system's bus" : "the user's bus";
  return [
    program("criu", "checkpoints need it"),
    systemd.running && systemd.bus
      ? { name: "systemd", status: "ok", detail: `is there, with ${bus}` }
      : { name: "systemd", status: "missing", detail: systemd.running ? `${bus} is not there` : "is not pid 1" },
    program("fuse-overlayfs", "where the kernel's overlay does not work", devices.fuse),
    program("pasta", "a network for others than root", devices.tun),
    program("slirp4netns", "a network for others than root", devices.tun),
  ];
}

function sysctlChecks(probes: Probes): Verdict[] {
  return Object.entries(probes.sysctls).map(([key, value]): Verdict => {
    const check: Verdict = { name: `sysctl ${key}`, status: "ok", detail: value };
    if (key.startsWith("user.max_") && value === "0") {
      return { ...check, status: "missing", fix: `sysctl -w ${key}=15000` };
    }
    if (key === "kernel.unprivileged_userns_clone" && value === "0") {
      return { ...check, status: isRoot(probes) ? "limited" : "missing", fix: `sysctl -w ${key}=1` };
    }
    if (key === "kernel.apparmor_restrict_unprivileged_userns" && value === "1") {
      return { ...check, status: "limited", fix: APPARMOR_FIX };
    }
    if (key === "vm.memfd_noexec" && value === "2") return { ...check, status: "missing", fix: `sysctl -w ${key}=0` };
    return check;
  });
}
