/** What the suites look for when a container has gone: a leak of each kind is seen, or the others prove nothing. */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { needs } from "../helpers/needs.ts";
import { expectNothingLeft, inventory, newId, processesNamed, stateDirectory, until } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true });

/** Makes a leak, and returns how to take it back. */
type Leak = (id: string) => () => unknown;

const IN_THE_BACKGROUND = { stdio: "ignore", detached: true } as const;

const LEAKS: Record<string, Leak> = {
  "a mount": () => {
    const at = scratch("mount");
    expect(spawnSync("mount", ["-t", "tmpfs", "leak", at]).status).toBe(0);
    return () => spawnSync("umount", [at]);
  },
  "a cgroup": (id) => {
    const hierarchy = existsSync("/sys/fs/cgroup/cgroup.controllers") ? "/sys/fs/cgroup" : "/sys/fs/cgroup/pids";
    mkdirSync(join(hierarchy, id));
    return () => rmdirSync(join(hierarchy, id));
  },
  "a process that is told of the container": (id) => {
    const { pid = 0 } = spawn("sh", ["-c", "sleep 1000; :", id], IN_THE_BACKGROUND);
    return () => process.kill(-pid, "SIGKILL");
  },
  "a process that is in its directory": () => {
    const { pid = 0 } = spawn("sleep", ["1000"], { ...IN_THE_BACKGROUND, cwd: scratch("cwd") });
    return () => process.kill(pid, "SIGKILL");
  },
  "a state": (id) => {
    mkdirSync(stateDirectory(id), { recursive: true });
    return () => rmdirSync(stateDirectory(id));
  },
  "a layer": (id) => {
    const layer = `/var/lib/tsrun/overlay2/${id}`;
    mkdirSync(layer, { recursive: true });
    return () => rmSync(layer, { recursive: true });
  },
  "what is mounted of the store": (id) => {
    const record = `/var/lib/tsrun/image/overlay2/layerdb/mounts/${id}`;
    mkdirSync(record, { recursive: true });
    return () => rmSync(record, { recursive: true });
  },
};

for (const [what, make] of Object.entries(LEAKS)) {
  root(`${what} that is left is seen`, async () => {
    // The directories that hold what is left are made once and stay.
    for (const dir of ["/run/tsrun", "/var/lib/tsrun/overlay2", "/var/lib/tsrun/image/overlay2/layerdb/mounts"]) {
      mkdirSync(dir, { recursive: true });
    }
    const before = inventory();
    const id = newId();
    const takeBack = make(id);
    try {
      await until(() => isSeen(before), `${what} is seen`);
    } finally {
      takeBack();
    }
    await until(() => processesNamed().every((line) => before.processes.includes(line)), "the process has ended");
    expectNothingLeft(before);
  });
}

root("a second mount of the same in one place is seen", () => {
  const at = scratch("mount");
  const mount = () => expect(spawnSync("mount", ["-t", "tmpfs", "leak", at]).status).toBe(0);
  mount();
  const before = inventory();
  mount();
  const seen = isSeen(before);
  spawnSync("umount", [at]);
  expectNothingLeft(before);
  spawnSync("umount", [at]);
  expect(seen).toBe(true);
});

function isSeen(before: ReturnType<typeof inventory>): boolean {
  try {
    expectNothingLeft(before);
    return false;
  } catch {
    return true;
  }
}
