/** What a container has from outside, in a checkpoint: mounts, layers, namespaces, pipes, its terminal. Needs criu(8). */
import { type ChildProcess, execFileSync, spawn as nodeSpawn } from "node:child_process";
import { on } from "node:events";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { closeQuiet, write } from "../../src/sys/file.ts";
import { busyboxRootfs, makeBundle } from "../helpers/bundle.ts";
import { COUNT, checkpoint, counted, counting, LONG, restored, started } from "../helpers/checkpoint.ts";
import { consoleOf, readUntil } from "../helpers/console.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { isIdmappable } from "../helpers/idmappable.ts";
import { needs } from "../helpers/needs.ts";
import {
  cgroupsNamed,
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  RUNTIME,
  run,
  runOk,
  stateOf,
  until,
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

describe("what a restored container has from outside", () => {
  criu(
    "pipes lead to where those of restore lead, and its exit code is that of restore in the foreground",
    async () => {
      const script = `trap 'echo ended; exit 7' TERM; echo first; read a; echo $a; ${COUNT}`;
      const bundle = makeBundle({ args: ["sh", "-c", script] });
      const id = newId();
      const images = scratch("images");
      const piped = (command: string, input: string) =>
        nodeSpawn("sh", ["-c", `(${input}) | (${RUNTIME} ${command}; echo code $?) 2>&1 | cat`], {
          stdio: ["ignore", "pipe", "inherit"],
          // A process group of its own, so that all of it can be ended.
          detached: true,
        });
      const first = piped(`run -b ${bundle.path} ${id}`, "sleep 3600");
      await outputOf(first, "first");
      checkpoint(id, images);
      process.kill(-(first.pid as number));
      const second = piped(`restore -b ${bundle.path} --image-path ${images} ${id}`, "echo typed; sleep 3600");
      await outputOf(second, "typed");
      await counted(id, 2);
      runOk(["kill", id, "TERM"]);
      expect(await outputOf(second, "code")).toMatch(/ended\ncode 7/);
      process.kill(-(second.pid as number));
      expect(stateOf(id)).toBeUndefined();
      expect(cgroupsNamed(id)).toEqual([]);
    },
    LONG,
  );

  criu(
    "a terminal goes to the console socket, and controls the process",
    () => {
      const bundle = makeBundle({
        args: ["sh", "-c", "echo first; read a; echo got:$a; tty; read b; echo then:$b; sleep 3600"],
        terminal: true,
      });
      const id = newId();
      const images = scratch("images");
      const created = consoleOf((socket) => ["run", "-d", "--console-socket", socket, "-b", bundle.path, id]);
      expect(readUntil(created.fd, "first")).toContain("first");
      checkpoint(id, images);
      closeQuiet(created.fd);
      const { fd } = consoleOf((socket) => {
        return ["restore", "-d", "--console-socket", socket, "-b", bundle.path, "--image-path", images, id];
      });
      write(fd, "typed\n");
      expect(readUntil(fd, "/dev/")).toContain("got:typed");
      write(fd, "more\n");
      expect(readUntil(fd, "then:more")).toContain("then:more");
      expect(runOk(["exec", id, "sh", "-c", "cut -d' ' -f7 /proc/1/stat"]).trim()).not.toBe("0");
      closeQuiet(fd);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  criu(
    "a bind mount shows what is there now, read-only if it was, and its source may be another one",
    async () => {
      const sources = scratch("sources");
      for (const name of ["a", "b"]) {
        mkdirSync(join(sources, name, "below"), { recursive: true });
        writeFileSync(join(sources, name, "who"), `${name}\n`);
      }
      writeFileSync(join(sources, "file"), "a file\n");
      const bundle = counting({
        mounts: [
          { destination: "/data", source: join(sources, "a"), options: ["rbind", "ro"] },
          { destination: "/var/lib/file", source: join(sources, "file"), options: ["bind"] },
        ],
      });
      const id = started(bundle);
      await counted(id);
      const images = scratch("images");
      checkpoint(id, images);
      bundle.edit((spec) => {
        for (const mount of spec.mounts) if (mount.destination === "/data") mount.source = join(sources, "b");
      });
      restored(bundle, images, id);
      expect(runOk(["exec", id, "cat", "/data/who", "/var/lib/file"])).toBe("b\na file\n");
      expect(run(["exec", id, "touch", "/data/new"]).stderr).toContain("Read-only");
      expect(run(["exec", id, "cat", "/proc/kcore"]).stdout, "a masked path stays masked").toBe("");
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  criu(
    "a mount in a bind mount gets its place in the source again, where that has lost it",
    async () => {
      const [outer, inner] = [scratch("outer"), scratch("inner")];
      writeFileSync(join(inner, "who"), "inner\n");
      const bundle = counting({
        mounts: [
          { destination: "/data", source: outer, options: ["bind", "rw"] },
          { destination: "/data/a/b", source: inner, options: ["bind"] },
        ],
      });
      const id = started(bundle);
      await counted(id);
      const images = scratch("images");
      checkpoint(id, images);
      rmSync(join(outer, "a"), { recursive: true });
      restored(bundle, images, id);
      expect(runOk(["exec", id, "cat", "/data/a/b/who"])).toBe("inner\n");
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  criu(
    "layers are put together again, with what the container had written",
    async () => {
      const bundle = counting({
        args: ["sh", "-c", `echo written > /etc/written; rm /etc/group; exec 5> /tmp/open; echo open >&5; ${COUNT}`],
        rootfs: () => {},
        edit: (spec) => {
          spec.annotations = { "org.tsrun.layers": '["base"]' };
        },
      });
      busyboxRootfs(mkdirIn(bundle.path, "base"));
      const id = started(bundle);
      await counted(id);
      const images = scratch("images");
      checkpoint(id, images);
      restored(bundle, images, id);
      await counted(id, 2);
      expect(runOk(["exec", id, "cat", "/etc/written", "/tmp/open"])).toBe("written\nopen\n");
      expect(run(["exec", id, "test", "-e", "/etc/group"]).code).toBe(1);
      expect(existsSync(join(bundle.path, "base/etc/group"))).toBe(true);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  criu(
    "namespaces that it has joined are joined again",
    async () => {
      const holder = startContainer(sleepingBundle());
      const path = `/proc/${stateOf(holder.id)?.pid}/ns`;
      const bundle = counting({
        edit: (spec) => {
          for (const one of spec.linux.namespaces ?? []) {
            if (one.type === "network") one.path = `${path}/net`;
            if (one.type === "ipc") one.path = `${path}/ipc`;
          }
        },
      });
      const id = started(bundle);
      await counted(id);
      const images = scratch("images");
      checkpoint(id, images);
      restored(bundle, images, id);
      const of = (container: string, type: string) =>
        execFileSync("readlink", [`/proc/${stateOf(container)?.pid}/ns/${type}`], { encoding: "utf8" });
      for (const type of ["net", "ipc"]) expect(of(id, type), type).toBe(of(holder.id, type));
      for (const type of ["pid", "mnt", "uts"]) expect(of(id, type), type).not.toBe(of(holder.id, type));
      runOk(["delete", "--force", id]);
      runOk(["delete", "--force", holder.id]);
    },
    LONG,
  );

  criu(
    "a user namespace has the same ids again, and a bind mount whose ids are mapped too",
    async ({ skip }) => {
      const source = scratch("source");
      skip(!isIdmappable(source), "the file system of the tests has no idmapped mounts");
      const range = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
      const bundle = counting({
        mounts: [{ destination: "/mnt", source, options: ["bind", "idmap"] }],
        edit: (spec) => {
          spec.linux.namespaces?.push({ type: "user" });
          spec.linux.uidMappings = range;
          spec.linux.gidMappings = range;
        },
      });
      const id = started(bundle);
      const was = await counted(id);
      const images = scratch("images");
      checkpoint(id, images);
      restored(bundle, images, id);
      expect((await counted(id, was.count + 1)).name).toBe(was.name);
      expect(
        readFileSync(`/proc/${stateOf(id)?.pid}/uid_map`, "utf8")
          .trim()
          .split(/\s+/),
      ).toEqual(["0", "100000", "65536"]);
      expect(runOk(["exec", id, "stat", "-c", "%u", "/mnt"])).toBe("0\n");
      runOk(["exec", id, "sh", "-c", "echo > /dev/null"]);
      runOk(["delete", "--force", id]);
    },
    LONG,
  );

  criu(
    "a connection is kept where that is asked for",
    async () => {
      const server = "sleep 3600 | nc -l -p 99 & until netstat -tln | grep -q :99; do sleep 0.1; done";
      const bundle = counting({ args: ["sh", "-c", `${server}; sleep 3600 | nc 127.0.0.1 99 & ${COUNT}`] });
      const id = started(bundle);
      await counted(id);
      const isConnected = () => run(["exec", id, "netstat", "-tn"]).stdout.includes("ESTABLISHED");
      await until(isConnected, "it is connected");
      const images = scratch("images");
      const failed = run(["checkpoint", "--image-path", images, id], { timeoutMs: 60_000 });
      expect(failed.stderr).toContain("--tcp-established");
      checkpoint(id, images, ["--tcp-established"]);
      restored(bundle, images, id, ["--tcp-established"]);
      await until(isConnected, "it is connected again");
      runOk(["delete", "--force", id]);
    },
    LONG,
  );
});

/** What a program writes, up to a text. */
async function outputOf(child: ChildProcess, text: string): Promise<string> {
  let all = "";
  for await (const chunk of on(child.stdout as Readable, "data")) {
    all += chunk;
    if (all.includes(`${text}`)) return all;
  }
  return all;
}

function mkdirIn(directory: string, name: string): string {
  const path = join(directory, name);
  mkdirSync(path, { mode: 0o755 });
  return path;
}
