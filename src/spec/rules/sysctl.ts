/**
 * linux.sysctl: only what a namespace of the container keeps to itself may be set; the rest is the host's.
 * Rules: OCI config-linux.md "Sysctl"; runc validator.go; kernel ipc/ipc_sysctl.c, kernel/ucount.c, sysctl(8).
 */
import { type MapShape, S } from "../structure.ts";
import { joinPath, quote } from "../text.ts";
import type { LinuxNamespaceType } from "../types.ts";
import type { RuleContext } from "./context.ts";

export const SYSCTL: MapShape = { map: S.argument };

const IPC_SYSCTLS: readonly string[] = [
  "kernel.auto_msgmni",
  "kernel.msg_next_id",
  "kernel.msgmax",
  "kernel.msgmnb",
  "kernel.msgmni",
  "kernel.sem",
  "kernel.sem_next_id",
  "kernel.shm_next_id",
  "kernel.shm_rmid_forced",
  "kernel.shmall",
  "kernel.shmmax",
  "kernel.shmmni",
];

export function checkSysctl(context: RuleContext): void {
  for (const key of Object.keys(context.spec.linux?.sysctl ?? {})) {
    const path = joinPath("linux.sysctl", key);
    const name = dotted(key);
    if (!/^[^./]+(?:\.[^.]+)+$/.test(name) || /(?:^|\.)\/+(?:\.|$)/.test(name)) {
      context.report(path, `${quote(key)} is no name of a sysctl: "net.ipv4.ip_forward" would be one`);
      continue;
    }
    checkOwner(context, name, path);
  }
}

/**
 * The name with dots between its parts and a slash where a part has a dot. The first separator tells which way it is
 * written: "net/ipv4/conf/eth0.1/rp_filter" and "net.ipv4.conf.eth0/1.rp_filter" are the same.
 */
function dotted(key: string): string {
  const first = key.search(/[./]/);
  if (first === -1 || key[first] === ".") return key;
  return key.replace(/[./]/g, (separator) => (separator === "." ? "/" : "."));
}

function checkOwner(context: RuleContext, name: string, path: string): void {
  if (name === "kernel.hostname") {
    context.report(path, "is set by hostname");
    return;
  }
  const owner = ownerOf(name);
  if (owner === undefined) {
    const hint = context.suggest(name, [...IPC_SYSCTLS, "kernel.domainname"]);
    context.report(path, `belongs to the host: it is in no namespace of a container${hint}`);
  } else if (!context.has(owner)) {
    context.report(path, `is the host's without a ${owner} namespace: add {"type": "${owner}"} to linux.namespaces`);
  }
}

/** The type of namespace that has its own value of this sysctl. */
function ownerOf(name: string): LinuxNamespaceType | undefined {
  if (name.startsWith("net.")) return "network";
  if (name.startsWith("fs.mqueue.") || IPC_SYSCTLS.includes(name)) return "ipc";
  if (name === "kernel.domainname") return "uts";
  return name.startsWith("user.") ? "user" : undefined;
}
