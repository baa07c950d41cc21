/**
 * The same command line does the same under tsrun and under runc: exit code, what programs read of the output, and what
 * has become of the container. Only lines that all versions of runc since 1.1 answer alike are here; where tsrun differs
 * on purpose, docs/conformance.md says why.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { makeBundle } from "../helpers/bundle.ts";
import { limitOf } from "../helpers/cgroup.ts";
import { runDetached, sleepingBundle } from "../helpers/container.ts";
import { cgroupLayout, describeNeeds } from "../helpers/needs.ts";
import { callAs, newId, type Result, RUNTIME, run, until } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

type Status = "created" | "running" | "paused" | "stopped" | "none";

let bundlePath: string | undefined;
const bundle = () => {
  bundlePath ??= sleepingBundle().path;
  return bundlePath;
};

/** One of the two runtimes, with a container that it is asked about. */
class Side {
  readonly id = newId();
  constructor(readonly runtime: string) {}

  /** ID and BUNDLE stand for its own. Between two blanks is an empty word; a no-break space stays inside of one. */
  run(line: string): Result {
    const own: Record<string, string> = { ID: this.id, BUNDLE: bundle() };
    const words = line.split(" ").map((word) => own[word] ?? word.replaceAll("\u00a0", " "));
    return run(words, { runtime: this.runtime });
  }

  status(): Status {
    const { code, stdout } = this.run("state ID");
    return code === 0 ? JSON.parse(stdout).status : "none";
  }

  /** A container in this state, the one that is there where it will do. */
  async bring(wanted: Status): Promise<void> {
    if (this.status() === wanted) return;
    this.remove();
    const args = ["create", "-b", bundle(), this.id];
    expect(runDetached(args, { runtime: this.runtime }).code, args.join(" ")).toBe(0);
    const way = { none: [], created: [], running: ["start"], paused: ["start", "pause"], stopped: ["kill"] }[wanted];
    for (const verb of way) expect(this.run(verb === "kill" ? "kill ID KILL" : `${verb} ID`).code, verb).toBe(0);
    await this.becomes(wanted);
  }

  becomes(status: Status): Promise<void> {
    return until(() => this.status() === status, `${this.runtime}: the container is ${status}`);
  }

  remove(): void {
    this.run("resume ID");
    this.run("delete --force ID");
  }
}

/** A line, its exit code, and the state after it. */
type Line = readonly [line: string, code: number, after: Status];

/** In whatever state it is: a second container of its name is refused, and what only looks does no harm. */
const anywhere = (status: Status): Line[] => [
  ["state ID", 0, status],
  ["create -b BUNDLE ID", 1, status],
  ["run -b BUNDLE ID", 1, status],
  ["list --quiet", 0, status],
  ["ps --format json ID", 0, status],
];

const alive = (status: Status): Line[] => [
  ["update --pids-limit 20 ID", 0, status],
  ["update ID", 0, status],
  ["events --stats ID", 0, status],
  ["kill ID 0", 0, status],
  ["kill ID NOSUCH", 1, status],
];

const IN_STATE: Record<Exclude<Status, "none">, Line[]> = {
  created: [
    ...anywhere("created"),
    ...alive("created"),
    ["resume ID", 1, "created"],
    ["exec ID true", 0, "created"],
    ["exec ID nosuch", 255, "created"],
    ["checkpoint ID", 1, "created"],
    ["pause ID", 0, "paused"],
    ["kill ID", 0, "stopped"],
    ["kill ID KILL", 0, "stopped"],
    ["kill --all ID 9", 0, "stopped"],
    ["start ID", 0, "running"],
    ["delete ID", 0, "none"],
    ["delete --force ID", 0, "none"],
  ],
  running: [
    ...anywhere("running"),
    ...alive("running"),
    ["start ID", 1, "running"],
    ["resume ID", 1, "running"],
    ["delete ID", 1, "running"],
    ["delete --force=false ID", 1, "running"],
    ["exec ID sh -c exit\u00a03", 3, "running"],
    ["exec --detach ID true", 0, "running"],
    ["pause ID", 0, "paused"],
    ["kill ID SIGKILL", 0, "stopped"],
    ["kill -a ID sigkill", 0, "stopped"],
    ["delete --force ID", 0, "none"],
    ["delete -force ID", 0, "none"],
    ["delete -f=true ID", 0, "none"],
  ],
  paused: [
    ...anywhere("paused"),
    ...alive("paused"),
    ["start ID", 1, "paused"],
    ["pause ID", 1, "paused"],
    ["delete ID", 1, "paused"],
    ["exec ID true", 255, "paused"],
    ["resume ID", 0, "running"],
    ["kill ID KILL", 0, "stopped"],
    ["delete --force ID", 0, "none"],
  ],
  stopped: [
    ...anywhere("stopped"),
    ["start ID", 1, "stopped"],
    ["pause ID", 1, "stopped"],
    ["resume ID", 1, "stopped"],
    ["update --pids-limit 20 ID", 1, "stopped"],
    ["events --stats ID", 1, "stopped"],
    ["exec ID true", 255, "stopped"],
    ["kill ID", 1, "stopped"],
    ["kill ID KILL", 1, "stopped"],
    ["kill --all ID KILL", 0, "stopped"],
    ["checkpoint ID", 1, "stopped"],
    ["delete ID", 0, "none"],
    ["delete --force ID", 0, "none"],
  ],
};

const VERBS = "start state kill delete ps pause resume update events checkpoint".split(" ");

/** A line, its exit code, and what the error says for programs to find. */
const WITHOUT_CONTAINER: (readonly [line: string, code: number, words?: RegExp])[] = [
  ...VERBS.map((verb) => [`${verb} nosuch`, 1, /does not exist/] as const),
  ...VERBS.map((verb) => [`${verb} a/../b`, 1] as const),
  ...VERBS.map((verb) => [`${verb} `, 1, /empty/] as const),
  ...VERBS.filter((verb) => verb !== "events").map((verb) => [verb, 1, /requires/] as const),
  ...VERBS.map((verb) => [`${verb} --bogus nosuch`, 1, /flag provided but not defined: -bogus/] as const),
  ["delete --force nosuch", 0],
  ["delete nosuch --force", 0],
  ["delete --force=maybe nosuch", 1, /invalid boolean value/],
  ["kill nosuch KILL", 1, /does not exist/],
  ["exec nosuch true", 255, /does not exist/],
  ["exec  true", 255, /empty/],
  ["state nosuch more", 1, /requires exactly 1/],
  ["list more", 1, /requires exactly 0/],
  ["list --format xml", 1],
  ["list --format", 1, /flag needs an argument/],
  ["state --root /x nosuch", 1, /flag provided but not defined: -root/],
  ["events --interval 5 nosuch", 1],
  ["--log-format xml state nosuch", 1],
  ["--log= --log-format= state nosuch", 1, /does not exist/],
  ["create -b /nosuch ID", 1],
  ["create -b BUNDLE ..", 1, /invalid container ID format/],
  ["create -b BUNDLE --console-socket /nosuch ID", 1, /cannot use console socket/],
  ["create -b BUNDLE --pid-file /nosuch/pid ID", 1],
  ["create -b BUNDLE --detach ID", 1, /flag provided but not defined: -detach/],
  ["run -b BUNDLE a:b", 1, /invalid container ID format/],
];

const PRINT =
  "sh -c id;pwd;echo\u00a0$HOME;env|grep\u00a0^X;grep\u00a0-E\u00a0^Cap|^NoNew|^Groups\u00a0/proc/self/status";

/** What runs in a container that runs: exit code and output are the same. */
const EXEC = [
  ...["0", "1000", "1000:5", "5:0", "app", "-1", "1000:", ":", "4294967295", "0x10"].map(
    (user) => `--user=${user} ID ${PRINT}`,
  ),
  `-u 1000 ID ${PRINT}`,
  `-g 5 -g 6 ID ${PRINT}`,
  `--cap CAP_NET_ADMIN ID ${PRINT}`,
  `--cap CAP_NET_ADMIN -u 1000 ID ${PRINT}`,
  `--cap net_admin ID ${PRINT}`,
  `--no-new-privs ID ${PRINT}`,
  `-e X=1 -e XY=2,3 ID ${PRINT}`,
  `-e X=1 -e X=2 ID ${PRINT}`,
  `-e HOME= ID ${PRINT}`,
  `--env X ID ${PRINT}`,
  `--cwd /tmp ID ${PRINT}`,
  `--cwd tmp ID ${PRINT}`,
  `--cwd /nosuch ID ${PRINT}`,
  "--cwd /etc/passwd ID pwd",
  "-e PATH=/nowhere ID true",
  "ID nosuch",
  "ID /nosuch",
  "ID /tmp",
  "ID /etc/passwd",
  "ID false",
  "ID ls -d /",
  "ID --cwd /tmp pwd",
  "-- ID echo x",
  "ID sh -c kill\u00a0-9\u00a0$$",
  "--preserve-fds 100 ID true",
  ...["+0", "00", "0x0"].map((count) => `--preserve-fds ${count} ID true`),
  ...["010"].map((gid) => `-g ${gid} ID ${PRINT}`),
  "-d -t ID true",
  "--console-socket /nosuch ID true",
  "--process /nosuch ID",
  "--cgroup ../.. ID true",
  "--pid-file /nosuch/pid ID true",
];

const UPDATES = [
  ...["64m", "64MiB", "0.5g", "67108864", "-1", "-2", "64x", "max", ""].map((size) => `--memory=${size}`),
  "--memory 64m --memory-swap 96m",
  ...["25000", "-1", "x"].map((quota) => `--cpu-quota=${quota}`),
  "--cpu-period 50000 --cpu-quota 25000",
  ...["512", "0", "x", "-1"].map((shares) => `--cpu-share=${shares}`),
  ...["0", "99", "x", ""].map((cpus) => `--cpuset-cpus=${cpus}`),
  ...["33", "-1", "x", "", "+5", "010", "0x10", "0b11", "0o17", "1_000", "\u00a05", "5.0", "08"].map(
    (limit) => `--pids-limit=${limit}`,
  ),
  ...["", "+500", "0x64", "x"].map((weight) => `--blkio-weight=${weight}`),
  ...["+30000", "030000", "0x7530", ""].map((quota) => `--cpu-quota=${quota}`),
  ...["+512", "0512", "0x200", ""].map((shares) => `--cpu-share=${shares}`),
  ...["+64m", "064m", "\u00a064m", "64\u00a0m", "0x4000000"].map((size) => `--memory=${size}`),
  "-r /nosuch",
];

describeNeeds({
  root: true,
  tsrun: true,
  native: true,
  commands: ["runc"],
  cgroup: ["v1", "v2"],
  controllers: ["memory", "cpu", "cpuset", "pids", "freezer"],
})("a command line does under tsrun what it does under runc", () => {
  const sides = [new Side("runc"), new Side(RUNTIME)] as const;
  afterAll(() => {
    callAs();
    for (const side of sides) side.remove();
  });

  for (const [status, lines] of Object.entries(IN_STATE)) {
    test(`of a container that is ${status}`, { timeout: 600_000 }, async () => {
      for (const side of sides) {
        for (const [line, code, after] of lines) {
          await side.bring(status as Status);
          const result = side.run(line);
          expect({ line, code: result.code }, `${side.runtime}: ${result.stderr}`).toEqual({ line, code });
          await side.becomes(after);
        }
      }
    });
  }

  test("of a container that is not there, or is no name of one", { timeout: 600_000 }, () => {
    for (const side of sides) {
      side.remove();
      for (const [line, code, words = /./] of WITHOUT_CONTAINER) {
        const result = side.run(line);
        expect({ line, code: result.code }, `${side.runtime}: ${result.stderr}`).toEqual({ line, code });
        if (code !== 0) expect(result.stderr, `${side.runtime}: ${line}`).toMatch(words);
        expect(side.status(), line).toBe("none");
      }
    }
  });

  test("exec, by exit code and by what its process is", { timeout: 600_000 }, async () => {
    for (const side of sides) await side.bring("running");
    for (const line of EXEC) {
      const [theirs, ours] = sides.map((side) => {
        const { code, stdout } = side.run(`exec ${line}`);
        return { line, code, stdout };
      });
      expect(ours).toEqual(theirs);
    }
  });

  test("update, by exit code and by the limits that it leaves", { timeout: 600_000 }, async () => {
    for (const side of sides) side.remove();
    for (const side of sides) await side.bring("running");
    for (const line of UPDATES) {
      const [theirs, ours] = sides.map((side) => ({ line, ...limitsAfter(side, line) }));
      expect(ours).toEqual(theirs);
    }
  });

  test("kill, by the names and numbers that it takes", { timeout: 600_000 }, async () => {
    for (const side of sides) await side.bring("running");
    const known = ["TERM", "SIGTERM", "sigterm", "Term", "15", "USR1", "sigusr2", "WINCH", "PWR", "STKFLT", "34", "64"];
    for (const word of [
      ...known,
      "",
      "0",
      "NOSUCH",
      "SIG15",
      "1e1",
      " 15",
      "0x0f",
      "-1",
      "-9",
      "--bogus",
      "+15",
      "015",
    ]) {
      const [theirs, ours] = sides.map((side) => run(["kill", side.id, word], { runtime: side.runtime }).code);
      expect({ word, code: ours }).toEqual({ word, code: theirs });
    }
  });

  test("what is printed for programs has the same members, of the same types", async () => {
    for (const status of ["created", "running", "paused"] as const) {
      for (const side of sides) await side.bring(status);
      for (const line of ["state ID", "ps --format json ID", "events --stats ID"]) {
        const [theirs, ours] = sides.map((side) => shape(JSON.parse(side.run(line).stdout)));
        // Ours may have more, as newer versions of runc have.
        expect({ line, shape: ours }).toMatchObject({ line, shape: theirs });
      }
    }
    const rows = sides.map((side) =>
      JSON.parse(side.run("list --format json").stdout).find(({ id }: { id: string }) => id === side.id),
    );
    expect(shape(rows[1])).toEqual(shape(rows[0]));
  });

  test("pid file and log are of the same form and mode", () => {
    const missing = makeBundle({ args: ["nosuch"] }).path;
    const [theirs, ours] = sides.map((side) => {
      side.remove();
      const directory = scratch();
      const [pidFile, log, refused] = ["pid", "log", "refused"].map((name) => join(directory, name)) as [
        string,
        string,
        string,
      ];
      const logging = ["--log", log, "--log-format", "json"];
      const made = runDetached([...logging, "create", "-b", bundle(), "--pid-file", pidFile, side.id], side);
      const failed = run([...logging, "run", "-b", missing, "--pid-file", refused, newId()], side);
      const entry = JSON.parse(readFileSync(log, "utf8"));
      return {
        codes: [made.code, failed.code],
        pid: readFileSync(pidFile, "utf8") === String(JSON.parse(side.run("state ID").stdout).pid),
        modes: [pidFile, log].map((path) => (statSync(path).mode & 0o777).toString(8)),
        refused: existsSync(refused),
        entry: Object.keys(entry).sort(),
        level: entry.level,
        says: /exec: "nosuch": executable file not found in \$PATH/.test(entry.msg),
      };
    });
    expect(ours).toEqual(theirs);
    expect(ours).toMatchObject({ codes: [0, 1], pid: true, refused: false, level: "error", says: true });
  });
});

function limitsAfter(side: Side, line: string): { code: number; limits: Record<string, string> } {
  const { code } = side.run(`update ${line} ID`);
  callAs({ program: side.runtime, stateRoot: side.runtime === RUNTIME ? "/run/tsrun" : "/run/runc" });
  const limits = Object.fromEntries(
    Object.entries(limitOf)
      // On v2 it depends on the version of runc what weight becomes of CPU shares.
      .filter(([name]) => name !== "shares" || cgroupLayout() !== "v2")
      .map(([name, of]) => [name, of(side.id)]),
  );
  callAs();
  return { code, limits };
}

/** The names of members and the types of their values; of a list those of its first. */
function shape(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shape);
  if (typeof value !== "object" || value === null) return value === null ? "null" : typeof value;
  const entries = Object.entries(value).filter(([name]) => name !== "raw" && name !== "annotations");
  return Object.fromEntries(entries.map(([name, member]) => [name, shape(member)]));
}
