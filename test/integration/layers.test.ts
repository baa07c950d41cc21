/** A root file system of layers, as a user of the command line has it. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { type Bundle, busyboxRootfs, makeBundle } from "../helpers/bundle.ts";
import { createContainer, startContainer } from "../helpers/container.ts";
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
import { TEST_PREFIX } from "../helpers/scratch.ts";

const own = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** A bundle of three layers: busybox, an application, and one that changes both. */
function layered(script = "true", annotations: Record<string, string> = {}): Bundle {
  const bundle = makeBundle({
    args: ["sh", "-c", script],
    rootfs: () => {},
    edit: (spec) => {
      spec.root.path = "nothing-here";
      spec.annotations = { "org.tsrun.layers": '["base", "app", "top"]', ...annotations };
    },
  });
  for (const name of ["base", "app", "top"]) mkdirSync(join(bundle.path, name), { mode: 0o755 });
  busyboxRootfs(join(bundle.path, "base"));
  write(bundle, "base/etc/who", "base\n");
  write(bundle, "base/etc/kept", "kept\n");
  write(bundle, "app/etc/who", "app\n");
  write(bundle, "app/opt/app", "app\n");
  write(bundle, "top/etc/who", "top\n");
  return bundle;
}

function write(bundle: Bundle, path: string, text: string): void {
  mkdirSync(join(bundle.path, path, ".."), { recursive: true });
  writeFileSync(join(bundle.path, path), text);
}

/** Every file below a directory, with what could have changed. */
function snapshot(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => {
      const stat = lstatSync(join(dir, name));
      return `${name} ${stat.mode} ${stat.uid}:${stat.gid} ${stat.size} ${stat.mtimeMs} ${stat.ino}`;
    });
}

function output(bundle: Bundle, flags: string[] = []): string {
  const result = runBundle(bundle, flags);
  if (result.code !== 0) throw new Error(`exit code ${result.code}: ${result.stderr}`);
  return result.stdout;
}

/** The directory of a container's read-write layer. */
function upperOf(id: string): string {
  const mountId = readFileSync(`/var/lib/tsrun/image/overlay2/layerdb/mounts/${id}/mount-id`, "utf8");
  return `/var/lib/tsrun/overlay2/${mountId}/diff`;
}

own("the container sees the layers as one, the last of the list on top", () => {
  expect(output(layered("cat /etc/who /etc/kept /opt/app"))).toBe("top\nkept\napp\n");
});

own("the root is an overlay and mountinfo calls it that", () => {
  expect(output(layered("grep ' / ' /proc/mounts"))).toMatch(/^overlay \/ overlay rw,/);
});

own("layers are the same file for file after a container changed and removed all it could", () => {
  const bundle = layered(
    "rm -r /etc/who /opt; echo x >> /etc/kept; chmod 700 /etc/passwd; mv /etc/group /etc/moved; : > /new",
  );
  const before = ["base", "app", "top"].map((name) => snapshot(join(bundle.path, name)));
  output(bundle);
  expect(["base", "app", "top"].map((name) => snapshot(join(bundle.path, name)))).toEqual(before);
});

own("the read-write layer holds what changed: copies, whiteouts and nothing else", () => {
  const { id } = startContainer(layered("rm /etc/who; echo more >> /etc/kept; mkdir /made; sleep 3600"));
  const upper = upperOf(id);
  runOk(["exec", id, "sh", "-c", "until [ -d /made ]; do sleep 0.05; done"]);
  expect(readFileSync(join(upper, "etc/kept"), "utf8")).toBe("kept\nmore\n");
  const whiteout = statSync(join(upper, "etc/who"));
  expect(whiteout.isCharacterDevice()).toBe(true);
  expect(whiteout.rdev).toBe(0);
  expect(readdirSync(upper).sort()).toEqual(["etc", "made"]);
  expect(readdirSync(join(upper, "etc")).sort()).toEqual(["kept", "who"]);
  runOk(["delete", "--force", id]);
  expect(existsSync(upper)).toBe(false);
});

own("what a container wrote is gone at its next run", () => {
  const bundle = layered("[ -e /written ] && echo there; echo x > /written");
  expect([output(bundle), output(bundle)]).toEqual(["", ""]);
});

own("two containers on the same layers do not see each other", async () => {
  const bundle = layered("hostname; echo $$ > /mine; until [ -e /go ]; do sleep 0.05; done; ls / | grep -c other");
  const [one, two] = [startContainer(bundle), startContainer(bundle)];
  runOk(["exec", one.id, "touch", "/other"]);
  expect(run(["exec", two.id, "ls", "/other"]).code).toBe(1);
  expect(runOk(["exec", one.id, "ls", "/other"])).toBe("/other\n");
  for (const { id } of [one, two]) runOk(["delete", "--force", id]);
});

own("hostname, hosts and resolv.conf are this container's, and not the image's", () => {
  const bundle = layered("cat /etc/hostname; grep -c web /etc/hosts; cat /etc/resolv.conf | wc -c");
  bundle.edit((spec) => {
    spec.hostname = "web";
  });
  const [hostname, hosts] = output(bundle).split("\n");
  expect([hostname, hosts]).toEqual(["web", "1"]);
  expect(existsSync(join(bundle.path, "top/etc/hosts"))).toBe(false);
});

own("--layer names layers in place of the annotation, relative to where the caller is", () => {
  const bundle = layered("cat /etc/who; ls /opt 2>/dev/null | wc -l");
  const flags = ["--layer", "base", "--layer", join(bundle.path, "app")];
  const result = run(["run", ...flags, "-b", bundle.path, newId()], { cwd: bundle.path });
  expect(result).toMatchObject({ code: 0, stdout: "app\n1\n" });
  const elsewhere = run(["run", "--layer", "base", "-b", bundle.path, newId()], { cwd: "/tmp" });
  expect(elsewhere.code).toBe(1);
  expect(elsewhere.stderr).toContain("/tmp/base");
});

own("--overlay leaves the bundle's rootfs as it is", () => {
  const bundle = makeBundle({ args: ["sh", "-c", "echo x > /new; rm /etc/passwd; ls /new"] });
  const before = snapshot(bundle.rootfs);
  expect(output(bundle, ["--overlay"])).toBe("/new\n");
  expect(snapshot(bundle.rootfs)).toEqual(before);
  expect(existsSync(join(bundle.rootfs, "new"))).toBe(false);
});

own("annotation org.tsrun.overlay is the same as --overlay", () => {
  const bundle = makeBundle({ args: ["sh", "-c", "echo x > /new"] });
  bundle.edit((spec) => {
    spec.annotations = { "org.tsrun.overlay": "true" };
  });
  output(bundle);
  expect(existsSync(join(bundle.rootfs, "new"))).toBe(false);
});

own("a named read-write layer is there at the next run, and outlives its containers", () => {
  const name = `${TEST_PREFIX}-named`;
  const bundle = layered("cat /count 2>/dev/null; echo x >> /count");
  const runs = [1, 2, 3].map(() => output(bundle, ["--rw-layer", name]));
  expect(runs).toEqual(["", "x\n", "x\nx\n"]);
  const bound = layered("cat /count", { "org.tsrun.rw-layer": name });
  expect(output(bound)).toBe("x\nx\nx\n");
  // Its own directories are all that is left, and nobody but us knows of it.
  expect(JSON.stringify(readdirSync("/var/lib/tsrun/overlay2"))).toContain(name);
  removeNamed(name);
});

own("a named read-write layer in use is refused to a second container", () => {
  const name = `${TEST_PREFIX}-busy`;
  const { id } = startContainer(layered("sleep 3600"), ["--rw-layer", name]);
  const second = runBundle(layered("true"), ["--rw-layer", name]);
  expect(second.code).toBe(1);
  expect(second.stderr).toContain(name);
  runOk(["delete", "--force", id]);
  removeNamed(name);
});

/** There is no verb for it yet. */
function removeNamed(name: string): void {
  const top = "/var/lib/tsrun/overlay2";
  for (const entry of readdirSync(top).filter((one) => one.includes(name))) {
    const link = join(top, entry, "link");
    if (existsSync(link)) rmSync(join(top, "l", readFileSync(link, "utf8")), { force: true });
    rmSync(join(top, entry), { recursive: true, force: true });
  }
}

own("a layer that is missing, or no directory, is named", () => {
  for (const layers of ['["base", "missing"]', '["base", "base/etc/passwd"]']) {
    const bundle = layered("true", { "org.tsrun.layers": layers });
    const result = runBundle(bundle);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain(join(bundle.path, JSON.parse(layers)[1]));
  }
});

own("an annotation that is no list is refused with its name", () => {
  for (const layers of ["base", "{}", "[]", "[1]", '[""]']) {
    const result = runBundle(layered("true", { "org.tsrun.layers": layers }));
    expect(result.code, layers).toBe(1);
    expect(result.stderr, layers).toContain("org.tsrun.layers");
  }
});

own("one layer, and two hundred, are mounted alike", () => {
  const bundle = layered("ls /deep | wc -l; cat /deep/199");
  const names = Array.from({ length: 200 }, (_, i) => `layer-${i}`);
  names.forEach((name, i) => {
    write(bundle, `${name}/deep/${i}`, `${i}\n`);
  });
  bundle.edit((spec) => {
    spec.annotations = { "org.tsrun.layers": JSON.stringify(["base", ...names]) };
  });
  expect(output(bundle)).toBe("200\n199\n");
  bundle.edit((spec) => {
    spec.annotations = { "org.tsrun.layers": '["base"]' };
    spec.process.args = ["cat", "/etc/who"];
  });
  expect(output(bundle)).toBe("base\n");
});

own("an opaque directory of a layer hides what is below it", () => {
  const bundle = layered("ls /etc/dir");
  write(bundle, "base/etc/dir/old", "");
  const { id } = startContainer(layered("rm -r /opt; mkdir /opt; touch /opt/new; ls /opt; sleep 3600"));
  runOk(["exec", id, "sh", "-c", "until [ -e /opt/new ]; do sleep 0.05; done"]);
  expect(runOk(["exec", id, "ls", "/opt"])).toBe("new\n");
  runOk(["delete", "--force", id]);
  expect(output(bundle)).toBe("old\n");
});

own("a read-only root of layers refuses writes", () => {
  const bundle = layered("echo x > /new 2>/dev/null || echo refused");
  bundle.edit((spec) => {
    spec.root.readonly = true;
  });
  expect(output(bundle)).toBe("refused\n");
});

own("in a user namespace the layers belong to whom they are mapped to", () => {
  const bundle = layered("stat -c %u /etc/who; touch /new && stat -c %u /new");
  bundle.edit((spec) => {
    spec.linux.namespaces?.push({ type: "user" });
    spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
    spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
  });
  const result = runBundle(bundle);
  expect(result.stderr).toBe("");
  expect(result.stdout).toBe("65534\n0\n");
});

own("state names the place where the layers are joined", () => {
  const { id } = createContainer(layered());
  expect(stateOf(id)?.rootfs).toMatch(/^\/var\/lib\/tsrun\/overlay2\/[^/]+\/merged$/);
  runOk(["delete", id]);
});

own("a layered container that was killed with its runtime is deleted whole", () => {
  const { id } = startContainer(layered("sleep 3600"));
  process.kill(stateOf(id)?.pid as number, "SIGKILL");
  runOk(["delete", "--force", id]);
  expect(existsSync(`/var/lib/tsrun/image/overlay2/layerdb/mounts/${id}`)).toBe(false);
});
