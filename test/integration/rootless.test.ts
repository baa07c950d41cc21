/** Containers of an ordinary user: `tsrun spec --rootless`, one id or, with newuidmap(1), many. */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { busyboxRootfs, type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { needs } from "../helpers/needs.ts";
import { expectNothingLeft, inventory, type Leftovers, newId, RUNTIME } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const UID = 4242;
const wanted = { root: true, tsrun: true, commands: ["setpriv", "unshare"] };
const own = needs(wanted);
const ranges = needs({ ...wanted, commands: [...wanted.commands, "newuidmap"], files: ["/etc/subuid"] });

let before: Leftovers;
let home: string;
beforeAll(() => {
  before = inventory();
  home = scratch("home");
  for (const name of ["run", "data"]) mkdirSync(join(home, name), { mode: 0o700 });
  writeFileSync(join(home, "passwd"), `root:x:0:0::/root:/bin/sh\nordinary:x:${UID}:${UID}::${home}:/bin/sh\n`);
  writeFileSync(join(home, "subuid"), "ordinary:500000:65536\n");
  give(home);
});
afterAll(() => expectNothingLeft(before));

function give(path: string): void {
  spawnSync("chown", ["-R", `${UID}:${UID}`, path]);
}

interface Output {
  status: number | null;
  stdout: string;
  stderr: string;
}

/** A shell script of a user who has an entry in passwd and in subuid, and no privilege. `$R` is the runtime. */
function asUser(script: string): Output {
  const setUp = `mount --bind ${home}/passwd /etc/passwd
    for f in subuid subgid; do [ ! -e /etc/$f ] || mount --bind ${home}/subuid /etc/$f; done
    exec setpriv --reuid=${UID} --regid=${UID} --clear-groups --inh-caps=-all "$@"`;
  return spawnSync(
    "unshare",
    ["--mount", "--propagation", "private", "sh", "-c", setUp, "sh", "sh", "-c", `R=${RUNTIME}\n${script}`],
    {
      encoding: "utf8",
      input: "",
      timeout: 60_000,
      env: {
        PATH: process.env.PATH ?? "",
        HOME: home,
        XDG_RUNTIME_DIR: join(home, "run"),
        XDG_DATA_HOME: join(home, "data"),
      },
    },
  );
}

/** What `tsrun spec --rootless` writes, with another command; the user's own. */
function rootlessBundle(script: string, edit?: (spec: FullSpec) => void) {
  const bundle = makeBundle({
    args: ["sh", "-c", script],
    rootless: true,
    edit: (spec) => {
      spec.linux.uidMappings = [{ containerID: 0, hostID: UID, size: 1 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: UID, size: 1 }];
      edit?.(spec);
    },
  });
  give(bundle.path);
  return bundle;
}

describe("a single id", () => {
  own("the bundle that tsrun spec --rootless writes runs unchanged", () => {
    const dir = scratch("bundle");
    mkdirSync(join(dir, "rootfs"));
    busyboxRootfs(join(dir, "rootfs"));
    give(dir);
    const { stdout, stderr, status } = asUser(
      `cd ${dir} && $R spec --rootless && echo 'id -u; hostname; exit 7' | script -qec "$R run ${newId()}" /dev/null`,
    );
    expect(stderr).toBe("");
    expect(stdout).toContain("tsrun\r\n");
    expect(stdout.replaceAll("\r", "")).toMatch(/^0$/m);
    expect(status).toBe(7);
  });

  own("the process is root inside and the user outside, in namespaces of its own", () => {
    const bundle = rootlessBundle("id -u; cat /proc/self/uid_map; echo $$; touch /made; cat /proc/self/setgroups");
    const { stdout, stderr, status } = asUser(`$R run -b ${bundle.path} ${newId()}; stat -c %u ${bundle.rootfs}/made`);
    expect(stderr).toBe("");
    expect(stdout.trim().split(/\s+/)).toEqual(["0", "0", String(UID), "1", "1", "deny", String(UID)]);
    expect(status).toBe(0);
  });

  own("oomScoreAdj is the process's, and that of an exec", () => {
    const bundle = rootlessBundle("cat /proc/self/oom_score_adj; exec sleep 3600", (spec) => {
      spec.process.oomScoreAdj = 100;
    });
    const id = newId();
    const { stdout, stderr } = asUser(`
      $R run -d -b ${bundle.path} ${id} < /dev/null > ${home}/out || exit 1
      $R exec ${id} cat /proc/self/oom_score_adj
      $R delete -f ${id}
      cat ${home}/out`);
    expect(stderr).toBe("");
    expect(stdout).toBe("100\n100\n");
  });

  own("create, start, exec, state, kill and delete work as root's do", () => {
    const bundle = rootlessBundle("sleep 3600");
    const id = newId();
    const { stdout, stderr } = asUser(`
      $R create -b ${bundle.path} ${id} < /dev/null > /dev/null || exit 1
      $R state ${id} | grep -o '"status": "[a-z]*"'
      $R start ${id}
      $R exec ${id} sh -c 'id -u; hostname'
      $R list -q
      $R kill ${id} KILL
      until $R state ${id} | grep -q stopped; do sleep 0.05; done
      $R delete ${id} && $R list -q`);
    expect(stderr).toBe("");
    expect(stdout.trim().split("\n")).toEqual(['"status": "created"', "0", "runc", id]);
    expect(readdirSync(join(home, "run/tsrun"))).toEqual([]);
  });

  own("a bundle for root is refused with what it needs", () => {
    const bundle = makeBundle();
    give(bundle.path);
    const { stderr, status } = asUser(`$R run -b ${bundle.path} ${newId()}`);
    expect(status).toBe(1);
    expect(stderr).toContain("linux.namespaces");
    expect(stderr).toContain("spec --rootless");
  });

  own("a limit that was asked for and cannot be set is an error, not ignored", () => {
    const bundle = rootlessBundle("true", (spec) => {
      spec.linux.resources = { memory: { limit: 2 ** 26 } };
    });
    const { stderr, status } = asUser(`$R run -b ${bundle.path} ${newId()}`);
    expect(status).toBe(1);
    expect(stderr).toMatch(/memory|cgroup/);
  });

  own("the mounts and files of others are as far away as before", () => {
    const bundle = rootlessBundle(
      "cat /data/shadow 2>/dev/null || echo refused; mount -o remount,rw / 2>/dev/null || echo no",
      (spec) => {
        spec.mounts.push({ destination: "/data", source: "/etc", options: ["rbind", "ro"] });
      },
    );
    expect(asUser(`$R run -b ${bundle.path} ${newId()}`).stdout).toContain("refused\n");
  });

  own("without XDG_RUNTIME_DIR the state has a place by --root", () => {
    const bundle = rootlessBundle("echo ran");
    const { stdout } = asUser(`unset XDG_RUNTIME_DIR; $R --root ${home}/state run -b ${bundle.path} ${newId()}`);
    expect(stdout).toBe("ran\n");
  });
});

describe("ranges of ids", () => {
  ranges("are mapped by newuidmap and newgidmap", () => {
    const bundle = rootlessBundle("cat /proc/self/uid_map; id -u; id -G", (spec) => {
      spec.linux.uidMappings = [
        { containerID: 0, hostID: UID, size: 1 },
        { containerID: 1, hostID: 500000, size: 65536 },
      ];
      spec.linux.gidMappings = spec.linux.uidMappings;
      spec.process.user = { uid: 1000, gid: 1000, additionalGids: [2000] };
    });
    const { stdout, stderr } = asUser(`$R run -b ${bundle.path} ${newId()}`);
    expect(stderr).toBe("");
    expect(stdout.trim().split(/\s+/)).toEqual(["0", "4242", "1", "1", "500000", "65536", "1000", "1000", "2000"]);
  });

  ranges("that are not the user's are refused with the tool's own words", () => {
    const bundle = rootlessBundle("true", (spec) => {
      spec.linux.uidMappings = [{ containerID: 0, hostID: 0, size: 10 }];
      spec.linux.gidMappings = [{ containerID: 0, hostID: 0, size: 10 }];
    });
    const { stderr, status } = asUser(`$R run -b ${bundle.path} ${newId()}`);
    expect(status).toBe(1);
    expect(stderr).toContain("newuidmap");
  });
});
