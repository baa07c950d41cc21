/**
 * What the security modules of the kernel call the process: AppArmor profile and SELinux label, for its next execve(2).
 * Rules: OCI config.md "Linux Process"; apparmor(7), selinux(8), proc_pid_attr(5).
 */
import { O_WRONLY, PROC_MAGIC } from "../linux.ts";
import type { PlanBuilder } from "./builder.ts";

export interface Labels {
  apparmorProfile?: string;
  selinuxLabel?: string;
}

/** Before the session keyring, which gets a label too, and before anything of the container is mounted. */
export function planLabels(b: PlanBuilder, { apparmorProfile, selinuxLabel }: Labels, withKeyring: boolean): void {
  if (!apparmorProfile && !selinuxLabel) return;
  // A procfs that nobody else has ever seen: what the container's /proc is has no say (CVE-2025-52881).
  const proc = b.newFd();
  b.add("security labels", "fsmount", proc, "proc", 0, ["source=proc"]);
  b.add("security labels", "checkMount", proc, PROC_MAGIC, -1, "");
  const write = (about: string, file: string, value: string) => {
    const fd = b.newFd();
    b.add(about, "openIn", fd, proc, `thread-self/attr/${file}`, O_WRONLY, 0);
    b.add(about, "write", fd, value);
    b.add(about, "close", fd);
  };
  if (selinuxLabel) {
    if (withKeyring) write("process.selinuxLabel", "keycreate", selinuxLabel);
    write("process.selinuxLabel", "exec", selinuxLabel);
  }
  if (apparmorProfile) write("process.apparmorProfile", "apparmor/exec", `exec ${apparmorProfile}`);
  b.add("security labels", "close", proc);
}
