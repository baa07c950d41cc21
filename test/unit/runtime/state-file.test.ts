import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { removeState } from "../../../src/runtime/remove-state.ts";
import { newRecord, StateDirectory, type StateRecord } from "../../../src/runtime/state.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tsrun-state-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function record(change: Partial<StateRecord> = {}): StateRecord {
  return {
    ...newRecord({
      ociVersion: "1.3.0",
      id: "web",
      bundle: "/b",
      rootfs: "/b/rootfs",
      created: "2026-01-01T00:00:00.000000000Z",
      owner: 0,
      annotations: {},
      phase: "created",
      pid: 42,
      startTime: 7,
      cgroup: undefined,
      overlay: undefined,
      namespaces: 0,
      ownPidNamespace: true,
      userns: false,
      setgroups: true,
      setupIds: { uid: 0, gid: 0 },
      noNewKeyring: false,
      lateSteps: [],
    } as Omit<StateRecord, "version">),
    ...change,
  };
}

function directory(): StateDirectory {
  const state = new StateDirectory(root, "web");
  state.create()[Symbol.dispose]();
  return state;
}

describe("runtime/state: the file", () => {
  test("what was written is read, and nobody else may read it", () => {
    const state = directory();
    state.write(record());
    expect(state.read()).toMatchObject({ id: "web", pid: 42, phase: "created" });
    expect(statSync(state.path).mode & 0o777).toBe(0o700);
    expect(statSync(`${state.path}/state.json`).mode & 0o777).toBe(0o600);
  });

  test("a state appears by rename: a half-written one is never read", () => {
    const state = directory();
    state.write(record());
    writeFileSync(`${state.path}/state.json.new`, '{"id":');
    expect(state.read().pid).toBe(42);
  });

  test("an id that is taken is refused, and the one that has it stays", () => {
    const state = directory();
    state.write(record());
    expect(() => new StateDirectory(root, "web").create()).toThrow("container with given ID already exists");
    expect(state.read().pid).toBe(42);
  });

  test("one that is not there does not exist", () => {
    const state = new StateDirectory(root, "web");
    expect(() => state.read()).toThrow("container web does not exist");
    expect(() => state.lock()).toThrow("container web does not exist");
    mkdirSync(state.path);
    expect(() => state.read()).toThrow("container web does not exist");
  });

  test("a state that is damaged, another's or newer is refused with its file", () => {
    const state = directory();
    for (const text of ["", "{", "[]", "null", '{"id":"web"}', JSON.stringify(record({ id: "other" }))]) {
      writeFileSync(`${state.path}/state.json`, text);
      expect(() => state.read(), text).toThrow("state of container web cannot be read");
    }
    writeFileSync(`${state.path}/state.json`, JSON.stringify(record({ version: 99 })));
    expect(() => state.read()).toThrow("newer tsrun");
  });

  test("a state directory or file that is a link is not followed", () => {
    mkdirSync(join(root, "elsewhere"));
    writeFileSync(join(root, "elsewhere/state.json"), JSON.stringify(record()));
    symlinkSync("elsewhere", join(root, "web"));
    expect(() => new StateDirectory(root, "web").read()).toThrow("symbolic link");
    const other = new StateDirectory(root, "other");
    other.create()[Symbol.dispose]();
    symlinkSync("../elsewhere/state.json", join(other.path, "state.json"));
    expect(() => other.read()).toThrow("symbolic link");
  });

  test("ids that are no names never become a path", () => {
    for (const id of ["", ".", "..", "a/b", "/", "a\0b", "x".repeat(1100)]) {
      expect(() => new StateDirectory(root, id), JSON.stringify(id)).toThrow();
    }
  });
});

describe("runtime/remove-state", () => {
  test("takes away what tsrun put there", () => {
    const state = directory();
    state.write(record());
    state.writeConfig("{}");
    removeState(state);
    expect(existsSync(state.path)).toBe(false);
  });

  test("touches nothing where somebody else put something", () => {
    const state = directory();
    state.write(record());
    writeFileSync(`${state.path}/foreign`, "kept");
    expect(() => removeState(state)).toThrow("foreign");
    expect(readFileSync(`${state.path}/foreign`, "utf8")).toBe("kept");
    expect(state.read().pid).toBe(42);
  });

  test("one that is gone already is no error", () => {
    removeState(new StateDirectory(root, "web"));
  });

  test("a config is changed by rename: who reads it meanwhile has the old one or the new one", () => {
    const state = new StateDirectory(root, "web");
    using _lock = state.create();
    state.writeConfig("old");
    const before = statSync(`${state.path}/config.json`).ino;
    state.replaceConfig("new");
    expect(readFileSync(`${state.path}/config.json`, "utf8")).toBe("new");
    expect(statSync(`${state.path}/config.json`).ino).not.toBe(before);
    removeState(state);
    expect(existsSync(state.path)).toBe(false);
  });
});
