/** What is beside a container: another one of the same name, of another user, or of another runtime. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { runDetached, sleepingBundle } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  RUNTIME,
  run,
  runOk,
  spawn,
  stateOf,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true, tsrun: true });
const users = needs({ root: true, tsrun: true, commands: ["setpriv"] });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

const statusOf = (id: string) => stateOf(id)?.status;

describe("the name of a container in the foreground", () => {
  root("is another's as soon as it is deleted: its end removes nothing of that one", async () => {
    const bundle = sleepingBundle({
      edit: (spec) => {
        spec.hooks = { poststop: [{ path: "/bin/sleep", args: ["sleep", "0.3"] }] };
      },
    });
    const id = newId();
    const foreground = spawn(["run", "-b", bundle.path, id]);
    await until(() => statusOf(id) === "running", "it runs");
    runOk(["delete", "--force", id]);
    const { code, stderr } = runDetached(["run", "-d", "-b", sleepingBundle().path, id]);
    expect({ code, stderr: stderr() }).toEqual({ code: 0, stderr: "" });
    expect((await foreground.exit).code).toBe(137);
    expect(statusOf(id)).toBe("running");
    runOk(["delete", "--force", id]);
  });
});

describe("a directory of states that is not one's own", () => {
  const asUser = (args: readonly string[]) =>
    spawnSync("setpriv", ["--reuid=4242", "--regid=4242", "--clear-groups", RUNTIME, ...args], {
      encoding: "utf8",
      timeout: 60_000,
    });

  users("list and events go on beside the containers of another user", async () => {
    const states = scratch("states");
    spawnSync("chmod", ["1777", states]);
    const id = newId();
    const made = runDetached(["--root", states, "run", "-d", "-b", sleepingBundle().path, id]);
    expect(made.code).toBe(0);
    expect(asUser(["--root", states, "list", "-q"])).toMatchObject({
      status: 0,
      stdout: "",
      stderr: expect.stringContaining(`container ${id} is not for this user to see`),
    });
    const script = `setpriv --reuid=4242 --regid=4242 --clear-groups ${RUNTIME} --root ${states} events --all & p=$!
      while kill -0 $p && ! ls -l /proc/$p/fd 2>/dev/null | grep -q inotify; do sleep 0.05; done
      mkdir ${states}/other; sleep 0.3; kill $p && echo went on; wait $p`;
    const { stdout, stderr } = run(["-c", script], { runtime: "sh" });
    expect(stdout).toBe("went on\n");
    expect(stderr).not.toContain("tsrun");
    rmdirSync(join(states, "other"));
    runOk(["--root", states, "delete", "--force", id]);
  });

  root("the states of another runtime, and of a newer tsrun, are said to be that, and are not removed", () => {
    const states = scratch("states");
    const files: Record<string, [object, RegExp]> = {
      // As runc 1.1 has it.
      other: [{ id: "other", init_process_pid: 1, init_process_start: 2, config: {} }, /that of another runtime/],
      newer: [{ version: 99, id: "newer", phase: "gone" }, /written by a newer tsrun/],
    };
    for (const [id, [content, said]] of Object.entries(files)) {
      mkdirSync(join(states, id));
      const file = join(states, id, "state.json");
      writeFileSync(file, JSON.stringify(content));
      for (const args of [["state"], ["kill"], ["delete"], ["delete", "--force"]]) {
        expect(run(["--root", states, ...args, id])).toMatchObject({ code: 1, stderr: expect.stringMatching(said) });
      }
      expect(run(["--root", states, "list", "-q"])).toMatchObject({
        code: 0,
        stdout: "",
        stderr: expect.stringMatching(said),
      });
      expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(content);
    }
  });

  root("of a name that a create has left, delete says what removes it", () => {
    const states = scratch("states");
    mkdirSync(join(states, "web"));
    expect(run(["--root", states, "create", "-b", makeBundle().path, "web"]).stderr).toContain("already exists");
    const refused = run(["--root", states, "delete", "web"]);
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/does not exist\n {2}fix: .*delete --force web/),
    });
    runOk(["--root", states, "delete", "--force", "web"]);
    expect(existsSync(join(states, "web"))).toBe(false);
  });
});
