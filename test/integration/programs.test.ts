/**
 * Programs as people run them, from a real Debian in three layers: a server with its client in the same container,
 * and an interpreter. The root filesystem is made before the sandbox: test/helpers/debian-rootfs.mjs.
 */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, expect, test } from "vitest";
import { type Bundle, defaultConfig, type FullSpec } from "../helpers/bundle.ts";
import { DEBIAN_ROOTFS } from "../helpers/debian-rootfs.mjs";
import { describeNeeds } from "../helpers/needs.ts";
import {
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runBundle,
  runOk,
  spawn,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const LAYERS = ["base", "app", "top"];

let layers: string;
let before: Leftovers;

/** The base is Debian, the application brings its configuration, and the top one removes a file of the base. */
function makeLayers(): string {
  const dir = scratch("layers");
  for (const name of LAYERS) mkdirSync(join(dir, name));
  const tar = spawnSync("tar", ["-C", join(dir, "base"), "--numeric-owner", "-xf", DEBIAN_ROOTFS], {
    encoding: "utf8",
  });
  expect(tar.stderr).toBe("");
  mkdirSync(join(dir, "app/etc/redis"), { recursive: true });
  mkdirSync(join(dir, "app/srv"));
  writeFileSync(join(dir, "app/etc/redis/app.conf"), 'save ""\nbind 127.0.0.1\nport 6379\ndir /tmp\n');
  writeFileSync(join(dir, "app/srv/program.py"), PROGRAM);
  mkdirSync(join(dir, "top/etc"), { recursive: true });
  expect(spawnSync("mknod", [join(dir, "top/etc/debian_version"), "c", "0", "0"]).status).toBe(0);
  for (const name of ["app", "top"]) chmodSync(join(dir, name), 0o755);
  return dir;
}

/** With what python3-minimal brings. */
const PROGRAM = `
import hashlib, os, socket, subprocess, sys, threading
server = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=lambda: server.accept()[0].sendall(b"over the loopback"), daemon=True).start()
with socket.create_connection(server.getsockname()) as client:
    print(client.recv(100).decode())
print(os.getpid(), os.getuid(), hashlib.sha256(b"tsrun").hexdigest()[:8])
print(subprocess.run(["sh", "-c", "echo from $PPID"], capture_output=True, text=True).stdout.strip())
print(os.path.exists("/etc/debian_version"), "localhost" in open("/etc/hosts").read())
open("/srv/written", "w").write("x")
sys.exit(7)
`;

function bundleOf(args: string[]): Bundle {
  const path = scratch("bundle");
  const spec: FullSpec = defaultConfig();
  spec.process.terminal = false;
  spec.process.args = args;
  spec.root.readonly = false;
  spec.annotations = { "org.tsrun.layers": JSON.stringify(LAYERS.map((name) => join(layers, name))) };
  const write = () => writeFileSync(join(path, "config.json"), JSON.stringify(spec));
  write();
  return {
    path,
    rootfs: "",
    spec,
    edit(change) {
      change(spec);
      write();
    },
  };
}

describeNeeds({ root: true, tsrun: true, files: [DEBIAN_ROOTFS], commands: ["tar"] })(
  "a Debian in three layers",
  () => {
    beforeAll(() => {
      layers = makeLayers();
    }, 120_000);
    beforeEach(() => {
      before = inventory();
    });
    afterEach(() => expectNothingLeft(before));

    test("redis-server runs, answers redis-cli over the loopback, and ends at SIGTERM with its exit code", async () => {
      const id = newId("redis");
      const server = spawn(["run", "-b", bundleOf(["redis-server", "/etc/redis/app.conf"]).path, id]);
      await server.waitFor("Ready to accept connections");
      const ask = (...args: string[]) => runOk(["exec", id, "redis-cli", ...args]);
      expect(ask("ping")).toBe("PONG\n");
      expect(ask("set", "key", "value")).toBe("OK\n");
      expect(ask("get", "key")).toBe("value\n");
      expect(run(["exec", id, "redis-cli", "-p", "1", "ping"]).code).toBe(1);
      // Whoever waits in the foreground is the monitor, in a few pages.
      const resident = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${server.pid}/status`, "utf8"))?.[1];
      expect(Number(resident)).toBeLessThanOrEqual(100);
      server.child.kill("SIGTERM");
      const { code, signal, stdout } = await server.exit;
      expect({ code, signal }).toEqual({ code: 0, signal: null });
      expect(stdout).toContain("ready to exit, bye bye");
    }, 120_000);

    test("kill reaches it too, and SIGKILL is exit code 137", async () => {
      const id = newId("redis");
      const server = spawn(["run", "-b", bundleOf(["redis-server", "/etc/redis/app.conf"]).path, id]);
      await server.waitFor("Ready to accept connections");
      runOk(["kill", id, "KILL"]);
      expect((await server.exit).code).toBe(137);
      await until(() => run(["state", id]).code !== 0, "its state goes");
    }, 120_000);

    test("a Python program sees its layers, talks to itself, and changes none of them", () => {
      const listing = () => ["base", "app"].map((name) => readdirSync(join(layers, name, "srv")).join(" "));
      const untouched = listing();
      const { code, stdout, stderr } = runBundle(bundleOf(["python3", "/srv/program.py"]));
      expect({ code, stderr }).toEqual({ code: 7, stderr: "" });
      expect(stdout).toBe("over the loopback\n1 0 3e426dce\nfrom 1\nFalse True\n");
      expect(listing()).toEqual(untouched);
      expect(existsSync(join(layers, "base/etc/debian_version"))).toBe(true);
    }, 120_000);
  },
);
