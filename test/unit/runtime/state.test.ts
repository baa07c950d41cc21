import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { StateError } from "../../../src/errors.ts";
import { deleteContainer } from "../../../src/runtime/delete.ts";
import { MissingError, StateDirectory } from "../../../src/runtime/state.ts";

const root = mkdtempSync(join(tmpdir(), "tsrun-state-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Another process that has the lock, and does something with the directory before it ends. */
async function holder(path: string, script: string) {
  const child = spawn("flock", ["-x", path, "sh", "-c", `echo locked; sleep 0.3; ${script}`, "sh", path]);
  await once(child.stdout, "data");
  return child;
}

describe("runtime/state: the lock", () => {
  test("is taken when its holder ends", async () => {
    const state = new StateDirectory(root, "one");
    state.create()[Symbol.dispose]();
    const child = await holder(state.path, "true");
    state.lock()[Symbol.dispose]();
    // The event of its end is still to come: we were asleep.
    await once(child, "exit");
  });

  test("of a container that was deleted meanwhile is of none", async () => {
    const state = new StateDirectory(root, "two");
    state.create()[Symbol.dispose]();
    await holder(state.path, 'rmdir "$1"');
    expect(() => state.lock()).toThrow(MissingError);
  });

  test("of a container that was deleted and made anew meanwhile is the new one's", async () => {
    const state = new StateDirectory(root, "three");
    state.create()[Symbol.dispose]();
    await holder(state.path, 'mkdir "$1.new"; mv -T "$1.new" "$1"');
    using _lock = state.lock();
    // Nobody else gets it: it is the directory that has the name now.
    const tried = spawn("flock", ["-n", state.path, "true"]);
    expect((await once(tried, "exit"))[0]).toBe(1);
  });

  test("of a new container is taken with its directory", async () => {
    const state = new StateDirectory(root, "four");
    using _lock = state.create();
    expect((await once(spawn("flock", ["-n", state.path, "true"]), "exit"))[0]).toBe(1);
    expect(() => state.create()).toThrow(StateError);
  });
});

describe("runtime/delete", () => {
  test("with force a directory without a state goes, and so does one that is not there", () => {
    mkdirSync(join(root, "five"));
    expect(() => deleteContainer(root, "five")).toThrow("container five does not exist");
    deleteContainer(root, "five", { force: true });
    expect(existsSync(join(root, "five"))).toBe(false);
    deleteContainer(root, "five", { force: true });
  });
});
