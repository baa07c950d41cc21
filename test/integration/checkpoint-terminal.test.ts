/** Containers at a terminal, their own or their caller's, in a checkpoint: `--shell-job`. Needs criu(8). */
import { type ChildProcess, spawn as nodeSpawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { closeQuiet, write } from "../../src/sys/file.ts";
import { setTerminalSize } from "../../src/sys/process.ts";
import { makeBundle } from "../helpers/bundle.ts";
import { COUNT, checkpoint, counted, counting, LONG, restored, started } from "../helpers/checkpoint.ts";
import { readUntil } from "../helpers/console.ts";
import { makePty } from "../helpers/monitor.ts";
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
  stateOf,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const criu = needs({ root: true, tsrun: true, criu: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

interface AtTerminal {
  master: number;
  child: ChildProcess;
  code: Promise<number>;
}

/** Runs the runtime at a terminal of its own, in the foreground. */
function atTerminal(args: readonly string[], size: { rows: number; columns: number }): AtTerminal {
  const { master, slave } = makePty();
  setTerminalSize(master, size);
  const child = nodeSpawn("setsid", ["--ctty", "--wait", RUNTIME, ...args], { stdio: [slave, slave, slave] });
  closeQuiet(slave);
  return { master, child, code: once(child, "exit").then(([code]) => code) };
}

const SCRIPT = `trap 'echo ended; exit 7' TERM; echo first; read a; echo got:$a; stty size; ${COUNT}`;

describe("a container at the terminal of its caller", () => {
  criu(
    "goes on at the terminal of restore with --shell-job, and is left alone without",
    async () => {
      const bundle = makeBundle({ args: ["sh", "-c", SCRIPT] });
      const id = newId();
      const images = join(scratch("images"), "new");
      const first = atTerminal(["run", "-b", bundle.path, id], { rows: 33, columns: 101 });
      expect(readUntil(first.master, "first")).toContain("first");
      for (const flags of [[], ["--pre-dump"]]) {
        const refused = run(["checkpoint", "--image-path", images, ...flags, id]);
        expect(refused.code).toBe(1);
        expect(refused.stderr).toContain("standard input of the container is the terminal that it was started from");
        expect(refused.stderr).toContain("--shell-job");
        expect(existsSync(images)).toBe(false);
        expect(stateOf(id)?.status).toBe("running");
      }

      checkpoint(id, images, ["--shell-job"]);
      expect(await first.code).toBe(128 + 9);
      closeQuiet(first.master);
      const there = inventory();
      const restore = ["restore", "-b", bundle.path, "--image-path", images];
      expect(run([...restore, id]).stderr).toContain("standard input of the container was the terminal");
      expect(run([...restore, "--shell-job", id]).stderr).toContain("and that of tsrun is none");
      expect(stateOf(id)).toBeUndefined();
      expectNothingLeft(there);

      const second = atTerminal([...restore, "--shell-job", id], { rows: 44, columns: 102 });
      write(second.master, "typed\n");
      const output = readUntil(second.master, "44 102");
      expect(output).toContain("got:typed");
      expect(output, "the size of the terminal that it is at now").toContain("44 102");
      await counted(id, 2);
      runOk(["kill", id, "TERM"]);
      expect(readUntil(second.master, "ended")).toContain("ended");
      expect(await second.code).toBe(7);
      closeQuiet(second.master);
      expect(stateOf(id)).toBeUndefined();
    },
    LONG,
  );

  criu(
    "--shell-job does no harm where there is no terminal",
    async () => {
      const bundle = counting();
      const id = started(bundle);
      const was = await counted(id);
      const images = scratch("images");
      checkpoint(id, images, ["--shell-job"]);
      restored(bundle, images, id, ["--shell-job"]);
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});

describe("a container with a terminal of its own", () => {
  criu(
    "goes on at the terminal of a restore in the foreground, which controls it",
    async () => {
      const bundle = makeBundle({ args: ["sh", "-c", SCRIPT.replace("stty size", "stty size; tty")], terminal: true });
      const id = newId();
      const images = scratch("images");
      const first = atTerminal(["run", "-b", bundle.path, id], { rows: 33, columns: 101 });
      expect(readUntil(first.master, "first")).toContain("first");
      checkpoint(id, images);
      expect(await first.code).toBe(128 + 9);
      closeQuiet(first.master);

      const second = atTerminal(["restore", "-b", bundle.path, "--image-path", images, id], { rows: 44, columns: 102 });
      write(second.master, "typed\n");
      const output = readUntil(second.master, "/dev/pts/0");
      expect(output).toContain("got:typed");
      expect(output).toContain("44 102");
      await counted(id, 2);
      // Of proc_pid_stat(5): tty_nr, the terminal that controls it.
      expect(readFileSync(`/proc/${stateOf(id)?.pid}/stat`, "utf8").split(" ")[6]).not.toBe("0");
      runOk(["kill", id, "TERM"]);
      expect(readUntil(second.master, "ended")).toContain("ended");
      expect(await second.code).toBe(7);
      closeQuiet(second.master);
    },
    LONG,
  );
});
