/** Where the cgroup of a container lies. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { cgroupLayout } from "./needs.ts";
import { cgroupsNamed, stateOf } from "./runtime.ts";

/** The directory of a container's cgroup. */
export function cgroupOf(id: string, controller: string): string {
  const lines = readFileSync(`/proc/${stateOf(id)?.pid}/cgroup`, "utf8")
    .trim()
    .split("\n");
  const v2 = cgroupLayout() === "v2";
  const line = lines.find((one) => (v2 ? one.startsWith("0::") : one.split(":")[1]?.split(",").includes(controller)));
  const path = line?.split(":").slice(2).join(":") ?? "";
  return v2
    ? `/sys/fs/cgroup${path}`
    : (cgroupsNamed(path.split("/").at(-1)).find((dir) => dir.split("/")[4]?.split(",").includes(controller)) ?? "");
}

/** A file of the container's cgroup: of `v1` or `v2` as this machine has it, without the last newline. */
export function cgroupFile(id: string, controller: string, v1: string, v2: string): string {
  const file = cgroupLayout() === "v2" ? v2 : v1;
  return readFileSync(join(cgroupOf(id, controller), file), "utf8").trimEnd();
}

/** The limits of a container as its cgroup has them; the quota with its period, and shares as the layout's own number. */
export const limitOf = {
  memory: (id: string) => cgroupFile(id, "memory", "memory.limit_in_bytes", "memory.max"),
  pids: (id: string) => cgroupFile(id, "pids", "pids.max", "pids.max"),
  cpus: (id: string) => cgroupFile(id, "cpuset", "cpuset.cpus", "cpuset.cpus"),
  shares: (id: string) => cgroupFile(id, "cpu", "cpu.shares", "cpu.weight"),
  quota: (id: string) => {
    const [quota] = cgroupFile(id, "cpu", "cpu.cfs_quota_us", "cpu.max").split(" ");
    return `${quota} ${cgroupFile(id, "cpu", "cpu.cfs_period_us", "cpu.max").split(" ").at(-1)}`;
  },
};
