/**
 * Who answers the calls that a seccomp profile leaves to somebody else (SCMP_ACT_NOTIFY): the socket where the listener
 * is handed over. Rules: OCI config-linux.md "Seccomp"; crun(1) "run.oci.seccomp.receiver".
 */
import type { LinuxSeccomp, Spec } from "./types.ts";

/** Crun's annotation from before the spec had listenerPath. */
export const RECEIVER = "run.oci.seccomp.receiver";

export interface SeccompListener {
  /** An AF_UNIX stream socket. */
  path: string;
  /** Given to the receiver as it is. */
  metadata: string | undefined;
  /** What of config.json named the socket. */
  about: string;
}

/** Where the listener of a container goes; undefined when nothing is notified, or nobody was named. */
export function seccompListener({ linux, annotations }: Spec): SeccompListener | undefined {
  const seccomp = linux?.seccomp;
  if (seccomp === undefined || !isNotifying(seccomp)) return undefined;
  const metadata = seccomp.listenerMetadata || undefined;
  if (seccomp.listenerPath) return { path: seccomp.listenerPath, metadata, about: "linux.seccomp.listenerPath" };
  const path = annotations !== undefined && Object.hasOwn(annotations, RECEIVER) ? annotations[RECEIVER] : undefined;
  return path ? { path, metadata, about: `annotations["${RECEIVER}"]` } : undefined;
}

/** Does the profile leave any call to a listener? */
export function isNotifying({ syscalls }: LinuxSeccomp): boolean {
  // A loop: this is on the way of every container with a profile.
  for (const { action } of syscalls ?? []) if (action === NOTIFY) return true;
  return false;
}

export const NOTIFY = "SCMP_ACT_NOTIFY";
