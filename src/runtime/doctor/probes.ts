/**
 * What `doctor` finds out about the host, by doing it: each attempt is made as a container would make it, and undone.
 * Decides nothing; see verdicts.ts.
 */
import type { CgroupLayout } from "../../cgroup/manager.ts";
import type { Host, Subordinate } from "../../host.ts";
import type { LinuxNamespaceType } from "../../spec/types.ts";
import { inHelper, inUserNamespace, type PlainStep } from "../helper-init.ts";
import { mapIds } from "../idmap.ts";

/** Why something could not be done: the errno, or "" where there is none, and the operation in words. */
export interface Refusal {
  code: string;
  why: string;
}

/** Undefined: it works. */
export type Outcome = Refusal | undefined;

export interface OverlayProbes {
  /** Two layers below a read-write one. */
  layers: Outcome;
  /** Layers one by one (Linux 6.8), which is what allows for 500 of them. */
  single: Outcome;
  userxattr: Outcome;
  index: Outcome;
  metacopy: Outcome;
  redirect: Outcome;
  volatile: Outcome;
  idmapped: Outcome;
}

export interface CgroupProbes {
  layout: CgroupLayout;
  /** A cgroup where a container's would be. */
  made: Outcome;
  /** Controllers whose limits can be set there, and those that the machine has. */
  usable: string[];
  known: string[];
  /** Device rules: v1's controller, or an eBPF program on v2. */
  devices: Outcome;
}

export interface Probes {
  kernel: readonly [major: number, minor: number];
  host: Pick<Host, "euid" | "egid" | "privileged" | "userns">;
  /** A process of the native init, which does nothing. */
  init: Outcome;
  namespaces: Record<LinuxNamespaceType, Outcome>;
  proc: Outcome;
  sysfs: Outcome;
  pivot: Outcome;
  /** A session keyring of its own. */
  keyring: Outcome;
  seccomp: Outcome;
  seccompActions: string[];
  /** The directories of states and of layers. */
  states: { path: string; outcome: Outcome };
  store: { path: string; outcome: Outcome };
  overlay: OverlayProbes;
  cgroup: CgroupProbes;
  subordinate: Subordinate;
  /** More ids than one's own, mapped. */
  ranges: Outcome;
  /** Security modules that are at work. */
  lsm: string[];
  /** Programs of the host, by name. */
  programs: Record<ProgramName, string | undefined>;
  /** Devices that can be opened for reading and writing. */
  devices: { fuse: Outcome; tun: Outcome };
  /** pid 1 is systemd, and its bus is there. */
  systemd: { running: boolean; bus: boolean };
  /** Values of /proc/sys, by name; not there: the kernel has no such knob. */
  sysctls: Record<string, string>;
}

export const PROGRAMS = ["criu", "fuse-overlayfs", "pasta", "slirp4netns", "newuidmap", "newgidmap"] as const;
export type ProgramName = (typeof PROGRAMS)[number];

/** Runs something that throws when it does not work. */
export function outcomeOf(attempt: () => void): Outcome {
  try {
    attempt();
    return undefined;
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    return { code: (error as { code?: string }).code ?? "", why: error.message };
  }
}

/** Steps in a process of their own, which is root of a user namespace where the caller is not root. */
export function attempt(host: Probes["host"], about: string, steps: readonly PlainStep[]): Outcome {
  const outcome = outcomeOf(() => {
    if (host.euid === 0) inHelper(about, steps);
    else inUserNamespace(about, steps, (pid) => mapIds(pid, ownIds(host)));
  });
  // What was attempted is known; the reader wants the rest.
  return outcome && { ...outcome, why: outcome.why.replace(`${about}: `, "") };
}

/** The caller as root, and nobody else. */
export function ownIds(host: Probes["host"]): Parameters<typeof mapIds>[1] {
  const own = (id: number) => [{ containerID: 0, hostID: id, size: 1 }];
  return { uidMappings: own(host.euid), gidMappings: own(host.egid), host };
}
