/**
 * linux.intelRdt: groups of resctrl, which share out the L3 cache and the memory bandwidth, and count their use.
 * Rules: OCI config-linux.md "IntelRdt"; kernel filesystems/resctrl.rst.
 */
import { isErrno, StateError, TsrunError } from "../errors.ts";
import type { LinuxIntelRdt } from "../spec/types.ts";
import { mkdirSync, readdirSync, readFileSync, rmdirSync, statSync, writeFileSync } from "../sys/fs.ts";
import { processStat } from "./lifecycle.ts";
import { mountTable } from "./mount-table.ts";

/** What a container has of resctrl: what delete removes is here (invariant 7). */
export interface RdtRecord {
  /** The class of service: a directory of resctrl. */
  group: string;
  /** Was it made for this container? */
  isOurs: boolean;
  /** It has a name of its own, and others may have joined it. */
  isNamed?: true;
  /** A group in it that counts this container alone. */
  monitor?: string;
}

/** The id of the class of service that everything is in which is in no other. */
const ROOT_CLASS = "/";

/**
 * What would be made; nothing is touched.
 *
 * @param root where resctrl is mounted, for tests
 * @throws TsrunError when it is not mounted, or the class of service is to be there and is not, or has other shares
 */
export function planRdt(id: string, rdt: LinuxIntelRdt | undefined, root?: string): RdtRecord | undefined {
  if (!rdt || !Object.values(rdt).some(isAsked)) return undefined;
  const top = root ?? resctrlRoot();
  const { closID } = rdt;
  const group = closID === ROOT_CLASS ? top : `${top}/${closID || id}`;
  const isThere = statSync(group) !== undefined;
  const lines = schemata(rdt);
  if (closID && !isThere && lines.length === 0) {
    throw new TsrunError(`linux.intelRdt.closID: resctrl has no class of service ${closID}`, {
      fix: `mkdir ${group}, or say its shares: l3CacheSchema, memBwSchema or schemata`,
    });
  }
  if (closID && isThere) requireSame(closID, readFileSync(`${group}/schemata`), lines);
  return {
    group,
    isOurs: !(closID && isThere),
    ...(closID && { isNamed: true }),
    ...(rdt.enableMonitoring && { monitor: `${group}/mon_groups/${id}` }),
  };
}

function isAsked(value: unknown): boolean {
  return Array.isArray(value) ? value.length > 0 : Boolean(value);
}

/** @throws TsrunError */
function resctrlRoot(): string {
  const found = mountTable().find(({ type }) => type === "resctrl");
  if (found !== undefined) return found.point;
  throw new TsrunError("linux.intelRdt: resctrl is not mounted", {
    fix: "mount -t resctrl resctrl /sys/fs/resctrl, on a CPU with Intel RDT or AMD QoS",
  });
}

/**
 * The lines for the file `schemata`. Where both of the older fields are given, the bandwidth is that of memBwSchema,
 * whatever l3CacheSchema says of it. What is in `schemata` comes last: of two lines about one thing the later holds.
 */
export function schemata({ l3CacheSchema = "", memBwSchema = "", schemata: more = [] }: LinuxIntelRdt): string[] {
  const cache = l3CacheSchema.split("\n").filter((line) => memBwSchema === "" || !line.trim().startsWith("MB:"));
  return [...cache, memBwSchema, ...more].map((line) => line.trim()).filter((line) => line !== "");
}

/** A class of service that is there already is others' too: its shares must be those asked for. @throws TsrunError */
function requireSame(closID: string, existing: string, lines: readonly string[]): void {
  const shares = sharesOf(existing.split("\n"));
  for (const [key, value] of sharesOf(lines)) {
    const is = shares.get(key);
    if (is === value) continue;
    throw new TsrunError(`linux.intelRdt: class of service ${closID} has ${key}=${is ?? "(nothing)"}, not ${value}`, {
      fix: "leave the schemas out to take it as it is, or name another closID",
    });
  }
}

/** "L3:0=0ff;1=f" -> "L3:0" -> "ff", "L3:1" -> "f": without the zeros and blanks that the kernel fills up with. */
function sharesOf(lines: readonly string[]): Map<string, string> {
  const shares = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(":");
    if (colon === -1) continue;
    for (const share of line.slice(colon + 1).split(";")) {
      const [domain = "", value = ""] = share.split("=");
      shares.set(
        `${line.slice(0, colon).trim()}:${domain.trim()}`,
        value
          .trim()
          .toLowerCase()
          .replace(/^0+(?=.)/, ""),
      );
    }
  }
  return shares;
}

/** Makes what is planned. @throws TsrunError with the kernel's reason */
export function createRdt(record: RdtRecord, rdt: LinuxIntelRdt): void {
  const { group, isOurs, monitor } = record;
  const lines = schemata(rdt);
  if (isOurs) {
    attempt(record, `make ${group}`, () => mkdirSync(group, { recursive: true, mode: 0o755 }));
    if (lines.length > 0) writeSchemata(record, lines);
  }
  if (monitor === undefined) return;
  if (statSync(`${group}/mon_groups`) === undefined) {
    throw new TsrunError("linux.intelRdt.enableMonitoring: this machine cannot monitor caches or memory bandwidth", {
      fix: "leave it out",
    });
  }
  attempt(record, `make ${monitor}`, () => mkdirSync(monitor, { recursive: true, mode: 0o755 }));
}

/** The lines that a group has, as `schemata` of the spec would say them. */
export function readSchemata({ group }: RdtRecord): string[] {
  return readFileSync(`${group}/schemata`).split("\n");
}

/** Other shares for a group of a container that exists. @throws StateError for a group that others have made */
export function updateRdt(record: RdtRecord, rdt: LinuxIntelRdt): void {
  if (!record.isOurs) {
    throw new StateError(`${record.group} was not made for this container: its shares are for whoever made it`);
  }
  writeSchemata(record, schemata(rdt));
}

function writeSchemata(record: RdtRecord, lines: readonly string[]): void {
  const text = lines.map((line) => `${line}\n`).join("");
  attempt(record, `write ${JSON.stringify(lines.join("; "))} to ${record.group}/schemata`, () =>
    writeFileSync(`${record.group}/schemata`, text),
  );
}

/** Puts a process into the groups; what it forks from then on is in them too. @throws TsrunError */
export function joinRdt(record: RdtRecord, pid: number): void {
  // A group that counts takes only what is in the class of service that it belongs to.
  for (const group of record.monitor === undefined ? [record.group] : [record.group, record.monitor]) {
    attempt(record, `write ${pid} to ${group}/tasks`, () => writeFileSync(`${group}/tasks`, String(pid)));
  }
}

/** All threads of processes that run already. */
export function joinAllRdt(record: RdtRecord, pids: readonly number[]): void {
  for (const pid of pids) {
    for (const thread of threadsOf(pid)) {
      try {
        joinRdt(record, thread);
      } catch (error) {
        // It has ended.
        if (!(error instanceof Error && isErrno(error.cause, "ESRCH"))) throw error;
      }
    }
  }
}

function threadsOf(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number);
  } catch (error) {
    if (isErrno(error, "ENOENT", "ESRCH")) return [];
    throw error;
  }
}

/** Removes what createRdt made. A class of service with a name of its own stays as long as somebody else is in it. */
export function removeRdt({ group, isOurs, isNamed, monitor }: RdtRecord): void {
  if (monitor !== undefined) removeGroup(monitor);
  if (isOurs && !(isNamed && hasTasks(group))) removeGroup(group);
}

/** Processes that have ended are listed until somebody has asked how. */
function hasTasks(group: string): boolean {
  try {
    const tasks = readFileSync(`${group}/tasks`).split("\n");
    return tasks.some((task) => task !== "" && (processStat(Number(task))?.state ?? "Z") !== "Z");
  } catch (error) {
    if (isErrno(error, "ENOENT")) return false;
    throw error;
  }
}

/** rmdir(2) takes the files of a group with it. */
function removeGroup(path: string): void {
  try {
    rmdirSync(path);
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
  }
}

/** The kernel says in a file why it refused the last thing. */
function attempt({ group }: RdtRecord, what: string, deed: () => void): void {
  try {
    deed();
  } catch (cause) {
    const reason = lastStatus(group);
    throw new TsrunError(`linux.intelRdt: ${what}${reason === "" ? "" : `: the kernel says: ${reason}`}`, { cause });
  }
}

function lastStatus(group: string): string {
  for (const root of [group, `${group}/..`]) {
    try {
      const text = readFileSync(`${root}/info/last_cmd_status`).trim();
      return text === "ok" ? "" : text;
    } catch {
      // The class of service is the root itself, or it is not.
    }
  }
  return "";
}
