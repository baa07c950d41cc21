/** What the process of a container is: its capabilities, limits, ids, descriptors, signals, and nothing of its caller's. */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  RUNTIME,
  run,
  runBundle,
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

/** What a shell script in the container writes; the test fails unless the container ran. */
function sh(script: string, edit?: (spec: FullSpec) => void, flags: string[] = []): string {
  const result = runBundle(makeBundle({ args: ["sh", "-c", script], ...(edit ? { edit } : {}) }), flags);
  if (result.code !== 0) throw new Error(`exit code ${result.code}: ${result.stderr}`);
  return result.stdout;
}

const [CHOWN, DAC, KILL, NET_RAW] = [1n << 0n, 1n << 1n, 1n << 5n, 1n << 13n];

function capabilities(edit: (spec: FullSpec) => void): Record<string, bigint> {
  const lines = sh("grep ^Cap /proc/self/status", edit).trim().split("\n");
  return Object.fromEntries(lines.map((line) => [line.slice(3, 6), BigInt(`0x${line.slice(8)}`)]));
}

describe("capabilities", () => {
  root("the five sets are those asked for, none wider and none narrower", () => {
    const found = capabilities((spec) => {
      spec.process.capabilities = {
        bounding: ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_NET_RAW"],
        permitted: ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_KILL"],
        effective: ["CAP_CHOWN"],
        inheritable: ["CAP_DAC_OVERRIDE", "CAP_KILL"],
        ambient: ["CAP_KILL"],
      };
      spec.process.user = { uid: 1000, gid: 1000 };
      spec.process.args = ["grep", "^Cap", "/proc/self/status"];
    });
    // An ordinary user keeps over execve(2) what is ambient.
    expect(found).toEqual({ Inh: DAC | KILL, Prm: KILL, Eff: KILL, Bnd: CHOWN | DAC | KILL | NET_RAW, Amb: KILL });
  });

  root("root has after execve what its bounding set allows", () => {
    const found = capabilities((spec) => {
      spec.process.capabilities = { bounding: ["CAP_CHOWN"], permitted: ["CAP_CHOWN"], effective: ["CAP_CHOWN"] };
    });
    expect(found).toEqual({ Inh: 0n, Prm: CHOWN, Eff: CHOWN, Bnd: CHOWN, Amb: 0n });
  });

  root("no set asked for, none given", () => {
    const found = capabilities((spec) => {
      delete spec.process.capabilities;
    });
    expect(Object.values(found)).toEqual([0n, 0n, 0n, 0n, 0n]);
  });

  root("an ordinary user without ambient capabilities has none", () => {
    const found = capabilities((spec) => {
      spec.process.user = { uid: 1000, gid: 1000 };
      delete spec.process.capabilities?.ambient;
      delete spec.process.capabilities?.inheritable;
    });
    expect(found).toMatchObject({ Prm: 0n, Eff: 0n, Amb: 0n });
  });

  own("ambient of what is not inheritable is left out, not refused", () => {
    const found = capabilities((spec) => {
      const sets = { bounding: ["CAP_KILL"], permitted: ["CAP_KILL"], effective: ["CAP_KILL"], ambient: ["CAP_KILL"] };
      spec.process.capabilities = sets;
    });
    expect(found.Amb).toBe(0n);
  });

  own("a name that no kernel has is left out with a warning", () => {
    const bundle = makeBundle({ args: ["true"] });
    bundle.edit((spec) => {
      spec.process.capabilities?.bounding?.push("CAP_FLY");
    });
    const result = runBundle(bundle);
    expect(result.code).toBe(0);
    expect(result.stderr).toContain("warning");
    expect(result.stderr).toContain("CAP_FLY");
  });

  own("a warning is in the log file of a container that ran, and alone there is nothing else", () => {
    const bundle = makeBundle({ args: ["true"] });
    bundle.edit((spec) => {
      spec.process.capabilities?.bounding?.push("CAP_FLY");
    });
    const log = join(scratch(), "log");
    const result = spawnSync(RUNTIME, ["--log", log, "--log-format", "json", "run", "-b", bundle.path, newId()], {
      encoding: "utf8",
    });
    expect(result).toMatchObject({ status: 0, stderr: "" });
    const lines = readFileSync(log, "utf8").trim().split("\n");
    expect(lines.map((line) => JSON.parse(line).level)).toEqual(["warning"]);
  });
});

function hostCapabilities(): bigint {
  return BigInt(`0x${/^CapEff:\s+(\w+)/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1]}`);
}

describe("limits and masks", () => {
  root("rlimits are those asked for, and those not asked for stay", () => {
    const limits = sh("cat /proc/self/limits", (spec) => {
      spec.process.rlimits = [
        { type: "RLIMIT_NOFILE", soft: 111, hard: 222 },
        { type: "RLIMIT_CORE", soft: 0, hard: 4096 },
        { type: "RLIMIT_STACK", soft: 1048576, hard: 2097152 },
      ];
    });
    expect(limits).toMatch(/^Max open files\s+111\s+222\s/m);
    expect(limits).toMatch(/^Max core file size\s+0\s+4096\s/m);
    expect(limits).toMatch(/^Max stack size\s+1048576\s+2097152\s/m);
    const row = /^Max pending signals.*$/m;
    expect(row.exec(limits)?.[0]).toBe(row.exec(readFileSync("/proc/self/limits", "utf8"))?.[0]);
  });

  own("a limit of 2^64-1, as JSON has it, is unlimited", () => {
    const bundle = makeBundle({ args: ["sh", "-c", "ulimit -c; ulimit -Hc"] });
    bundle.edit((spec) => {
      spec.process.rlimits = [{ type: "RLIMIT_CORE", soft: 2 ** 64, hard: 2 ** 64 }];
    });
    const path = join(bundle.path, "config.json");
    writeFileSync(path, readFileSync(path, "utf8").replaceAll("18446744073709552000", "18446744073709551615"));
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "unlimited\nunlimited\n" });
  });

  root("umask is the one asked for, else 0022", () => {
    expect(sh("umask", (spec) => Object.assign(spec.process.user, { umask: 0o27 }))).toBe("0027\n");
    expect(sh("umask")).toBe("0022\n");
  });

  root("oomScoreAdj is the process's, up and down", () => {
    // Only CAP_SYS_RESOURCE lowers it below what a process started with.
    const isPrivileged = (hostCapabilities() >> 24n) & 1n;
    for (const score of isPrivileged ? [500, -500] : [500]) {
      expect(sh("cat /proc/self/oom_score_adj", (spec) => Object.assign(spec.process, { oomScoreAdj: score }))).toBe(
        `${score}\n`,
      );
    }
  });

  root("no_new_privs is set when asked for, and only then", () => {
    for (const wanted of [true, false]) {
      const edit = (spec: FullSpec) => Object.assign(spec.process, { noNewPrivileges: wanted });
      expect(sh("grep NoNewPrivs /proc/self/status", edit)).toBe(`NoNewPrivs:\t${wanted ? 1 : 0}\n`);
    }
  });
});

describe("who and where", () => {
  root("user, group and additional groups are those asked for, and no others", () => {
    const edit = (spec: FullSpec) => {
      spec.process.user = { uid: 1000, gid: 1001, additionalGids: [3000, 2000] };
    };
    expect(sh("id -u; id -g; grep ^Groups /proc/self/status", edit).trim()).toMatch(
      /^1000\n1001\nGroups:\s+2000 3000$/,
    );
    expect(sh("grep ^Groups /proc/self/status").trim()).toMatch(/^Groups:$/);
  });

  root("a working directory that is missing is made, and one that is a link is followed inside", () => {
    expect(sh("pwd", (spec) => Object.assign(spec.process, { cwd: "/not/there/yet" }))).toBe("/not/there/yet\n");
    expect(sh("pwd -P", (spec) => Object.assign(spec.process, { cwd: "/usr/bin" }))).toBe("/bin\n");
  });

  root("HOME is that of the user's entry in passwd, unless the environment has one", () => {
    const home = (edit: (spec: FullSpec) => void) => sh("echo $HOME", edit).trim();
    expect(home(() => {})).toBe("/root");
    expect(home((spec) => Object.assign(spec.process, { user: { uid: 1000, gid: 1000 } }))).toBe("/home/app");
    expect(home((spec) => Object.assign(spec.process, { user: { uid: 77, gid: 77 } }))).toBe("/");
    expect(home((spec) => spec.process.env?.push("HOME=/else/where"))).toBe("/else/where");
    expect(home((spec) => spec.process.env?.push("HOME="))).toBe("/root");
    const passwd = join(scratch(), "passwd");
    writeFileSync(passwd, "root:x:0:0::/of/the/mount:\n");
    const bind = { destination: "/etc/passwd", source: passwd, options: ["bind"] };
    expect(home((spec) => spec.mounts.push(bind))).toBe("/of/the/mount");
  });

  own(
    "a member that is nearly one of the spec is a warning with --debug, and in the plan, and nothing otherwise",
    () => {
      const bundle = makeBundle({ edit: (spec) => Object.assign(spec.process, { noNewPrivilege: true }) });
      const words = 'process.noNewPrivilege: is not known, and ignored, did you mean "noNewPrivileges"?';
      expect(runBundle(bundle)).toMatchObject({ code: 0, stderr: "" });
      const log = join(scratch(), "log");
      expect(run(["--debug", "--log", log, "run", bundle.path])).toMatchObject({ code: 0, stderr: "" });
      expect(readFileSync(log, "utf8").replaceAll('\\"', '"')).toContain(words);
      expect(run(["plan", bundle.path]).stderr).toBe(`tsrun: warning: ${words}\n`);
      expect(run(["--debug", "plan", bundle.path]).stderr.split(words)).toHaveLength(2);
    },
  );

  own("a passwd that is a fifo, a link to nowhere or huge does no harm", () => {
    for (const make of ["mkfifo", "ln -s /nowhere", "mkdir"]) {
      const bundle = makeBundle({ args: ["echo", "runs"] });
      spawnSync("sh", ["-c", `rm ${bundle.rootfs}/etc/passwd; ${make} ${bundle.rootfs}/etc/passwd`]);
      expect(runBundle(bundle), make).toMatchObject({ code: 0, stdout: "runs\n" });
    }
  });

  root("the environment is that of config.json and nothing of the caller's", () => {
    const bundle = makeBundle({ args: ["env"], env: ["PATH=/bin", "ONE=1", "EMPTY=", "LINE=a\nb"] });
    const result = runBundle(bundle, [], { env: { SECRET: "of the caller" } });
    expect(
      result.stdout
        .split("\n")
        .filter((line) => line !== "")
        .sort(),
    ).toEqual(["EMPTY=", "HOME=/root", "LINE=a", "ONE=1", "PATH=/bin", "b"]);
  });

  root("arguments arrive as they are, the empty one and one of 100 KB too", () => {
    const long = "x".repeat(100_000);
    const bundle = makeBundle({
      args: ["sh", "-c", 'echo "$#"; for a; do echo -n "$a" | wc -c; done; echo "$2"', "sh", "", "a b\n$c", long],
    });
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "3\n0\n6\n100000\na b\n$c\n" });
  });
});

/** Runs the bundle with these descriptors from 3 on. */
function runWith(fds: number[], args: string[], flags: string[], env: Record<string, string> = {}): string {
  const bundle = makeBundle({ args });
  // The shell becomes the runtime: LISTEN_PID must be its pid.
  const command = env.LISTEN_PID === "own" ? 'LISTEN_PID=$$ exec "$0" "$@"' : 'exec "$0" "$@"';
  const result = spawnSync("sh", ["-c", command, RUNTIME, "run", ...flags, "-b", bundle.path, newId()], {
    stdio: ["ignore", "pipe", "inherit", ...fds],
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  return result.stdout;
}

describe("descriptors", () => {
  const file = () => {
    const path = join(scratch(), "file");
    writeFileSync(path, "kept\n");
    return openSync(path, "r");
  };
  const list = ["sh", "-c", "ls /proc/self/fd | tr '\\n' ' '"];

  root("the process has 0, 1 and 2; what the caller had open beside them is closed", () => {
    const fds = [file(), file(), file()];
    // The listing itself has one more.
    expect(runWith(fds, list, [])).toBe("0 1 2 3 ");
    fds.forEach(closeSync);
  });

  root("--preserve-fds keeps as many as it says", () => {
    const fds = [file(), file(), file()];
    expect(runWith(fds, ["sh", "-c", "cat <&3; ls /proc/self/fd | tr '\\n' ' '"], ["--preserve-fds", "2"])).toBe(
      "kept\n0 1 2 3 4 5 ",
    );
    fds.forEach(closeSync);
  });

  root("LISTEN_FDS passes descriptors on, and the variables with them", () => {
    const fds = [file(), file()];
    const script = "echo $LISTEN_FDS $LISTEN_PID; cat <&4; ls /proc/self/fd | tr '\\n' ' '";
    expect(runWith(fds, ["sh", "-c", script], [], { LISTEN_FDS: "2", LISTEN_PID: "own" })).toBe(
      "2 1\nkept\n0 1 2 3 4 5 ",
    );
    fds.forEach(closeSync);
  });

  own("the names of LISTEN_FDS go with them, and --preserve-fds counts on top", () => {
    const fds = [file(), file(), file()];
    const script = "echo $LISTEN_FDS $LISTEN_FDNAMES; ls /proc/self/fd | tr '\\n' ' '";
    const named = { LISTEN_FDS: "2", LISTEN_PID: "own", LISTEN_FDNAMES: "web:api" };
    expect(runWith(fds, ["sh", "-c", script], ["--preserve-fds", "1"], named)).toBe("2 web:api\n0 1 2 3 4 5 6 ");
    // Another program's, as after a fork.
    expect(runWith(fds, ["sh", "-c", script], [], { ...named, LISTEN_PID: "1" })).toBe("\n0 1 2 3 ");
    fds.forEach(closeSync);
  });

  own("--preserve-fds of more than the caller handed over is refused, and passes nothing of tsrun's own", () => {
    for (const count of ["1", "3", "30"]) {
      const result = runBundle(makeBundle(), ["--preserve-fds", count]);
      expect(result.code).toBe(1);
      expect(result.stderr).toContain("descriptor 3 is to be preserved, and was not handed over");
    }
  });
});

describe("nothing of the caller's", () => {
  root("signals are neither blocked nor ignored, whatever the caller does", () => {
    const bundle = makeBundle({ args: ["grep", "^Sig[BIC]", "/proc/self/status"] });
    const script = `trap '' TERM HUP USR1 PIPE; exec ${RUNTIME} run -b ${bundle.path} ${newId()}`;
    const result = spawnSync("sh", ["-c", script], { encoding: "utf8" });
    expect(result.stdout).toMatch(/SigBlk:\s+0{16}\n/);
    // What the kernel itself has no name for is Go's business: the signals of the caller are not among it.
    const ignored = BigInt(`0x${/SigIgn:\s+(\w+)/.exec(result.stdout)?.[1]}`);
    expect(ignored & 0x5201n).toBe(0n);
  });

  root("it leads a session of its own", () => {
    const stat = sh("cat /proc/$$/stat; exit 0").split(" ");
    const [pid, pgrp, session] = [stat[0], stat[4], stat[5]];
    expect(pgrp).toBe(pid);
    expect(session).toBe(pid);
  });

  root("without a terminal of its own it has none, though the caller has", () => {
    const bundle = makeBundle({ args: ["sh", "-c", "(: > /dev/tty) 2>/dev/null && echo leak || echo none"] });
    const command = `${RUNTIME} run -b ${bundle.path} ${newId()}`;
    const result = spawnSync("script", ["--quiet", "--return", "--command", command, "/dev/null"], {
      encoding: "utf8",
      input: "",
    });
    expect(result.stdout).toContain("none");
  });

  needs({ root: true, files: ["/proc/keys"] })(
    "its session keyring is new, and the caller's with --no-new-keyring",
    () => {
      for (const flags of [[], ["--no-new-keyring"]]) {
        const id = newId();
        const bundle = makeBundle({ args: ["cat", "/proc/keys"] });
        bundle.edit((spec) => {
          spec.linux.maskedPaths = [];
        });
        const result = run(["run", ...flags, "-b", bundle.path, id]);
        expect(result.code).toBe(0);
        expect(result.stdout.includes(`_ses.${id}`)).toBe(flags.length === 0);
      }
    },
  );

  root("its parent is gone from view: it is 1 and its parent 0", () => {
    expect(sh("grep -E '^(Pid|PPid)' /proc/1/status")).toBe("Pid:\t1\nPPid:\t0\n");
  });

  root("/proc/1/exe is the program, and no file of the runtime's", () => {
    expect(sh("readlink /proc/1/exe; cat /proc/1/comm; true")).toBe("/bin/busybox\nsh\n");
  });

  root("sysctls of its namespaces are set, and only there", () => {
    const host = readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8");
    const edit = (spec: FullSpec) => {
      spec.linux.sysctl = { "net.ipv4.ip_forward": host.trim() === "1" ? "0" : "1", "kernel.msgmax": "4321" };
    };
    expect(sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax", edit)).toBe(
      `${host.trim() === "1" ? 0 : 1}\n4321\n`,
    );
    expect(readFileSync("/proc/sys/net/ipv4/ip_forward", "utf8")).toBe(host);
  });

  own("a sysctl of the host is refused by name", () => {
    const bundle = makeBundle();
    bundle.edit((spec) => {
      spec.linux.sysctl = { "kernel.panic": "1" };
    });
    const result = runBundle(bundle);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("kernel.panic");
  });
});
