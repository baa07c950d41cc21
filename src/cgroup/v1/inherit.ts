/**
 * A new v1 cpuset has neither CPUs nor memory nodes, and no process can join it (ENOSPC) until it has both.
 * Rules: kernel cgroup-v1/cpusets.rst.
 */
import { readGroupFile } from "../files.ts";
import { writeFile } from "../write.ts";

const FILES = ["cpuset.cpus", "cpuset.mems"] as const;

/**
 * Fills what is empty in each of these cgroups from the one above.
 *
 * @param dirs from the top of the mount down; the first is taken as it is
 * @param made those of them that are new, and empty therefore
 */
export function inheritCpuset(dirs: readonly string[], made: readonly string[]): void {
  for (const file of FILES) {
    let above: string | undefined;
    for (const dir of dirs) {
      const isNew = above !== undefined && made.includes(dir);
      const own = isNew ? "" : readGroupFile(`${dir}/${file}`);
      if (own === "" && above) writeFile(`${dir}/${file}`, above);
      above = own || above || "";
    }
  }
}
