/**
 * Annotations of crun's that engines set: what is carried out here, and what is not. Rules: crun(1), "Extensions to OCI";
 * the one of seccomp is in listener.ts.
 */
import type { Problem } from "../errors.ts";
import { joinPath, quote } from "./text.ts";
import type { Spec } from "./types.ts";

type Annotations = Spec["annotations"];

/** Of `podman run --group-add keep-groups`. */
const KEEP_GROUPS = "run.oci.keep_original_groups";
const PIDFD_RECEIVER = "run.oci.pidfd_receiver";

/** Files that what hooks print is added to. */
export const HOOK_OUTPUT = { stdout: "run.oci.hooks.stdout", stderr: "run.oci.hooks.stderr" } as const;

/** Nothing of them is carried out: a container that relies on one is not what its owner thinks. */
export const NOT_CARRIED_OUT: readonly string[] = [
  "delegate-cgroup",
  "handler",
  "seccomp.plugins",
  "seccomp_bpf_data",
  "seccomp_fail_unknown_syscall",
  "systemd.force_cgroup_v1",
  "systemd.subgroup",
  "timens_offset",
].map((name) => `run.oci.${name}`);

const CONTEXT_TYPE = "run.oci.mount_context_type";
/** mount(8), "Filesystem-independent mount options", those of SELinux. */
const CONTEXT_TYPES: readonly string[] = ["context", "fscontext", "defcontext", "rootcontext"];

/** Of what linux.mountLabel is the label: a word of CONTEXT_TYPES. Podman asks for "rootcontext". */
export function mountContextType(annotations: Annotations): string {
  if (annotations === undefined || !Object.hasOwn(annotations, CONTEXT_TYPE)) return "context";
  return annotations[CONTEXT_TYPE] ?? "context";
}

export function contextTypeProblem(annotations: Annotations): Problem | undefined {
  const type = mountContextType(annotations);
  if (CONTEXT_TYPES.includes(type)) return undefined;
  const message = `must be one of ${CONTEXT_TYPES.join(", ")}, not ${quote(type)}`;
  return { path: joinPath("annotations", CONTEXT_TYPE), message };
}

/** Do the processes keep the groups of who starts them, those that no id of theirs is mapped to included? */
export function keepsGroups(annotations: Annotations): boolean {
  return annotations !== undefined && Object.hasOwn(annotations, KEEP_GROUPS);
}

/** A socket for a pidfd of the container's process, where no flag names one. */
export function pidfdReceiver(annotations: Annotations): string | undefined {
  if (annotations === undefined || !Object.hasOwn(annotations, PIDFD_RECEIVER)) return undefined;
  return annotations[PIDFD_RECEIVER] || undefined;
}
