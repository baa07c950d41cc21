/** linux.uidMappings, linux.gidMappings and who must be in them. Rules: OCI config-linux.md "User namespace mappings"; user_namespaces(7). */
import type { Problem } from "../../errors.ts";
import { findNamespace } from "../namespaces.ts";
import { type ListShape, S } from "../structure.ts";
import type { Linux, LinuxIDMapping, User } from "../types.ts";
import type { RuleContext } from "./context.ts";

export const ID_MAPPINGS: ListShape = {
  list: {
    members: { __proto__: null as never, containerID: S.uint32, hostID: S.uint32, size: S.uint32 },
    required: ["containerID", "hostID", "size"],
  },
};

/** UID_GID_MAP_MAX_EXTENTS of the kernel. */
const MAX_MAPPINGS = 340;

export function checkMappings(context: RuleContext): void {
  const { linux = {}, process } = context.spec;
  const { uidMappings, gidMappings } = linux;
  checkList(context, uidMappings ?? [], "linux.uidMappings");
  checkList(context, gidMappings ?? [], "linux.gidMappings");
  if (!context.has("user")) {
    for (const [field, list] of [["uidMappings", uidMappings] as const, ["gidMappings", gidMappings] as const]) {
      if (list === undefined || list.length === 0) continue;
      context.report(`linux.${field}`, 'is for a user namespace: add {"type": "user"} to linux.namespaces');
    }
    return;
  }
  const userns = findNamespace(linux.namespaces, "user");
  // A joined one has the mappings it was made with; callers (containerd, CRI-O) send a copy of them along.
  if (userns === undefined || (userns.path !== undefined && userns.path !== "")) return;
  for (const [field, list] of [["uidMappings", uidMappings] as const, ["gidMappings", gidMappings] as const]) {
    if (list !== undefined && list.length > 0) continue;
    context.report(`linux.${field}`, "is needed for a new user namespace; without it no id means anything there");
  }
  for (const { path, message } of unmappedIds(process?.user, linux)) context.report(path, message);
}

/** The ids of a process that its container's new user namespace does not have. Nothing is said of one that is joined. */
export function unmappedIds(user: User | undefined, linux: Linux): Problem[] {
  const problems: Problem[] = [];
  if (findNamespace(linux.namespaces, "user")?.path) return problems;
  const report = (path: string, message: string) => problems.push({ path, message });
  checkIds(report, linux.uidMappings, "linux.uidMappings", "user", [["process.user.uid", user?.uid ?? 0]]);
  const groups: [string, number][] = [["process.user.gid", user?.gid ?? 0]];
  user?.additionalGids?.forEach((gid, i) => {
    groups.push([`process.user.additionalGids[${i}]`, gid]);
  });
  checkIds(report, linux.gidMappings, "linux.gidMappings", "group", groups);
  return problems;
}

function checkIds(
  report: (path: string, message: string) => void,
  mappings: readonly LinuxIDMapping[] | undefined,
  path: string,
  what: string,
  ids: readonly (readonly [path: string, id: number])[],
): void {
  // A mapping that lacks a number is reported already, and it is not known what it maps.
  if (mappings === undefined || mappings.length === 0 || !mappings.every(isWhole)) return;
  for (const [at, id] of ids) {
    const isMapped = mappings.some(({ containerID, size }) => id >= containerID && id < containerID + size);
    if (!isMapped) report(at, `${what} ${id} is not in ${path}`);
  }
}

function checkList(context: RuleContext, mappings: readonly LinuxIDMapping[], path: string): void {
  if (mappings.length > MAX_MAPPINGS) {
    context.report(path, `has ${mappings.length} entries, and the kernel takes ${MAX_MAPPINGS}`);
    return;
  }
  mappings.forEach((mapping, i) => {
    const { containerID, hostID, size } = mapping;
    if (!isWhole(mapping)) return;
    if (size === 0) context.report(`${path}[${i}].size`, "is 0: it maps nothing");
    for (const [field, first] of [["containerID", containerID] as const, ["hostID", hostID] as const]) {
      if (first + size <= 2 ** 32 - 1) continue;
      context.report(`${path}[${i}].${field}`, `${first} and ${size} ids from there reach beyond 4294967294`);
    }
  });
  if (mappings.length < 2 || !mappings.every(isWhole)) return;
  checkOverlap(context, mappings, "containerID", path);
  checkOverlap(context, mappings, "hostID", path);
}

function isWhole({ containerID, hostID, size }: Partial<LinuxIDMapping>): boolean {
  return containerID !== undefined && hostID !== undefined && size !== undefined;
}

function checkOverlap(
  { report }: RuleContext,
  mappings: readonly LinuxIDMapping[],
  field: "containerID" | "hostID",
  path: string,
): void {
  const ranges = mappings.map((mapping, i) => ({ first: mapping[field], end: mapping[field] + mapping.size, i }));
  ranges.sort((a, b) => a.first - b.first);
  let previous: (typeof ranges)[number] | undefined;
  for (const range of ranges) {
    if (previous !== undefined && range.first < previous.end) {
      report(`${path}[${range.i}].${field}`, `overlaps ${path}[${previous.i}]`);
    }
    if (previous === undefined || range.end > previous.end) previous = range;
  }
}
