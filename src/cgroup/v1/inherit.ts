/**
 * A new v1 cpuset has neither CPUs nor memory nodes, and no process can join it (ENOSPC) until it has both.
 * Rules: kernel cgroup-v1/cpusets.rst.
 */
import { readGroupFile } from "../files.ts";
import { writeFile } from "../write.ts";

const FILES = ["cpuset.cpus", "cpuset.mems"] as const;

/** Fills what is empty in each of these cgroups, top first, from the one above. */
export function inheritCpuset(dirs: readonly string[]): void {
  for (const file of FILES) {
    for (const dir of dirs) {
      if (readGroupFile(`${dir}/${file}`) !== "") continue;
      const above = readGroupFile(`${dir.slice(0, dir.lastIndexOf("/"))}/${file}`);
      if (above) writeFile(`${dir}/${file}`, above);
    }
  }
}
