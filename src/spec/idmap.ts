/**
 * The ids of an idmapped mount: which mappings a mount of config.json asks for.
 * Rules: OCI config.md "Mounts" (uidMappings, gidMappings), "idmap"; crun(1) for idmap=uids=...;gids=....
 */
import { type MountOptions, parseMountOptions } from "./mount-options.ts";
import type { LinuxIDMapping, Mount } from "./types.ts";

export interface IdMappings {
  uids: readonly LinuxIDMapping[];
  gids: readonly LinuxIDMapping[];
}

/** Undefined: its ids are not mapped. What is wrong with the mappings is for rules/mounts.ts to say. */
export function mountMappings(
  mount: Mount,
  container: {
    uidMappings?: readonly LinuxIDMapping[] | undefined;
    gidMappings?: readonly LinuxIDMapping[] | undefined;
  },
  options: MountOptions = parseMountOptions(mount.options),
): IdMappings | undefined {
  if (options.idmapWord !== undefined) return wordMappings(options.idmapWord, container);
  if (mount.uidMappings?.length || mount.gidMappings?.length) {
    return { uids: mount.uidMappings ?? [], gids: mount.gidMappings ?? [] };
  }
  if (options.idmap === undefined) return undefined;
  return { uids: container.uidMappings ?? [], gids: container.gidMappings ?? [] };
}

/**
 * "uids=0-1000-10#10-2000-5;gids=0-1000-10": id in the file system, id that is seen, how many. After an @ the second
 * is moved by as much as the container's own mapping of the first one moves that.
 *
 * @returns lists that are empty where the word cannot be read
 */
function wordMappings(
  word: string,
  container: Readonly<Partial<Record<"uidMappings" | "gidMappings", readonly LinuxIDMapping[] | undefined>>>,
): IdMappings {
  const lists: { uids: LinuxIDMapping[]; gids: LinuxIDMapping[] } = { uids: [], gids: [] };
  for (const part of word.split(";")) {
    const [kind, text = ""] = part.split("=", 2);
    if (kind !== "uids" && kind !== "gids") return { uids: [], gids: [] };
    for (const triple of text.split("#")) {
      const match = /^(@?)(\d{1,10})-(\d{1,10})-(\d{1,10})$/.exec(triple);
      if (match === null) return { uids: [], gids: [] };
      const [first, second, size] = [Number(match[2]), Number(match[3]), Number(match[4])];
      const own = kind === "uids" ? container.uidMappings : container.gidMappings;
      const by = match[1] === "@" ? shiftOf(first, own ?? []) : 0;
      if (by === undefined || second + by < 0) return { uids: [], gids: [] };
      lists[kind].push({ containerID: first, hostID: second + by, size });
    }
  }
  return lists;
}

function shiftOf(id: number, mappings: readonly LinuxIDMapping[]): number | undefined {
  const map = mappings.find(({ containerID, size }) => id >= containerID && id < containerID + size);
  return map && map.hostID - map.containerID;
}
