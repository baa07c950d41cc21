/** Whatever state the caller is in, the container is the same, and nothing of the caller's gets into it. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { OrdinaryUser, UID } from "../helpers/ordinary-user.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  RUNTIME,
  run,
  runOk,
  stateDirectory,
  until,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true });
const own = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** Calls the runtime after a bit of shell, which says what the caller is like. */
function callAfter(shell: string, ...args: string[]) {
  const script = `${shell}\nexec "$@"`;
  return spawnSync("/bin/bash", ["--norc", "-c", script, "sh", RUNTIME, ...args], { input: "", encoding: "utf8" });
}

describe("standard descriptors that are closed", () => {
  const combinations = ["0", "1", "2", "01", "02", "12", "012"];
  /** Leaves where the three lead in /result; the last word says that it is whole. */
  const look = `for n in 0 1 2; do at=$(readlink /proc/$$/fd/$n); all="$all$at\\n"; done
    for fd in /proc/$$/fd/*; do all="$all\${fd##*/} "; done; printf "$all" > /got; mv /got /result`;

  /** What the runtime is given: files of these names, where it is not closed. */
  function given(closed: string, dir: string): string {
    return ["0<", "1>", "2>"]
      .map((word, fd) => (closed.includes(String(fd)) ? `exec ${word}&-` : `exec ${word} ${dir}/given${fd}`))
      .join("; ");
  }

  // runc's detached container finds descriptors of runc's own there.
  own("are the null device in the container, for run, create and exec, and the others what they are", async () => {
    for (const closed of combinations) {
      const bundle = makeBundle({ args: ["sh", "-c", `${look}; exec sleep 3600`] });
      const result = join(bundle.rootfs, "result");
      const dir = scratch("given");
      const expected = [0, 1, 2].map((fd) => (closed.includes(String(fd)) ? "/dev/null" : `${dir}/given${fd}`));
      const ids = [newId(), newId()] as const;
      spawnSync("touch", [join(dir, "given0")]);
      const call = (...args: string[]) => callAfter(given(closed, dir), ...args).status;
      const expectResult = async (what: string) => {
        await until(() => existsSync(result), `${what}, closed ${closed}: the container has looked`);
        const [stdin, stdout, stderr, all] = readFileSync(result, "utf8").split("\n");
        expect({ what, closed, links: [stdin, stdout, stderr] }).toEqual({ what, closed, links: expected });
        // 3 is the list itself.
        expect(all).toBe("0 1 2 3 ");
        rmSync(result);
      };
      expect(call("run", "-d", "-b", bundle.path, ids[0]), closed).toBe(0);
      await expectResult("run -d");
      expect(call("exec", ids[0], "sh", "-c", look), closed).toBe(0);
      await expectResult("exec");
      runOk(["delete", "--force", ids[0]]);
      expect(call("create", "-b", bundle.path, ids[1]), closed).toBe(0);
      expect(call("start", ids[1]), closed).toBe(0);
      await expectResult("create");
      expect(call("delete", "--force", ids[1]), closed).toBe(0);
    }
  });

  root("are no reason for another exit code", () => {
    for (const closed of combinations) {
      const bundle = makeBundle({ args: ["sh", "-c", "exit 7"] });
      const dir = scratch("given");
      spawnSync("touch", [join(dir, "given0")]);
      expect(callAfter(given(closed, dir), "run", "-b", bundle.path, newId()).status, closed).toBe(7);
    }
  });
});

describe("a working directory", () => {
  root("that is gone, or that nobody may read, is not missed", () => {
    const dir = scratch("cwd");
    const bundle = makeBundle({ args: ["pwd"] });
    const { id } = startContainer(sleepingBundle());
    for (const leave of [`rmdir ${dir}/gone`, `chmod 0 ${dir}/gone`]) {
      const shell = `mkdir -p ${dir}/gone; cd ${dir}/gone; ${leave}`;
      expect(callAfter(shell, "run", "-b", bundle.path, newId())).toMatchObject({
        status: 0,
        stdout: "/\n",
        stderr: "",
      });
      expect(callAfter(shell, "exec", id, "pwd")).toMatchObject({ status: 0, stdout: "/\n", stderr: "" });
    }
  });
});

describe("a umask", () => {
  own("of everything keeps nothing from root: modes in the container and of its state are as ever", () => {
    const bundle = makeBundle({
      args: ["sh", "-c", "umask; stat -c %a /new /new/place /dev/null"],
      mounts: [{ destination: "/new/place", type: "tmpfs", source: "tmpfs" }],
    });
    const { status, stdout } = callAfter("umask 0777", "run", "-b", bundle.path, newId());
    expect({ status, stdout }).toEqual({ status: 0, stdout: "0022\n755\n755\n666\n" });
  });

  own("of everything leaves the state to its owner, and lets exec have its own", () => {
    const id = newId();
    const bundle = sleepingBundle();
    expect(callAfter("umask 0777; exec 1>&- 2>&-", "run", "-d", "-b", bundle.path, id).status).toBe(0);
    expect((statSync(stateDirectory(id)).mode & 0o7777).toString(8)).toBe("700");
    expect((statSync(join(stateDirectory(id), "state.json")).mode & 0o7777).toString(8)).toBe("600");
    expect(callAfter("umask 0777", "exec", id, "sh", "-c", "umask").stdout).toBe("0022\n");
    runOk(["delete", "--force", id]);
  });

  needs({ root: true, tsrun: true, commands: ["setpriv", "unshare"] })(
    "of everything lets an ordinary user have containers, too",
    () => {
      const user = new OrdinaryUser();
      const bundle = sleepingBundle({
        rootless: true,
        edit: ({ linux }) => {
          linux.uidMappings = [{ containerID: 0, hostID: UID, size: 1 }];
          linux.gidMappings = [{ containerID: 0, hostID: UID, size: 1 }];
        },
      });
      user.give(bundle.path);
      const { status, stdout, stderr } = user.run(
        `umask 0777; $R create -b ${bundle.path} odd > /dev/null 2>&1 < /dev/null; echo $?; $R start odd; echo $?
         $R exec odd sh -c umask; $R delete --force odd; echo $?`,
      );
      expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "0\n0\n0022\n0\n", stderr: "" });
    },
  );
});

describe("an environment", () => {
  own("of two megabytes, or of what means something to programs, changes nothing", () => {
    const bundle = makeBundle({ args: ["env"], env: ["PATH=/bin", "A=b"] });
    const { id } = startContainer(sleepingBundle({ env: ["PATH=/bin", "A=b"] }));
    const many = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`MANY${i}`, "x".repeat(100_000)]));
    const odd = {
      ...{ TMPDIR: "/nonexistent", HOME: "relative", PATH: "", LANG: "xx_YY.UTF-99", LC_ALL: "tr_TR" },
      ...{ NODE_OPTIONS: "--nonsense", BUN_OPTIONS: "--nonsense", XDG_RUNTIME_DIR: "/nonexistent" },
      ...{ NOTIFY_SOCKET: "", LISTEN_FDS: "x", LISTEN_PID: "1" },
    };
    for (const env of [many, odd, {}]) {
      for (const args of [
        ["run", "-b", bundle.path, newId()],
        ["exec", id, "env"],
      ]) {
        const { status, stdout, stderr } = spawnSync(RUNTIME, args, { env, input: "", encoding: "utf8" });
        expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
        expect(stdout.trim().split("\n").sort()).toEqual(["A=b", "HOME=/root", "PATH=/bin"]);
      }
    }
  });
});

describe("a command", () => {
  root("of as many arguments as the kernel takes from the caller", () => {
    const { id } = startContainer(sleepingBundle());
    const words = Array.from({ length: 150_000 }, () => "y");
    const result = run(["exec", id, "sh", "-c", "echo $#", "sh", ...words], { timeoutMs: 10_000 });
    expect(result).toMatchObject({ code: 0, stdout: "150000\n", stderr: "" });
  });
});
