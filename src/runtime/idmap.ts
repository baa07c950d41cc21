/**
 * uid_map and gid_map of a new user namespace.
 * Rules: user_namespaces(7) "Defining user and group ID mappings"; newuidmap(1).
 */

import { TsrunError } from "../errors.ts";
import type { Host } from "../host.ts";
import type { ContainerSpec } from "../spec/container.ts";
import { keepsGroups } from "../spec/crun.ts";
import type { LinuxIDMapping } from "../spec/types.ts";
import { readFileSync, writeFileSync } from "../sys/fs.ts";
import { runHelper } from "../sys/helper.ts";

/** Whose ids are mapped, and who does it. */
export type IdMapRequest = Pick<ContainerSpec, "uidMappings" | "gidMappings"> & {
  host: Pick<Host, "privileged" | "euid" | "egid">;
};

/** Is setgroups(2) called in the namespace? Not where an ordinary user maps the ids alone, nor where groups are kept. */
export function mayUseSetgroups(container: ContainerSpec): boolean {
  if (keepsGroups(container.spec.annotations)) return false;
  if (!container.userns || container.host.privileged) return true;
  const joined = container.namespaces.join.find(({ type }) => type === "user");
  return joined === undefined ? !isOwnIdOnly(container) : !isDenied(joined.path);
}

/** Has who made this namespace given setgroups(2) up in it? Where its path does not say whose it is, it is not known. */
function isDenied(path: string): boolean {
  const pid = /^\/proc\/(\d+)\/ns\/user$/.exec(path)?.[1];
  if (pid === undefined) return false;
  try {
    return readFileSync(`/proc/${pid}/setgroups`).startsWith("deny");
  } catch {
    // It has ended: what is wrong with the namespace itself is told when it is opened.
    return false;
  }
}

/** Maps the ids of process `pid`, which waits for it. @throws TsrunError */
export function mapIds(pid: number, request: IdMapRequest): void {
  const { uidMappings, gidMappings, host } = request;
  if (host.privileged || host.euid === 0) {
    writeMaps(pid, uidMappings, gidMappings);
    return;
  }
  if (isOwnIdOnly(request)) {
    // Without privilege one may map oneself alone, and the gid only after giving setgroups(2) up.
    writeFileSync(`/proc/${pid}/setgroups`, "deny");
    write(pid, "uid_map", uidMappings);
    write(pid, "gid_map", gidMappings);
    return;
  }
  runHelper("newuidmap", [String(pid), ...columns(uidMappings)], "uidmap");
  runHelper("newgidmap", [String(pid), ...columns(gidMappings)], "uidmap");
}

/** With the right to map any id. @throws TsrunError */
export function writeMaps(pid: number, uids: readonly LinuxIDMapping[], gids: readonly LinuxIDMapping[]): void {
  write(pid, "uid_map", uids);
  write(pid, "gid_map", gids);
}

/** Is the caller's own id the only one, which needs nobody's help to be mapped? */
export function isOwnIdOnly({ uidMappings, gidMappings, host }: IdMapRequest): boolean {
  const own = (maps: LinuxIDMapping[], id: number) => maps.length === 1 && maps[0]?.size === 1 && maps[0].hostID === id;
  return own(uidMappings, host.euid) && own(gidMappings, host.egid);
}

function write(pid: number, file: "uid_map" | "gid_map", maps: readonly LinuxIDMapping[]): void {
  const text = maps.map((map) => `${map.containerID} ${map.hostID} ${map.size}`).join("\n");
  try {
    writeFileSync(`/proc/${pid}/${file}`, text);
  } catch (cause) {
    const field = file === "uid_map" ? "linux.uidMappings" : "linux.gidMappings";
    throw new TsrunError(`write ${file} "${text.replaceAll("\n", ", ")}"`, {
      fix: `${field}: ranges must not overlap, at most 340 of them, and each must be mapped in tsrun's own namespace`,
      cause,
    });
  }
}

function columns(maps: readonly LinuxIDMapping[]): string[] {
  return maps.flatMap((map) => [String(map.containerID), String(map.hostID), String(map.size)]);
}
