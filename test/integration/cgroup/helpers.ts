/** Cgroups made through the library alone, and processes that join them as the native init does. */
import { type ChildProcess, type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import {
  type CgroupRecord,
  type CgroupRequest,
  createCgroup,
  destroyCgroup,
  detectCgroups,
  joinFds,
} from "../../../src/cgroup/manager.ts";
import { TEST_PREFIX } from "../../helpers/scratch.ts";

let counter = 0;
const records: CgroupRecord[] = [];

export function newName(): string {
  return `${TEST_PREFIX}-${++counter}`;
}

/** A cgroup that is removed at the end of the test, with what is in it. */
export function make(request: Partial<CgroupRequest> = {}): CgroupRecord {
  const record = createCgroup({ id: newName(), rootless: false, hierarchies: detectCgroups(), ...request });
  records.push(record);
  return record;
}

/** Each of them, whatever becomes of the others. */
export function destroyAll(): void {
  const errors: unknown[] = [];
  for (const record of records.splice(0).reverse()) {
    try {
      destroyCgroup(record, { kill: true });
    } catch (error) {
      errors.push(error);
    }
  }
  if (errors.length > 0) throw errors[0];
}

function joinScript(record: Pick<CgroupRecord, "paths">): string {
  return joinFds(record)
    .map(({ path, kind }) => `echo 0 > '${kind === "tasks" ? path : `${path}/cgroup.procs`}' || exit 99`)
    .join("\n");
}

/** Runs a shell script in the cgroup. */
export function runIn(record: Pick<CgroupRecord, "paths">, script: string): SpawnSyncReturns<string> {
  return spawnSync("/bin/busybox", ["sh", "-c", `${joinScript(record)}\n${script}`], { encoding: "utf8" });
}

/** Starts a shell script in the cgroup; resolves when it has said "ready". */
export async function startIn(record: CgroupRecord, script: string): Promise<ChildProcess> {
  const child = spawn("/bin/busybox", ["sh", "-c", `${joinScript(record)}\n${script}`], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("exit", (code) => reject(new Error(`ended with ${code} before it was ready`)));
  });
  return child;
}

/** Resolves to how the process ended. */
export function ended(child: ChildProcess): Promise<string> {
  if (child.exitCode !== null || child.signalCode !== null)
    return Promise.resolve(String(child.exitCode ?? child.signalCode));
  return new Promise((resolve) => child.once("exit", (code, signal) => resolve(String(code ?? signal))));
}

/** A file of the cgroup of one controller. */
export function read(record: CgroupRecord, controller: string, file: string): string {
  const dir = record.layout === "v2" ? record.paths[""] : record.paths[controller];
  return readFileSync(`${dir}/${file}`, "utf8").trimEnd();
}

export function left(record: CgroupRecord): string[] {
  return record.made.filter((dir) => existsSync(dir));
}
