/**
 * Who makes the cgroups of containers, and with whose rights: the modes that a suite runs in, unchanged. A mode that this
 * machine does not offer is skipped with the reason.
 */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { detectCgroups } from "../../src/cgroup/manager.ts";
import type { LinuxResources } from "../../src/spec/types.ts";
import { type Bundle, type BundleRequest, type FullSpec, makeBundle } from "./bundle.ts";
import { cgroupLayout, missing, type Needs, needs } from "./needs.ts";
import {
  type Caller,
  callAs,
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  RUNTIME,
  until,
} from "./runtime.ts";
import { scratch, TEST_PREFIX } from "./scratch.ts";

export interface Mode {
  name: string;
  /** `test`, where the mode has these controllers; the name says which it has not. */
  on(...controllers: string[]): ReturnType<typeof needs>;
  /** The same for what is a habit of tsrun. */
  own(...controllers: string[]): ReturnType<typeof needs>;
  /** Is it known who was killed for want of memory? Where the cgroup has gone, to who may read the kernel's log. */
  knowsKills: boolean;
  /** Are its figures? Without root's priority nobody can be sure to see that cgroup to its end. */
  knowsFigures: boolean;
  /** A bundle that its caller may run. */
  bundle(request: BundleRequest): Bundle;
  /** One of a shell script with limits. */
  limited(script: string, resources: LinuxResources, edit?: (spec: FullSpec) => void): Bundle;
}

/** What a mode is made of. */
interface Kind {
  name: string;
  needs: Needs;
  /** Is the cgroup there when its container has ended? systemd removes one with its last process. */
  outlives: boolean;
  readsLog: boolean;
  /** Of an ordinary user: his uid. */
  uid?: number;
  /** Controllers that its cgroups have; undefined: all that the machine has. */
  controllers?: readonly string[];
  enter(): Caller;
  leave(): void;
  /** Units of containers at the systemd that made their cgroups. */
  units(): string;
}

/** Runs the same tests in each mode; afterwards no container has left anything, no cgroup and no unit. */
export function inEachMode(body: (mode: Mode) => void): void {
  for (const kind of [cgroupfs, systemd, rootless]) {
    const reason = missing(kind.needs);
    if (reason !== undefined) {
      test.skip(`${kind.name} (skipped: ${reason})`, () => {});
      continue;
    }
    describe(kind.name, () => {
      let before: Leftovers;
      beforeAll(() => {
        callAs(kind.enter());
        before = inventory();
      });
      afterAll(async () => {
        try {
          deleteContainers();
          await until(() => kind.units() === "", "the units of the containers go");
          expectNothingLeft(before);
        } finally {
          callAs();
          kind.leave();
        }
      });
      body(modeOf(kind));
    });
  }
}

function modeOf(kind: Kind): Mode {
  const on = (wanted: Needs, controllers: string[]) => {
    const lacking = controllers.find((name) => kind.controllers?.includes(name) === false);
    if (lacking === undefined) return needs({ ...kind.needs, ...wanted, controllers });
    return (name: string) => test.skip(`${name} (skipped: ${lacking} is not given to this user)`, () => {});
  };
  const bundle = (request: BundleRequest) => {
    const { uid } = kind;
    const made = makeBundle({
      ...request,
      rootless: uid !== undefined,
      edit: (spec) => {
        if (uid !== undefined) {
          spec.linux.uidMappings = [{ containerID: 0, hostID: uid, size: 1 }];
          spec.linux.gidMappings = [{ containerID: 0, hostID: uid, size: 1 }];
        }
        request.edit?.(spec);
      },
    });
    if (uid !== undefined) spawnSync("chown", ["-R", `${uid}:${uid}`, made.path]);
    return made;
  };
  return {
    name: kind.name,
    knowsKills: kind.outlives || kind.readsLog,
    knowsFigures: kind.outlives || kind.uid === undefined,
    on: (...controllers) => on({}, controllers),
    own: (...controllers) => on({ tsrun: true }, controllers),
    bundle,
    limited: (script, resources, edit) =>
      bundle({
        args: ["sh", "-c", script],
        edit: (spec) => {
          spec.linux.resources = { ...spec.linux.resources, ...resources };
          edit?.(spec);
        },
      }),
  };
}

const STATE_ROOT = "/run/tsrun";

const cgroupfs: Kind = {
  name: "cgroupfs, as root",
  needs: { root: true, cgroup: ["v1", "v2"] },
  outlives: true,
  readsLog: true,
  enter: () => ({ program: RUNTIME, stateRoot: STATE_ROOT }),
  leave: () => {},
  units: () => "",
};

const systemd: Kind = {
  name: "systemd, as root",
  needs: { root: true, cgroup: ["v1", "v2"], systemd: true },
  outlives: false,
  readsLog: true,
  enter: () => ({ program: wrapper(`exec ${RUNTIME} --systemd-cgroup "$@"`), stateRoot: STATE_ROOT }),
  leave: () => {},
  units: () => unitsOf("systemctl", []),
};

/** The user of the virtual machine has a systemd of his own, to which v2's controllers are given. */
const OWN = { uid: 1000, runtimeDir: "/run/user/1000" };
const hasOwn = cgroupLayout() === "v2" && existsSync(`${OWN.runtimeDir}/systemd/private`);
const given = hasOwn ? ownSystemd() : delegatedByHand();

const rootless: Kind = {
  name: `as an ordinary user, ${hasOwn ? "whose own systemd makes the cgroups" : "in cgroups that were given to him"}`,
  // What was given by hand is the same on the machine itself, which is faster.
  needs: { root: true, tsrun: true, cgroup: ["v1", "v2"], commands: ["setpriv"], native: !hasOwn },
  outlives: !hasOwn,
  readsLog: false,
  ...given,
};

interface Given extends Pick<Kind, "controllers" | "leave" | "units" | "enter"> {
  uid: number;
}

/** The runtime has to run below the user's systemd too: who may move a process is asked of the cgroup above both. */
function ownSystemd(): Given {
  const { uid, runtimeDir } = OWN;
  const env = `XDG_RUNTIME_DIR=${runtimeDir}`;
  // A command line that names a file of this process's would be taken for what a container has left.
  const place = `${runtimeDir}/tsrun-keeper`;
  return {
    uid,
    controllers: ["cpu", "cpuset", "io", "memory", "pids", "freezer"],
    enter: () => {
      rmSync(place, { force: true });
      // A scope of his, which is there until it is left.
      const script = `sed -n s/^0:://p /proc/self/cgroup > ${place}; exec sleep infinity`;
      spawn("as-user", ["sh", "-c", script], { stdio: "ignore" });
      const enter = `until [ -s ${place} ]; do sleep 0.1; done\necho $$ > /sys/fs/cgroup$(cat ${place})/cgroup.procs`;
      return callerOf(uid, env, ["--systemd-cgroup"], enter);
    },
    leave: () => writeFileSync(`/sys/fs/cgroup${readFileSync(place, "utf8").trim()}/cgroup.kill`, "1"),
    units: () =>
      unitsOf("setpriv", [`--reuid=${uid}`, `--regid=${uid}`, "--clear-groups", "env", env, "systemctl", "--user"]),
  };
}

/** A cgroup of every hierarchy is his, and the runtime runs in one below it. */
function delegatedByHand(): Given {
  const uid = 4242;
  const { v1, unified } = detectCgroups();
  const tops = [...v1, ...(unified ? [unified] : [])].map(({ mount }) => mount);
  const groups = [...new Set(tops)].map((top) => join(top, `${TEST_PREFIX}-user`));
  return {
    uid,
    enter: () => {
      for (const group of groups) {
        for (const dir of [group, `${group}/own`]) {
          mkdirSync(dir);
          handDown(join(dir, ".."), dir);
        }
        spawnSync("chown", ["-R", `${uid}:${uid}`, group]);
      }
      return callerOf(uid, "", [], groups.map((group) => `echo $$ > ${group}/own/cgroup.procs`).join("\n"));
    },
    leave: () => {
      // Fails when a container has left something below.
      for (const group of groups) for (const dir of [`${group}/own`, group]) rmdirSync(dir);
    },
    units: () => "",
  };
}

/** A cgroup of v2 has the controllers that the one above hands down; a cpuset of v1 begins empty. */
function handDown(above: string, dir: string): void {
  if (cgroupLayout() === "v2" && !dir.endsWith("/own")) {
    for (const name of readFileSync(join(above, "cgroup.controllers"), "utf8").trim().split(" ")) {
      writeFileSync(join(above, "cgroup.subtree_control"), `+${name}`);
    }
  }
  for (const file of readdirSync(dir).filter((name) => /^cpuset\.(cpus|mems)$/.test(name))) {
    if (cgroupLayout() !== "v2") writeFileSync(join(dir, file), readFileSync(join(above, file), "utf8"));
  }
}

/** @param enter a script that puts root's shell into a cgroup of the user's */
function callerOf(uid: number, env: string, flags: readonly string[], enter: string): Caller {
  const home = scratch("user");
  chownSync(home, uid, uid);
  const stateRoot = `${home}/run`;
  const drop = `setpriv --reuid=${uid} --regid=${uid} --clear-groups --inh-caps=-all`;
  const command = `${drop} env -i PATH="$PATH" HOME=${home} ${env} ${RUNTIME} --root ${stateRoot}`;
  return { program: wrapper(`${enter}\nexec ${command} ${flags.join(" ")} "$@"`), stateRoot };
}

/** A program for the helpers to run in place of the runtime. */
function wrapper(script: string): string {
  const path = join(scratch("caller"), "tsrun");
  writeFileSync(path, `#!/bin/sh\n${script}\n`);
  chmodSync(path, 0o755);
  return path;
}

function unitsOf(command: string, args: readonly string[]): string {
  const list = ["list-units", "--all", "--plain", "--no-legend", `*${TEST_PREFIX}*`];
  const { stdout, stderr } = spawnSync(command, [...args, ...list], { encoding: "utf8" });
  expect(stderr).toBe("");
  return stdout.trim();
}

/** The numbers of the device that a file system lies on. */
export function deviceOf(path: string): { major: number; minor: number } {
  const { dev } = statSync(path);
  return { major: (dev >> 8) & 0xfff, minor: (dev & 0xff) | ((dev >> 12) & 0xfff00) };
}
