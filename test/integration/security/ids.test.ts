/** An id is a name, never a path, and what is not a container's own is never touched for it. */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { createContainer, runDetached, sleepingBundle, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { expectNothingLeft, inventory, newId, run, runOk, spawn, stateOf } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

/** What a verb needs beside the id. */
const VERBS: [string, ...string[]][] = [
  ["create", "-b", "BUNDLE"],
  ["run", "-b", "BUNDLE"],
  ["run", "-d", "-b", "BUNDLE"],
  ["start"],
  ["state"],
  ["kill"],
  ["kill", "--all"],
  ["delete"],
  ["delete", "--force"],
  ["ps"],
  ["exec"],
];
const AFTER: Record<string, string[]> = { exec: ["true"] };

const BAD_IDS = [
  "/",
  "//",
  ".",
  "..",
  "../x",
  "../../etc",
  "a/b",
  "a/",
  "/etc",
  "",
  "x".repeat(2000),
  "x".repeat(256),
  "a\nb",
  "a\u001b[31mb",
  "a b",
  "a\\b",
  "a\u0130b",
  "état",
  "*",
  "%2e%2e",
];

describe("container ids", () => {
  const tsrun = needs({ root: true, tsrun: true });

  tsrun(
    "what is no name is refused by every verb, and nothing is touched",
    () => {
      const root = join(scratch("states"), "root");
      const neighbour = join(root, "..", "x");
      for (const dir of [root, join(root, "other"), neighbour]) mkdirSync(dir);
      for (const dir of [root, join(root, "other"), neighbour]) writeFileSync(join(dir, "state.json"), "{}");
      const bundle = makeBundle().path;
      const before = inventory();
      const files = () => (readdirSync(join(root, ".."), { recursive: true }) as string[]).sort();
      const tree = files();
      for (const [verb, ...flags] of VERBS) {
        for (const id of BAD_IDS) {
          const args = flags.map((flag) => (flag === "BUNDLE" ? bundle : flag));
          const result = run(["--root", root, verb, ...args, "--", id, ...(AFTER[verb] ?? [])]);
          const what = `${verb} ${flags.join(" ")} ${JSON.stringify(id).slice(0, 40)}`;
          expect(result.code, what).toBeGreaterThan(0);
          expect(result.stderr, what).toMatch(/^tsrun: .*(invalid container ID|is not a container id|empty)/);
          // biome-ignore lint/suspicious/noControlCharactersInRegex: what must not be there
          expect(result.stderr.trimEnd(), what).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
          expect(result.stderr.length, what).toBeLessThan(3000);
        }
      }
      expect(files()).toEqual(tree);
      expectNothingLeft(before);
    },
    180_000,
  );

  tsrun("one that looks like a flag is a flag, and an id only after --", () => {
    expect(run(["delete", "--force", "-x"]).code).toBeGreaterThan(0);
    expect(run(["state", "--", "-x"]).stderr).toContain("container -x does not exist");
  });

  tsrun("the states' directory cannot be /", () => {
    for (const root of ["/", "//", "/.", "/tmp/.."]) {
      const result = run(["--root", root, "delete", "--force", "etc"]);
      expect(result.code).toBe(1);
      expect(result.stderr).toContain("must not be /");
    }
  });

  tsrun("of fifty creates of one id one wins", async () => {
    const before = inventory();
    const id = newId();
    const bundle = makeBundle().path;
    const calls = Array.from({ length: 50 }, () =>
      spawn(["create", "-b", bundle, id], { stdio: ["ignore", "ignore", "pipe"] }),
    );
    // The winner's container keeps standard error open: its end is known by the process.
    const codes = await Promise.all(
      calls.map(
        ({ child, stderr }) =>
          new Promise<string>((resolve) =>
            child.on("exit", (code) => setTimeout(() => resolve(`${code} ${stderr()}`), 50)),
          ),
      ),
    );
    expect(codes.filter((code) => code.startsWith("0 "))).toHaveLength(1);
    for (const code of codes.filter((code) => !code.startsWith("0 "))) {
      expect(code).toMatch(/^1 tsrun: .*already exists/);
    }
    expect(stateOf(id)?.status).toBe("created");
    runOk(["delete", "--force", id]);
    expectNothingLeft(before);
  });
});

describe("the state of a container", () => {
  const tsrun = needs({ root: true, tsrun: true });

  tsrun("a link in the place of its directory is not followed", () => {
    const root = join(scratch("states"), "root");
    const { id, path } = moved(root);
    symlinkSync(path, join(root, id));
    const before = readdirSync(path).sort();
    for (const args of [["state"], ["delete"], ["delete", "--force"], ["kill"], ["start"], ["ps"]]) {
      const result = run(["--root", root, ...args, id]);
      expect({ args, code: result.code > 0 || args[1] === "--force" }).toEqual({ args, code: true });
    }
    expect(readdirSync(path).sort()).toEqual(before);
    // And put back it is found.
    renameSync(join(root, id), join(root, "..", "link"));
    renameSync(path, join(root, id));
    expect(JSON.parse(runOk(["--root", root, "state", id])).status).toBe("created");
    runOk(["--root", root, "delete", "--force", id]);
  });

  /** A container whose state directory was moved away. */
  function moved(root: string): { id: string; path: string } {
    const id = newId();
    const bundle = makeBundle().path;
    expect(runDetached(["--root", root, "create", "-b", bundle, id]).code).toBe(0);
    const path = join(root, "..", "elsewhere");
    renameSync(join(root, id), path);
    return { id, path };
  }

  tsrun("a process that has the pid now is never signalled", async () => {
    const bystander = spawn(["-c", "echo here; read x"], { runtime: "/bin/sh" });
    await bystander.waitFor("here");
    const { id } = startContainer(sleepingBundle());
    const path = `/run/tsrun/${id}/state.json`;
    const record = JSON.parse(readFileSync(path, "utf8"));
    const own = record.pid;
    // As after the end of the container's process, when its number has gone to another.
    process.kill(own, "SIGKILL");
    for (const change of [
      { pid: bystander.pid },
      { pid: 1 },
      { pid: process.pid },
      { startTime: record.startTime + 1 },
    ]) {
      writeFileSync(path, JSON.stringify({ ...record, ...change }));
      expect(stateOf(id), JSON.stringify(change)).toMatchObject({ status: "stopped", pid: 0 });
      for (const args of [
        ["kill", id, "KILL"],
        ["kill", id, "TERM"],
      ]) {
        const result = run(args);
        expect({ code: result.code, stderr: result.stderr }).toMatchObject({ code: 1 });
        expect(result.stderr).toContain("container not running");
      }
      expect(run(["exec", id, "true"]).stderr).toContain("cannot exec in a stopped container");
      expect(run(["kill", "--all", id, "KILL"]).code).toBe(0);
    }
    writeFileSync(path, JSON.stringify({ ...record, pid: bystander.pid }));
    runOk(["delete", "--force", id]);
    expect(bystander.child.exitCode).toBeNull();
    bystander.child.stdin?.end("\n");
    expect((await bystander.exit).signal).toBeNull();
  });

  tsrun(
    "a state that is no state is said so, and can be removed",
    () => {
      for (const text of ["", "{", "null", "[]", '"x"', "{}", '{"version":99}', '{"version":1,"id":"other"}', "\0\0"]) {
        const { id } = createContainer(makeBundle());
        const path = `/run/tsrun/${id}/state.json`;
        const record = readFileSync(path, "utf8");
        writeFileSync(path, text);
        for (const args of [
          ["state", id],
          ["kill", id],
          ["delete", id],
          ["start", id],
          ["exec", id, "true"],
          ["ps", id],
        ]) {
          const result = run(args);
          expect(result.code, `${args[0]} ${text}`).toBeGreaterThan(0);
          expect(result.stderr, `${args[0]} ${text}`).toMatch(/^tsrun: (?!.*internal error)/);
        }
        expect(run(["list"]).code).toBe(0);
        writeFileSync(path, record);
        runOk(["delete", "--force", id]);
        expect(existsSync(`/run/tsrun/${id}`)).toBe(false);
      }
    },
    120_000,
  );
});
