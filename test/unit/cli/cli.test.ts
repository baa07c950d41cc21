import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { TsrunError } from "../../../src/errors.ts";
import { setLogSink } from "../../../src/log.ts";

/** What the library was asked for, and what it should answer instead of doing it. */
const calls: { name: string; args: unknown[] }[] = [];
const answers: Record<string, unknown> = {};
const out: string[] = [];
const err: string[] = [];

vi.mock("../../../src/index.ts", async () => {
  const { SIGNALS, signalNumber } = await import("../../../src/sys/constants.ts");
  const { stateRoot } = await import("../../../src/runtime/paths.ts");
  const library: Record<string, unknown> = {
    VERSION: "1.2.3",
    COMMIT: "abcdef",
    SPEC_VERSION: "1.3.0",
    SIGNALS,
    signalNumber,
    stateRoot,
  };
  for (const name of [
    "createContainer",
    "runInForeground",
    "startContainer",
    "killContainer",
    "deleteContainer",
    "checkpointContainer",
    "restoreInForeground",
    "containerState",
    "listContainers",
    "containerProcesses",
    "hostProcessTable",
    "execInForeground",
    "planContainer",
    "describePlan",
    "newSpec",
    "fastExit",
  ]) {
    library[name] = (...args: unknown[]) => {
      calls.push({ name, args });
      const answer = answers[name];
      if (answer instanceof Error) throw answer;
      return answer;
    };
  }
  return library;
});
vi.mock("../../../src/cli/output.ts", async (original) => ({
  ...(await original<typeof import("../../../src/cli/output.ts")>()),
  writeOut: (text: string) => out.push(text),
  writeError: (text: string) => err.push(text),
}));
const { main } = await import("../../../src/cli/cli.ts");
const { VERBS } = await import("../../../src/cli/verbs/all.ts");

const summary = (id: string) => ({
  ociVersion: "1.3.0",
  id,
  pid: 12,
  status: "running",
  bundle: "/b",
  rootfs: "/b/rootfs",
  created: "2026-01-01T00:00:00.000000001Z",
  owner: "root",
});

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tsrun-cli-"));
  calls.length = 0;
  out.length = 0;
  err.length = 0;
  for (const name of Object.keys(answers)) delete answers[name];
  Object.assign(answers, {
    runInForeground: { id: "made-up", pid: 5 },
    execInForeground: { id: "web", pid: 6 },
    checkpointContainer: Promise.resolve(),
    restoreInForeground: Promise.resolve({ id: "web", pid: 7 }),
    containerState: summary("web"),
    listContainers: [summary("web"), summary("db")],
    containerProcesses: [process.pid],
    planContainer: { steps: [] },
    describePlan: ["1 clone", "2 exec"],
    newSpec: { ociVersion: "1.3.0" },
  });
});
afterEach(() => {
  setLogSink(undefined);
  rmSync(directory, { recursive: true });
});

async function tsrun(...argv: string[]): Promise<number> {
  return await main(argv);
}

/** The options object that a call of the library got. */
function options(name: string): Record<string, unknown> {
  return calls.find((call) => call.name === name)?.args.find((arg) => typeof arg === "object") as Record<
    string,
    unknown
  >;
}

describe("cli: what engines call", () => {
  test("containerd creates, starts, kills and deletes", async () => {
    const globals = [
      "--root",
      "/run/containerd/runc/k8s.io",
      "--log",
      join(directory, "log.json"),
      "--log-format",
      "json",
    ];
    expect(await tsrun(...globals, "create", "--bundle", "/b", "--pid-file", "/b/init.pid", "c1")).toBe(0);
    expect(options("createContainer")).toMatchObject({
      root: "/run/containerd/runc/k8s.io",
      bundle: "/b",
      pidFile: "/b/init.pid",
      id: "c1",
    });
    expect(await tsrun(...globals, "start", "c1")).toBe(0);
    expect(await tsrun(...globals, "kill", "--all", "c1", "9")).toBe(0);
    expect(await tsrun(...globals, "delete", "--force", "c1")).toBe(0);
    expect(calls.slice(1)).toEqual([
      { name: "startContainer", args: ["/run/containerd/runc/k8s.io", "c1", {}] },
      { name: "killContainer", args: ["/run/containerd/runc/k8s.io", "c1", 9, { all: true }] },
      { name: "deleteContainer", args: ["/run/containerd/runc/k8s.io", "c1", { force: true }] },
    ]);
    expect(out).toEqual([]);
    expect(err).toEqual([]);
  });

  test("podman and conmon exec with a process file", async () => {
    const code = await tsrun(
      ...[
        "--log-format=json",
        "--log",
        join(directory, "log"),
        "exec",
        "--pid-file",
        "/p/pid",
        "--process",
        "/p/process",
      ],
      ...["--detach", "--tty", "--console-socket", "/p/socket", "--preserve-fds", "2", "web"],
    );
    expect(code).toBe(0);
    expect(options("execInForeground")).toMatchObject({
      id: "web",
      process: "/p/process",
      pidFile: "/p/pid",
      consoleSocket: "/p/socket",
      detach: true,
      tty: true,
      preserveFds: 2,
      args: undefined,
    });
  });

  test("BuildKit runs in the foreground and gets the exit code", async () => {
    answers.runInForeground = { id: "x", pid: 0, exitCode: 137 };
    expect(await tsrun("run", "--bundle", "/b", "--keep", "--no-pivot", "x")).toBe(137);
    expect(options("runInForeground")).toMatchObject({ bundle: "/b", id: "x", keep: true, noPivot: true });
    expect(out).toEqual([]);
  });

  test("go-runc writes long flags with one dash", async () => {
    expect(await tsrun("run", "-no-subreaper", "-bundle", "/b", "x")).toBe(0);
    expect(options("runInForeground")).toMatchObject({ noSubreaper: true, bundle: "/b" });
  });

  test("docker asks for the version", async () => {
    expect(await tsrun("--version")).toBe(0);
    expect(out.join("")).toBe("tsrun version 1.2.3\ncommit: abcdef\nspec: 1.3.0\n");
    expect(await tsrun("-v")).toBe(0);
  });

  describe("called as runc", () => {
    const own = process;
    const callAs = (argv0: string) => vi.stubGlobal("process", Object.create(own, { argv0: { value: argv0 } }));
    beforeEach(() => callAs("/usr/local/sbin/runc"));
    afterEach(() => void vi.unstubAllGlobals());

    test("it answers in the lines of runc that engines read, with the version of tsrun", async () => {
      expect(await tsrun("--version")).toBe(0);
      const text = out.join("");
      expect(text).toBe("runc version 1.2.3\ncommit: abcdef\nspec: 1.3.0\ntsrun: 1.2.3\n");
      // dockerd takes the last line with this word.
      expect(text.match(/version/g)).toHaveLength(1);
    });

    test("help and usage have that name, and files, annotations and completion have ours", async () => {
      expect(await tsrun("--help")).toBe(0);
      expect(out.join("")).toMatch(
        /^NAME:\n {3}runc - Open Container Initiative runtime\n\nUSAGE: runc \[global flags\] /,
      );
      expect(out.join("")).toMatch(/^ {2}runc run <bundle> /m);
      expect(out.join("")).toContain("/run/tsrun");
      expect(out.join("")).not.toContain("VERSION");
      for (const verb of VERBS.filter(({ name }) => name !== "completion")) {
        out.length = 0;
        expect(await tsrun(verb.name, "-h")).toBe(0);
        expect(out.join("")).toContain(`NAME:\n   runc ${verb.name} - ${verb.summary}\n`);
      }
      out.length = 0;
      await tsrun("completion", "-h");
      expect(out.join("")).toContain("source <(tsrun completion bash)");
    });

    test("errors and their usage lines have that name", async () => {
      expect(await tsrun("kill")).toBe(1);
      expect(err.join("")).toBe(
        'runc: "kill" requires a minimum of 1 argument(s)\n  fix: runc kill [flags] <container-id> [signal]\n',
      );
    });

    test("another name, and one that only begins so, is tsrun", async () => {
      for (const name of ["crun", "runc-old", "/opt/runc/tsrun", "/runc/", ""]) {
        callAs(name);
        out.length = 0;
        await tsrun("--version");
        expect(out.join(""), name).toMatch(/^tsrun version /);
      }
    });
  });

  test("a failure is exit code 1, one JSON object in the log and a line on standard error", async () => {
    const log = join(directory, "log.json");
    answers.startContainer = Object.assign(new Error("x"), { code: "ENOENT", syscall: "open", path: "/p" });
    expect(await tsrun("--log", log, "--log-format", "json", "start", "web")).toBe(1);
    expect(JSON.parse(readFileSync(log, "utf8"))).toMatchObject({
      level: "error",
      msg: expect.stringContaining("open /p: ENOENT"),
    });
    expect(err.join("")).toMatch(/^tsrun: start web: open \/p: ENOENT/);
  });

  test("a wrong flag is in the log, too, wherever it stands", async () => {
    const log = join(directory, "log.json");
    expect(await tsrun("--log", log, "--log-format", "json", "--bogus", "create", "x")).toBe(1);
    expect(JSON.parse(readFileSync(log, "utf8")).msg).toContain("flag provided but not defined: -bogus");
  });
});

describe("cli: verbs", () => {
  test("every flag of create reaches the library", async () => {
    const code = await tsrun(
      ...[
        "--rootless=true",
        "create",
        "-b",
        "/b",
        "-f",
        "alt.json",
        "--console-socket",
        "/s",
        "--pidfd-socket",
        "/ps",
        "--pid-file",
        "/p",
      ],
      ...[
        "--no-pivot",
        "--no-new-keyring",
        "--preserve-fds",
        "3",
        "--layer",
        "/l1",
        "--layer",
        "sha256:aa",
        "--overlay",
      ],
      ...["--rw-layer", "data", "--no-subreaper", "web"],
    );
    expect(code).toBe(0);
    expect(options("createContainer")).toEqual({
      root: expect.any(String),
      id: "web",
      bundle: "/b",
      configFile: "alt.json",
      layers: ["/l1", "sha256:aa"],
      overlay: true,
      rwLayer: "data",
      noPivot: true,
      noNewKeyring: true,
      preserveFds: 3,
      cgroupManager: "cgroupfs",
      rootless: true,
      consoleSocket: "/s",
      pidFile: "/p",
      pidfdSocket: "/ps",
    });
  });

  test("paths are taken from the caller's working directory", async () => {
    await tsrun("create", "-b", "b", "--pid-file", "p", "--console-socket", "s", "web");
    expect(options("createContainer")).toMatchObject({
      bundle: resolve("b"),
      pidFile: resolve("p"),
      consoleSocket: resolve("s"),
    });
  });

  test("create without -b means the current directory, and a path is no id", async () => {
    expect(await tsrun("create", "web")).toBe(0);
    expect(options("createContainer")).toMatchObject({ bundle: process.cwd(), id: "web" });
    expect(await tsrun("create", "/b")).toBe(1);
    expect(err.join("")).toContain("create --bundle /b <container-id>");
  });

  test("run -d tells the id that it made up, and no other", async () => {
    expect(await tsrun("run", "-d", "/b")).toBe(0);
    expect(out).toEqual(["made-up\n"]);
    await tsrun("run", "-d", "--id", "mine", "/b");
    await tsrun("run", "-d", "-b", "/b", "mine");
    expect(out).toHaveLength(1);
  });

  test("run wants an argument or an id", async () => {
    expect(await tsrun("run")).toBe(1);
    expect(err.join("")).toContain('"run" requires exactly 1 argument(s)');
    expect(await tsrun("run", "-b", "/b")).toBe(1);
    expect(await tsrun("run", "-b", "/b", "--id", "x")).toBe(0);
  });

  test("every flag of exec reaches the library, and those after the id the command", async () => {
    answers.execInForeground = { id: "web", pid: 6, exitCode: 3 };
    const code = await tsrun(
      ...[
        "exec",
        "--cwd",
        "/w",
        "-e",
        "A=1,2",
        "--env",
        "B=2",
        "-t",
        "-u",
        "1:2",
        "-g",
        "3",
        "-g",
        "4",
        "-c",
        "CAP_KILL",
      ],
      ...[
        "--no-new-privs",
        "--ignore-paused",
        "--cgroup",
        "pids:sub",
        "--pidfd-socket",
        "/ps",
        "web",
        "ls",
        "-t",
        "--help",
      ],
    );
    expect(code).toBe(3);
    expect(options("execInForeground")).toEqual({
      root: expect.any(String),
      id: "web",
      process: undefined,
      args: ["ls", "-t", "--help"],
      cwd: "/w",
      env: ["A=1,2", "B=2"],
      tty: true,
      user: "1:2",
      additionalGids: [3, 4],
      caps: ["CAP_KILL"],
      noNewPrivs: true,
      detach: undefined,
      pidFile: undefined,
      consoleSocket: undefined,
      pidfdSocket: "/ps",
      preserveFds: undefined,
      ignorePaused: true,
      cgroup: ["pids:sub"],
    });
  });

  test("own errors of exec are 255", async () => {
    answers.execInForeground = new Error("no");
    expect(await tsrun("exec", "web", "ls")).toBe(255);
    expect(await tsrun("exec", "web")).toBe(255);
    expect(await tsrun("exec", "--bogus", "web", "ls")).toBe(255);
    for (const gid of ["-1", "staff", "4294967295", ""])
      expect(await tsrun("exec", "-g", gid, "web", "ls"), gid).toBe(255);
  });

  test("exec hands labels on, and an empty one is none", async () => {
    await tsrun("exec", "--apparmor=p", "--process-label", "l", "web", "ls");
    expect(options("execInForeground")).toMatchObject({ apparmor: "p", processLabel: "l" });
    calls.length = 0;
    await tsrun("exec", "--apparmor=", "web", "ls");
    expect(options("execInForeground").apparmor).toBeUndefined();
  });

  test("what a script has no value for is as good as not given", async () => {
    expect(await tsrun("--log-format", "", "--log=", "--rootless", "", "create", "web")).toBe(0);
    expect(options("createContainer")).toMatchObject({ rootless: "auto" });
    expect(await tsrun("exec", "--cwd=", "-p", "", "web", "ls")).toBe(0);
    const { cwd, process: file } = options("execInForeground");
    expect([cwd, file]).toEqual([undefined, undefined]);
    expect(await tsrun("list", "--format", "")).toBe(1);
  });

  test("an empty --user of exec is none that is not given, which would be root", async () => {
    await tsrun("exec", "--user", "", "web", "ls");
    expect(options("execInForeground").user).toBe("");
  });

  test("an empty id stands in no error as if it were one", async () => {
    answers.startContainer = new TsrunError('invalid container ID format "": it is empty');
    expect(await tsrun("start", "")).toBe(1);
    expect(err.join("")).toBe('tsrun: invalid container ID format "": it is empty\n');
  });

  test("kill sends TERM unless told otherwise", async () => {
    await tsrun("kill", "web");
    await tsrun("kill", "web", "SIGusr1");
    await tsrun("kill", "-a", "web", "rtmin+1");
    await tsrun("kill", "web", "");
    expect(calls.map((call) => call.args.slice(1))).toEqual([
      ["web", 15, { all: undefined }],
      ["web", 10, { all: undefined }],
      ["web", 35, { all: true }],
      ["web", 15, { all: undefined }],
    ]);
    expect(await tsrun("kill", "web", "NOPE")).toBe(1);
    expect(await tsrun("kill", "web", "--all")).toBe(1);
    expect(err.join("")).toContain("flags go before the container id");
  });

  test("kill and delete with --regex mean every container that matches", async () => {
    expect(await tsrun("kill", "-r", "^w", "KILL")).toBe(0);
    expect(await tsrun("delete", "--regex", "--force", "web|db")).toBe(0);
    expect(calls.filter((call) => call.name !== "listContainers").map((call) => call.args.slice(1, 2))).toEqual([
      ["web"],
      ["web"],
      ["db"],
    ]);
    expect(await tsrun("delete", "-r", "(")).toBe(1);
    expect(err.join("")).toContain('invalid regular expression "("');
  });

  test("delete --regex goes on after a failure and fails in the end", async () => {
    answers.deleteContainer = new Error("stuck");
    expect(await tsrun("delete", "-r", ".")).toBe(1);
    expect(calls.filter((call) => call.name === "deleteContainer")).toHaveLength(2);
    expect(err).toHaveLength(2);
  });

  test("state is JSON indented by two, without a newline at its end", async () => {
    expect(await tsrun("state", "web")).toBe(0);
    expect(out.join("")).toBe(JSON.stringify(summary("web"), null, 2));
  });

  test("list is a table, JSON or ids", async () => {
    await tsrun("list", "-q");
    expect(out.splice(0).join("")).toBe("web\ndb\n");
    await tsrun("list", "--format=json");
    expect(JSON.parse(out.splice(0).join(""))).toHaveLength(2);
    await tsrun("list");
    expect(out.splice(0).join("")).toBe(
      "ID          PID         STATUS      BUNDLE      CREATED                          OWNER\n" +
        "web         12          running     /b          2026-01-01T00:00:00.000000001Z   root\n" +
        "db          12          running     /b          2026-01-01T00:00:00.000000001Z   root\n",
    );
    answers.listContainers = [];
    await tsrun("list");
    expect(out.splice(0).join("")).toBe("ID          PID         STATUS      BUNDLE      CREATED     OWNER\n");
    await tsrun("list", "-f", "json");
    expect(out.join("")).toBe("[]\n");
  });

  test("ps prints pids as JSON, or the lines of ps", async () => {
    expect(await tsrun("ps", "--format", "json", "web")).toBe(0);
    expect(out.splice(0).join("")).toBe(`[${process.pid}]\n`);
    answers.hostProcessTable = `  PID  PPID\n${process.pid} ${process.ppid}\n    1     0\n`;
    expect(await tsrun("ps", "web", "-o", "pid,ppid")).toBe(0);
    expect(out.splice(0).join("").trim().split(/\s+/)).toEqual([
      "PID",
      "PPID",
      String(process.pid),
      String(process.ppid),
    ]);
    answers.hostProcessTable = "COMMAND\nnode\n";
    expect(await tsrun("ps", "web", "-o", "comm")).toBe(1);
    expect(err.join("")).toContain("no PID column");
  });

  test("spec writes config.json indented by tabs, and never over another", async () => {
    expect(await tsrun("spec", "-b", directory)).toBe(0);
    const path = join(directory, "config.json");
    expect(readFileSync(path, "utf8")).toBe('{\n\t"ociVersion": "1.3.0"\n}');
    expect(options("newSpec")).toEqual({ rootless: undefined });
    writeFileSync(path, "mine");
    expect(await tsrun("spec", "-b", directory)).toBe(1);
    expect(readFileSync(path, "utf8")).toBe("mine");
    expect(err.join("")).toContain("exists. Remove it first");
  });

  test("spec --rootless maps the caller", async () => {
    await tsrun("spec", "-f", join(directory, "x.json"), "--rootless");
    expect(options("newSpec")).toEqual({ rootless: { uid: process.geteuid?.(), gid: process.getegid?.() } });
  });

  test("plan prints a line a step, or JSON with big numbers and bytes as text", async () => {
    await tsrun("plan", "/b");
    expect(out.splice(0).join("")).toBe("1 clone\n2 exec\n");
    answers.planContainer = { steps: [{ args: [2n ** 64n - 1n, new Uint8Array([1, 2])] }] };
    await tsrun("plan", "--json", "-d", "/b");
    expect(JSON.parse(out.join(""))).toEqual({ steps: [{ args: ["18446744073709551615", "AQI="] }] });
  });

  test("checkpoint and restore answer what Podman asks to know whether they work", async () => {
    expect(await tsrun("checkpoint", "--help")).toBe(0);
    expect(await tsrun("restore", "--lsm-mount-context")).toBe(1);
    expect(err.join("")).toContain("flag needs an argument");
  });

  test("the flags of checkpoint and restore reach the library", async () => {
    await tsrun(
      "checkpoint",
      "--image-path",
      "/i",
      "--pre-dump",
      "--page-server",
      "[::1]:27",
      "--empty-ns=network",
      "web",
    );
    expect(options("checkpointContainer")).toMatchObject({
      id: "web",
      imagePath: "/i",
      preDump: true,
      pageServer: { address: "::1", port: 27 },
      emptyNs: ["network"],
    });
    await tsrun("restore", "-d", "-b", "/b", "--work-path", "/w", "--rw-layer", "kept", "--tcp-established", "web");
    expect(options("restoreInForeground")).toMatchObject({
      id: "web",
      bundle: "/b",
      imagePath: `${process.cwd()}/checkpoint`,
      workPath: "/w",
      rwLayer: "kept",
      detach: true,
      tcpEstablished: true,
    });
  });

  test("what criu cannot do is refused by name", async () => {
    const refused = async (...words: string[]) => {
      err.length = 0;
      expect(await tsrun(...words, "web")).toBe(1);
      return err.join("");
    };
    expect(await refused("restore", "--no-pivot")).toContain("--no-pivot is not supported: criu");
    expect(await refused("checkpoint", "--empty-ns", "mount")).toContain("for flag --empty-ns: use network");
    for (const wrong of ["somewhere", "host:0", "host:70000", ":80"]) {
      expect(await refused("checkpoint", "--page-server", wrong), wrong).toContain("ADDRESS:PORT is needed");
    }
  });

  test("an unknown verb gets a suggestion", async () => {
    expect(await tsrun("strat", "web")).toBe(1);
    expect(err.join("")).toBe(
      "tsrun: unknown command \"strat\" (No help topic for 'strat')\n  fix: did you mean start?\n",
    );
  });
});

describe("cli: help", () => {
  test("every verb has help that names each of its flags", async () => {
    for (const verb of VERBS) {
      for (const words of [
        [verb.name, "--help"],
        [verb.name, "-h"],
        ["help", verb.name],
      ]) {
        out.length = 0;
        expect(await tsrun(...words)).toBe(0);
        expect(out.join("")).toContain(`USAGE: tsrun ${verb.name}`);
        for (const flag of verb.flags) expect(out.join(""), verb.name).toContain(`--${flag.name}`);
      }
    }
  });

  test("tsrun alone and tsrun --help list the verbs", async () => {
    for (const words of [[], ["--help"], ["-h"], ["help"]]) {
      out.length = 0;
      expect(await tsrun(...words)).toBe(0);
      for (const verb of VERBS) expect(out.join("")).toContain(verb.name);
    }
  });

  test("--help after the id of exec belongs to the command", async () => {
    await tsrun("exec", "web", "--help");
    expect(options("execInForeground").args).toEqual(["--help"]);
  });
});

describe("cli: what is loaded", () => {
  test("no package is imported before it is needed", () => {
    const seen = new Set<string>();
    const packages: string[] = [];
    const visit = (file: string): void => {
      if (seen.has(file)) return;
      seen.add(file);
      // src/index.ts is the library's matter; what is held here is the CLI around it.
      if (file.endsWith("/src/index.ts")) return;
      for (const [, typeOnly, name = ""] of readFileSync(file, "utf8").matchAll(
        /^(?:import|export) (type )?[^;]*?from "([^"]+)";/gms,
      )) {
        if (typeOnly) continue;
        if (name.startsWith(".")) visit(resolve(file, "..", name));
        else if (!name.startsWith("node:")) packages.push(`${file}: ${name}`);
      }
    };
    visit(resolve(import.meta.dirname, "../../../src/main.ts"));
    expect(seen.size).toBeGreaterThan(15);
    expect(packages).toEqual([]);
  });
});
