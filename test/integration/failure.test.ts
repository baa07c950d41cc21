/** What is left when something fails half-way, or is killed: nothing, or what can be gone on with. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { execProcess, runContainer } from "../../src/index.ts";
import { makeBundle } from "../helpers/bundle.ts";
import { createContainer, sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runBundle,
  runOk,
  stateOf,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const own = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

describe("exec", () => {
  own("refuses a process file and flags that say the same", () => {
    const file = join(scratch(), "process.json");
    writeFileSync(file, JSON.stringify({ args: ["true"], cwd: "/", user: { uid: 0, gid: 0 } }));
    const { id } = startContainer(sleepingBundle());
    const result = run(["exec", "--process", file, "--user", "5", "--cwd", "/tmp", id, "ls"]);
    expect(result.code).toBe(255);
    expect(result.stderr).toContain("a process file and args, cwd, user exclude each other");
    runOk(["exec", "--process", file, id]);
  });
});

describe("a namespace that is not there", () => {
  own("is named by its kind and path", () => {
    const bundle = makeBundle({
      edit: (spec) => {
        for (const namespace of spec.linux.namespaces ?? [])
          if (namespace.type === "network") namespace.path = "/nosuch";
      },
    });
    expect(runBundle(bundle).stderr).toContain("linux.namespaces network: open /nosuch: ENOENT");
  });
});

describe("a container in a program", () => {
  own("that somebody else deletes as it ends has ended all the same", async () => {
    const id = newId();
    const running = runContainer({ bundle: sleepingBundle().path, id });
    runOk(["delete", "--force", id]);
    expect(await running).toMatchObject({ id, exitCode: 137 });
  });
});

describe("a start that was killed", () => {
  /** As a `start` leaves it that is killed right after it wrote the state. */
  function interrupt(id: string): void {
    const path = `/run/tsrun/${id}/state.json`;
    writeFileSync(path, JSON.stringify({ ...JSON.parse(readFileSync(path, "utf8")), phase: "running" }));
  }

  own("before it let the process go can be done again", async () => {
    const container = createContainer(makeBundle({ args: ["sh", "-c", "echo up; exec sleep 3600"] }));
    interrupt(container.id);
    runOk(["start", container.id]);
    await container.waitFor("up");
    expect(run(["start", container.id]).stderr).toContain("cannot start an already running container");
  });

  own("after that has started the container", () => {
    const { id } = startContainer(sleepingBundle());
    // The socket outlives its listener when nobody removes it.
    writeFileSync(`/run/tsrun/${id}/start.sock`, "");
    expect(run(["start", id]).stderr).toContain("cannot start an already running container");
    expect(stateOf(id)?.status).toBe("running");
  });
});

describe("a failure after the process was made", () => {
  const missing = () => join(scratch(), "nobody-listens");

  own("leaves no pid file, and nothing else", () => {
    const earlier = inventory();
    const pidFile = join(scratch(), "pid");
    const result = run([
      "create",
      "-b",
      makeBundle().path,
      "--pid-file",
      pidFile,
      "--pidfd-socket",
      missing(),
      newId(),
    ]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("connect");
    expect(existsSync(pidFile)).toBe(false);
    expectNothingLeft(earlier);
  });

  own("leaves a program that uses the library no child and no descriptor", async () => {
    const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, "utf8");
    const descriptors = () => readdirSync("/proc/self/fd").length;
    const { id } = startContainer(sleepingBundle());
    const failing = () => execProcess({ id, args: ["true"], tty: true, detach: true, consoleSocket: missing() });
    await expect(failing()).rejects.toThrow("connect"); // the first call loads what stays open
    const were = [children(), descriptors()];
    await expect(failing()).rejects.toThrow("connect");
    await expect(execProcess({ id, args: ["/nosuch"] })).rejects.toThrow("no such file");
    await expect(runContainer({ bundle: makeBundle({ args: ["/nosuch"] }).path, id: newId() })).rejects.toThrow();
    expect([children(), descriptors()]).toEqual(were);
  });

  own("a terminal that nobody would read is refused", async () => {
    const bundle = makeBundle({ terminal: true });
    await expect(runContainer({ bundle: bundle.path, id: newId() })).rejects.toThrow("cannot allocate tty");
  });
});
