/**
 * state.json after a power failure, or after somebody's editor: whatever is in it, `state` and `list` say so, and
 * `delete --force` removes what can be found by the container's id.
 */
import { existsSync, readFileSync, rmdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { runDetached } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import {
  cgroupsNamed,
  expectNothingLeft,
  inventory,
  newId,
  run,
  stateDirectory,
  stateOf,
  until,
} from "../../helpers/runtime.ts";

const root = needs({ root: true, tsrun: true });
const systemd = needs({ root: true, tsrun: true, systemd: true });

const DAMAGES: Record<string, (file: string) => void> = {
  empty: (file) => truncateSync(file, 0),
  "cut off": (file) => truncateSync(file, Math.floor(readFileSync(file).length / 2)),
  zeros: (file) => writeFileSync(file, Buffer.alloc(4096)),
  "of another file": (file) => writeFileSync(file, "\u{1f}\u{8b}\u{8}[]{}\n"),
  "another type": (file) => writeFileSync(file, '["version", 1]'),
  "without a pid": (file) => writeFileSync(file, readFileSync(file, "utf8").replace('"pid"', '"pit"')),
};

/** The cgroup above that of a container. */
const ABOVE = "tsrun-test";

/** A container with all that create makes, and the pid of its process. */
function start(flags: readonly string[] = [], cgroupsPath?: string): { id: string; pid: number; file: string } {
  const id = newId();
  const bundle = makeBundle({
    args: ["sleep", "1000"],
    edit: (spec) => {
      spec.annotations = { "org.tsrun.overlay": "true" };
      spec.hooks = { poststop: [{ path: "/bin/true" }] };
      if (cgroupsPath !== undefined) spec.linux.cgroupsPath = cgroupsPath.replace("ID", id);
    },
  });
  const { code, stderr } = runDetached([...flags, "run", "-d", "-b", bundle.path, id]);
  expect({ code, stderr: stderr() }).toEqual({ code: 0, stderr: "" });
  return { id, pid: stateOf(id)?.pid as number, file: `${stateDirectory(id)}/state.json` };
}

async function end(pid: number): Promise<void> {
  process.kill(pid, "SIGKILL");
  await until(() => !existsSync(`/proc/${pid}`), "it ends");
}

function expectTold(id: string): void {
  const damaged = expect.stringContaining(`state of container ${id} cannot be read`);
  expect(run(["state", id])).toMatchObject({ code: 1, stderr: damaged });
  const list = run(["list", "-q"]);
  expect(list).toMatchObject({ code: 0, stderr: damaged });
  expect(list.stdout).not.toContain(id);
  expect(run(["delete", id])).toMatchObject({ code: 1, stderr: damaged });
  expect(run(["kill", id, "KILL"])).toMatchObject({ code: 1, stderr: damaged });
}

describe("a state that is damaged", () => {
  for (const [name, damage] of Object.entries(DAMAGES)) {
    root(`${name}: state and list say so, and delete --force removes the rest`, async () => {
      const before = inventory();
      const { id, pid, file } = start();
      await end(pid);
      damage(file);
      expectTold(id);
      const removed = run(["delete", "--force", id]);
      expect(removed).toMatchObject({ code: 0, stderr: expect.stringContaining("poststop hooks are not run") });
      expect(run(["state", id]).stderr).toContain("does not exist");
      expectNothingLeft(before);
    });
  }

  root("without the file there is no such container, and delete --force removes what it has left", async () => {
    const before = inventory();
    const { id, pid, file } = start();
    await end(pid);
    rmSync(file);
    expect(run(["state", id]).stderr).toContain("does not exist");
    expect(run(["list"])).toMatchObject({ code: 0, stderr: "" });
    expect(run(["delete", "--force", id])).toMatchObject({ code: 0, stderr: "" });
    expectNothingLeft(before);
  });

  const alive: [string, typeof root, string[], string | undefined][] = [
    ["its process", root, [], undefined],
    ["its process, in a cgroup that was asked for", root, [], `/${ABOVE}/ID-here`],
    ["its process, in a unit of systemd", systemd, ["--systemd-cgroup"], undefined],
    ["its process, in a unit that was asked for", systemd, ["--systemd-cgroup"], "tsruntest.slice:box:ID"],
  ];
  for (const [what, test, flags, cgroupsPath] of alive) {
    test(`while ${what} lives nothing is removed, and it is named`, async () => {
      const before = inventory();
      const { id, pid, file } = start(flags, cgroupsPath);
      truncateSync(file, 100);
      const refused = run(["delete", "--force", id]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toMatch(
        new RegExp(`^tsrun: state of container ${id} .*damaged.*a cgroup of its name: ${pid}$`, "m"),
      );
      expect(existsSync(file)).toBe(true);
      await end(pid);
      await until(() => run(["delete", "--force", id]).code === 0, "it is removed");
      // What was made on the way to the cgroup only the state knew.
      for (const dir of cgroupsNamed(ABOVE).filter((dir) => basename(dir) === ABOVE)) rmdirSync(dir);
      await until(() => cgroupsNamed(id).length === 0, "systemd hears of the end");
      expectNothingLeft(before);
    });
  }
});
