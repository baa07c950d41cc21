/** What `events --stats` prints of a cgroup is, member by member, what runc prints of the same one, and a little more. */
import { afterEach, describe, expect } from "vitest";
import { detectCgroups, processCgroups } from "../../../src/cgroup/manager.ts";
import { type CgroupStats, readStats } from "../../../src/cgroup/stats.ts";
import { makeBundle } from "../../helpers/bundle.ts";
import { deviceOf } from "../../helpers/cgroup-modes.ts";
import { runDetached } from "../../helpers/container.ts";
import { type Disk, makeDisk, noDisk } from "../../helpers/disk.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, run, runOk, until } from "../../helpers/runtime.ts";

const runtime = "runc";
const lacksDisk = noDisk(["mkfs.ext4", "-q"], "rw", 16);
const made: string[] = [];
let disk: Disk | undefined;

afterEach(() => {
  for (const id of made.splice(0)) {
    run(["resume", id], { runtime });
    run(["delete", "--force", id], { runtime });
  }
  disk?.unmount();
  disk = undefined;
});

/** Without what it does not print, of releases up to 1.1: on v2 it leaves out some more that the kernel tells. */
function runcsPart(stats: CgroupStats, layout: string): unknown {
  const { rdma: _, ...rest } = stats;
  const part = JSON.parse(JSON.stringify(rest, (name, value) => (name === "psi" ? undefined : value)));
  if (layout === "v2") {
    delete part.cpuset.cpus;
    delete part.memory.kernel.usage;
    delete part.memory.usage.max;
    part.memory.usage.failcnt = 0;
  }
  return part;
}

describe("figures", () => {
  const withRunc = needs({
    root: true,
    cgroup: ["v1", "v2"],
    controllers: ["memory", "pids", "cpu"],
    commands: ["runc"],
  });

  withRunc(
    "of a container of runc's are those that it prints itself",
    async ({ skip }) => {
      skip(lacksDisk !== undefined, lacksDisk);
      const id = newId();
      made.push(id);
      disk = makeDisk(["mkfs.ext4", "-q"], "rw", 16);
      const { path: source } = disk;
      const work = "i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done";
      const write = "dd if=/dev/zero of=/mnt/file bs=256k count=4 oflag=direct 2>/dev/null";
      const { path } = makeBundle({
        args: ["sh", "-c", `${work}; ${write}; head -c 24m /dev/zero | tail; echo ready; exec sleep 3600`],
        edit: (spec) => {
          spec.mounts.push({ destination: "/mnt", type: "bind", source, options: ["bind"] });
          spec.linux.resources = {
            ...spec.linux.resources,
            memory: { limit: 16 << 20, swap: 16 << 20 },
            pids: { limit: 30 },
            // The throttling policy of v1 counts for who is throttled.
            blockIO: { throttleWriteBpsDevice: [{ ...deviceOf(source), rate: 1 << 30 }] },
            cpu: { quota: 20_000, period: 50_000, cpus: "0" },
          };
        },
      });
      const container = runDetached(["run", "-d", "-b", path, id], { runtime });
      await until(() => container.stdout().includes("ready"), "it is ready", 30_000);
      runOk(["pause", id], { runtime });
      const { pid } = JSON.parse(runOk(["state", id], { runtime }));
      const hierarchies = detectCgroups();
      const record = { layout: hierarchies.layout, paths: processCgroups(pid, hierarchies) ?? {}, made: [] };
      const theirs = () => JSON.parse(runOk(["events", "--stats", id], { runtime })).data;
      // The kernel adds some figures up with a delay.
      let [before, ours, after] = [theirs(), readStats(record), theirs()];
      await until(() => {
        [before, ours, after] = [after, readStats(record), theirs()];
        return JSON.stringify(before) === JSON.stringify(after);
      }, "the figures stand still");
      expect(ours.blkio.ioServiceBytesRecursive?.length).toBeGreaterThan(0);
      expect(runcsPart(ours, record.layout)).toEqual(after);
    },
    400_000,
  );
});
