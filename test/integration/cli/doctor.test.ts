/** `tsrun doctor`: it tries everything, says what does not work, and leaves nothing behind. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { cgroupLayout, needs } from "../../helpers/needs.ts";
import { OrdinaryUser, UID } from "../../helpers/ordinary-user.ts";
import { cgroupsNamed, hostMounts, processesNamed, RUNTIME, run } from "../../helpers/runtime.ts";

const root = needs({ root: true, tsrun: true });
const user = needs({ root: true, tsrun: true, commands: ["setpriv", "unshare"] });
const ids = needs({ root: true, tsrun: true, commands: ["setpriv", "unshare", "newuidmap"] });

interface Diagnosis {
  canRun: boolean;
  checks: { name: string; status: string; detail: string; fix?: string }[];
}

function statusOf({ checks }: Diagnosis, name: string): string | undefined {
  return checks.find((check) => check.name === name)?.status;
}

function traces() {
  return {
    mounts: hostMounts(),
    cgroups: cgroupsNamed("tsrun-doctor"),
    processes: processesNamed("tsrun-doctor"),
    files: ["/run", "/var/lib", "/var/lib/tsrun", "/tmp"].flatMap((dir) =>
      (existsSync(dir) ? readdirSync(dir) : []).filter((name) => name.includes("doctor")),
    ),
  };
}

describe("doctor", () => {
  root("root can run containers here; nothing of the attempts is left", () => {
    const before = traces();
    const { code, stdout, stderr } = run(["doctor"]);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toMatch(/^ok {7}namespace pid /m);
    expect(stdout).toMatch(/^ok {7}overlay /m);
    expect(stdout).toMatch(/^containers can be run/m);
    expect(traces()).toEqual(before);
    expect(before).toMatchObject({ cgroups: [], processes: [], files: [] });
  });

  root("--json is the same for programs", () => {
    const { code, stdout } = run(["doctor", "--json"]);
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    expect(code).toBe(0);
    expect(diagnosis.canRun).toBe(true);
    for (const type of ["mount", "pid", "network", "ipc", "uts", "user", "cgroup"]) {
      expect(statusOf(diagnosis, `namespace ${type}`)).toBe("ok");
    }
    expect(diagnosis.checks.find(({ name }) => name === "cgroup")?.detail).toContain(cgroupLayout());
    expect(diagnosis.checks.every(({ status }) => ["ok", "limited", "missing"].includes(status))).toBe(true);
  });

  user("without CAP_SYS_ADMIN it says what cannot be, and the exit code is 1", () => {
    const args = ["--bounding-set=-sys_admin", "--inh-caps=-all", RUNTIME, "doctor", "--json"];
    const { status, stdout } = spawnSync("setpriv", args, { encoding: "utf8" });
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    expect(status).toBe(1);
    expect(diagnosis.canRun).toBe(false);
    expect(statusOf(diagnosis, "namespace mount")).toBe("missing");
    expect(statusOf(diagnosis, "overlay")).toBe("missing");
  });

  user("an ordinary user: layers work, and nothing is left in his directories", () => {
    const ordinary = new OrdinaryUser();
    const { status, stdout, stderr } = ordinary.run(
      "$R doctor --json; code=$?; find $HOME -name '*doctor*'; exit $code",
    );
    expect(stderr).toBe("");
    expect(status).toBe(0);
    const diagnosis = JSON.parse(stdout) as Diagnosis;
    expect(diagnosis.canRun).toBe(true);
    expect(statusOf(diagnosis, "overlay")).toBe("ok");
    expect(statusOf(diagnosis, "namespace user")).toBe("ok");
    expect(diagnosis.checks.find(({ name }) => name === "store")?.detail).toBe(`${ordinary.home}/data/tsrun`);
  });

  user("where no state can be kept there is a way out", () => {
    const { status, stdout } = new OrdinaryUser().run("$R --root /nonexistent/states doctor");
    expect(status).toBe(1);
    expect(stdout).toMatch(/^missing {2}states .*fix: --root DIR/m);
    expect(stdout).toContain("containers cannot be run here");
  });

  user("a user without ranges of ids hears how to get them", () => {
    const ordinary = new OrdinaryUser();
    const { stdout } = ordinary.run(
      "$R doctor",
      ": > /tmp/empty; for f in subuid subgid; do mount --bind /tmp/empty /etc/$f; done",
    );
    expect(stdout).toMatch(/^limited {2}ids .*(usermod --add-subuids|apt-get install uidmap)/m);
  });

  ids("what newuidmap says of a range is said in its place, and its entry is what to correct", () => {
    const ordinary = new OrdinaryUser();
    // The user's own id is mapped already.
    writeFileSync(join(ordinary.home, "subuid"), `ordinary:99999999999:5\nordinary:${UID - 5}:10\n`);
    const { stdout, stderr } = ordinary.run("$R doctor");
    expect(stderr).toBe("");
    expect(stdout).toMatch(
      /^limited {2}ids .*uid_map failed: Invalid argument; fix: correct the entries of user 4242 /m,
    );
  });

  user("a user who may make no user namespace hears of that alone, from run as well", () => {
    const ordinary = new OrdinaryUser();
    const without = (command: string) => `unshare --user --map-user=${UID} --map-group=${UID} --keep-caps sh -c '
        echo 0 > /proc/sys/user/max_user_namespaces
        exec setpriv --inh-caps=-all --ambient-caps=-all ${RUNTIME} ${command}'`;
    const { status, stdout } = ordinary.run(without("doctor --json"));
    const { canRun, checks } = JSON.parse(stdout) as Diagnosis;
    expect({ status, canRun }).toEqual({ status: 1, canRun: false });
    expect(checks.find(({ name }) => name === "namespace user")?.fix).toContain("user.max_user_namespaces");
    expect(checks.find(({ name }) => name === "pivot_root")).toMatchObject({
      detail: "not tried: it needs namespace user",
    });
    const bundle = "cd $HOME && mkdir -p b/rootfs && $R spec --rootless -b b";
    const ran = ordinary.run(`${bundle} && ${without("run -b b x")}`);
    expect(ran.stderr).toMatch(/ENOSPC .*\n {2}fix: a limit is reached: sysctl user\.max_user_namespaces\n/);
    expect(ran.status).toBe(1);
  });

  user("a directory for states that is none has a way out", () => {
    const ordinary = new OrdinaryUser();
    for (const place of ["/proc", "/etc/passwd", "/nonexistent"]) {
      const { stderr } = ordinary.run(
        `cd $HOME && mkdir -p b/rootfs && $R spec --rootless -b b; XDG_RUNTIME_DIR=${place} $R run -b b x`,
      );
      expect(stderr, place).toMatch(/no place for the states .*\n {2}fix: set XDG_RUNTIME_DIR/);
    }
  });
});
