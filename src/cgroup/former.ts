/**
 * What a file of a cgroup had before a write, as text that brings it back. Touches no file.
 * Rules: kernel cgroup-v2.rst, "Interface Files"; cgroup-v1/blkio-controller.rst, rdma.rst, net_prio.rst.
 */
import { keyedValue } from "./files.ts";

/** Files with a line for each device: what makes one as if nothing had been said of it, where it has no line then. */
const UNSET: Record<string, string> = {
  "io.max": "rbps=max wbps=max riops=max wiops=max",
  "io.latency": "target=0",
  "io.weight": "default",
  "io.bfq.weight": "default",
  "blkio.weight_device": "0",
  "blkio.bfq.weight_device": "default",
  "blkio.throttle.read_bps_device": "0",
  "blkio.throttle.write_bps_device": "0",
  "blkio.throttle.read_iops_device": "0",
  "blkio.throttle.write_iops_device": "0",
};

/** Files whose write changes another one. Group and weight: an idle group has the least, and then the usual one. */
export const ALSO_CHANGED: Record<string, readonly string[]> = { "cpu.idle": ["cpu.weight", "cpu.shares"] };

/**
 * @param before the file, without its last newline
 * @param written what is written to it
 * @returns undefined when it cannot be told: of a file that is for writing alone, say
 */
export function formerText(file: string, before: string, written: string): string | undefined {
  if (file === "memory.oom_control") return keyedValue(before, "oom_kill_disable");
  if (file === "cgroup.subtree_control") return formerControllers(before, written);
  // "root invalid (reason)": the first word is what was asked for.
  if (file === "cpuset.cpus.partition") return before.split(" ")[0];
  // None of its own: those of the cgroup above. Of nothing the kernel takes no notice.
  if (before === "" && file.startsWith("cpuset.")) return "\n";
  const [key = "", ...rest] = written.trim().split(/\s+/);
  const lines = before.split("\n");
  const lineOf = (name: string) => lines.find((line) => line.trimStart().startsWith(`${name} `))?.trim();
  if (rest.length === 0) return lineOf("default") ?? (lines.length === 1 && before !== "" ? before : undefined);
  const found = lineOf(key);
  if (found !== undefined) return found;
  const unset = UNSET[file];
  if (unset !== undefined) return `${key} ${unset}`;
  // Several values on the one line of the file, such as quota and period.
  return lines.length === 1 && before !== "" ? before : undefined;
}

function formerControllers(before: string, written: string): string {
  const enabled = before.split(" ");
  const named = written.split(/\s+/).map((word) => word.replace(/^[+-]/, ""));
  return named.map((name) => `${enabled.includes(name) ? "+" : "-"}${name}`).join(" ");
}
