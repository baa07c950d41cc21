/**
 * linux.sysctl, written to a procfs that nobody else has ever seen.
 * Rules: OCI config-linux.md "Sysctl"; sysctl(8) for the two separators.
 */
import { O_WRONLY, PROC_MAGIC } from "../linux.ts";
import type { ContainerSpec } from "../spec/container.ts";
import type { PlanBuilder } from "./builder.ts";

export function planSysctls(b: PlanBuilder, container: ContainerSpec): void {
  const sysctl = Object.entries(container.spec.linux?.sysctl ?? {});
  if (sysctl.length === 0) return;
  // Detached, so no path of the container or the image is walked to reach it.
  const proc = b.newFd();
  b.add("linux.sysctl", "fsmount", proc, "proc", 0, ["source=proc"]);
  b.add("linux.sysctl", "checkMount", proc, PROC_MAGIC, -1, "");
  for (const [key, value] of sysctl) {
    const fd = b.newFd();
    b.add(`linux.sysctl ${key}`, "openIn", fd, proc, `sys/${sysctlPath(key)}`, O_WRONLY, 0);
    b.add(`linux.sysctl ${key}`, "write", fd, value);
    b.add(`linux.sysctl ${key}`, "close", fd);
  }
  b.add("linux.sysctl", "close", proc);
}

/**
 * "net.ipv4.ip_forward" and "net/ipv4/ip_forward" are the same. Which separator is meant is told by the first of
 * either: "net/ipv4/conf/eth0.1/forwarding" names interface eth0.1, as does "net.ipv4.conf.eth0/1.forwarding".
 */
export function sysctlPath(key: string): string {
  const first = key.search(/[./]/);
  if (first === -1 || key[first] === "/") return key;
  return key.replace(/[./]/g, (separator) => (separator === "." ? "/" : "."));
}
