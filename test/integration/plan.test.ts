/** `tsrun plan`: what would be done, without root and without touching anything. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { missing, needs } from "../helpers/needs.ts";
import { expectNothingLeft, inventory, type Leftovers, RUNTIME, run, runOk } from "../helpers/runtime.ts";

const own = needs({ tsrun: true });
const isRoot = process.getuid?.() === 0;

let before: Leftovers | undefined;
beforeAll(() => {
  if (missing({ root: true }) === undefined) before = inventory();
});
afterAll(() => {
  if (before) expectNothingLeft(before);
});

/** Runs `tsrun plan` as an ordinary user, whoever runs the tests. */
function asUser(args: string[]): { status: number | null; stdout: string; stderr: string } {
  const command = isRoot
    ? ["setpriv", "--reuid=4242", "--regid=4242", "--clear-groups", "--inh-caps=-all", RUNTIME, ...args]
    : [RUNTIME, ...args];
  return spawnSync(command[0] as string, command.slice(1), {
    encoding: "utf8",
    env: { PATH: process.env.PATH ?? "", HOME: "/nonexistent" },
  });
}

/** Names, modes and times of everything below a directory. */
function snapshot(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .sort()
    .map((name) => {
      const stat = statSync(join(dir, name), { throwIfNoEntry: false });
      return `${name} ${stat?.mode} ${stat?.mtimeMs}`;
    });
}

own("an ordinary user gets the plan of root, and nothing is touched", () => {
  const bundle = makeBundle();
  const before = snapshot(bundle.path);
  const result = asUser(["plan", bundle.path]);
  expect(result.stderr).toBe("");
  expect(result.status).toBe(0);
  expect(result.stdout).toContain("clone3");
  expect(result.stdout).toContain("pivot_root");
  expect(result.stdout.trim().split("\n").at(-1)).toMatch(/execve \[true\]/);
  expect(snapshot(bundle.path)).toEqual(before);
});

own("one line a step, each with the part of config.json that asked for it", () => {
  const lines = runOk(["plan", makeBundle().path])
    .split("\n")
    .filter((line) => /^\s*\d/.test(line));
  for (const line of lines) expect(line).toMatch(/^\s*\d+ {2}\S.* {2}# \S/);
  expect(lines.some((line) => line.endsWith("# mounts[0] /proc"))).toBe(true);
  expect(lines.map((line) => Number.parseInt(line, 10))).toEqual(lines.map((_, i) => i));
});

own("--json is the whole plan, with what the host does first", () => {
  const bundle = makeBundle();
  bundle.edit((spec) => {
    spec.linux.resources = { pids: { limit: 5 } };
  });
  const plan = JSON.parse(runOk(["plan", "--json", bundle.path])) as {
    steps: { op: string }[];
    host: string[];
    inherit: unknown[];
  };
  expect(plan.steps.at(-1)?.op).toBe("exec");
  expect(plan.steps.map(({ op }) => op)).toContain("clone");
  expect(plan.inherit.length).toBeGreaterThan(1);
  if (isRoot) expect(plan.host.join("\n")).toMatch(/pids\.max/);
});

own("the same bundle gives the same plan", () => {
  const bundle = makeBundle();
  const plans = [1, 2].map(() => runOk(["plan", "--id", "same", bundle.path]));
  expect(plans[0]).toBe(plans[1]);
});

own("layers and the read-write layer are in it", () => {
  const bundle = makeBundle();
  mkdirSync(join(bundle.path, "more"));
  const text = runOk([
    "plan",
    "--layer",
    bundle.rootfs,
    "--layer",
    join(bundle.path, "more"),
    "--rw-layer",
    "data",
    bundle.path,
  ]);
  expect(text).toContain(`host  layer ${bundle.rootfs}`);
  expect(text).toContain("host  read-write layer data");
});

own("problems of the config are told, all of them, with exit code 1", () => {
  const bundle = makeBundle();
  bundle.edit((spec) => {
    spec.process.cwd = "relative";
    spec.mounts.push({ destination: "/x", source: "/y", type: "tmpfs", options: ["bind", "idmap"] });
    Object.assign(spec, { hostname: 7 });
  });
  const result = run(["plan", bundle.path]);
  expect(result.code).toBe(1);
  for (const path of ["process.cwd", "hostname", "mounts[7]"]) expect(result.stderr).toContain(path);
});

own("text of the bundle cannot drive the terminal that shows the plan", () => {
  const bundle = makeBundle({ args: ["sh", "-c", "\u001b]0;title\u0007", "a\nb"], env: ["X=\u001b[2J"] });
  bundle.edit((spec) => {
    spec.mounts.push({ destination: "/\u001b[31mred", type: "tmpfs" });
  });
  const text = runOk(["plan", bundle.path]);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is what this is about
  expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
});

test("the plan of a rootless container is that of its user", () => {
  if (missing({ tsrun: true }) !== undefined) return;
  const [uid, gid] = isRoot ? [4242, 4242] : [process.getuid?.() ?? 0, process.getgid?.() ?? 0];
  const bundle = makeBundle({
    rootless: true,
    edit: ({ linux }) => {
      linux.uidMappings = [{ containerID: 0, hostID: uid, size: 1 }];
      linux.gidMappings = [{ containerID: 0, hostID: gid, size: 1 }];
    },
  });
  const result = asUser(["--rootless", "true", "plan", bundle.path]);
  expect(result.stderr).toBe("");
  expect(result.stdout).toMatch(/clone3 \S*user/);
  expect(result.stdout).toContain("id maps");
});

own("devices that are moved are the host's part, and the init waits for them", () => {
  const bundle = makeBundle({
    edit: (spec) => {
      spec.linux.netDevices = { eth1: { name: "eth0" }, eth2: {} };
    },
  });
  const lines = runOk(["plan", bundle.path]).split("\n");
  expect(lines).toContain("host  move network device eth1 as eth0");
  expect(lines).toContain("host  move network device eth2");
  expect(lines.filter((line) => line.includes("wait for the runtime (network devices)"))).toHaveLength(1);
});
