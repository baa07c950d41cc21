/**
 * What names say cannot forge a line of a log or drive a terminal, and what lies where the command was started, or in
 * its environment, is not executed.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { createContainer, sleepingBundle, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, PROGRAMS, RUNTIME, run, runBundle, runOk, stateOf, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const EVIL = '\u001b]0;title\u0007\u001b[2J\rtsrun: all is well\n{"level":"info"}\u009b31m\u2028\u202e';

/** Where such a name is no error: a cgroup may have it, and what the kernel does not have is left out. */
const ALLOWED = ["cgroup name", "capability"];

/** A line feed ends a line that is ours; every other control character is escaped. */
function expectHarmless(text: string, what: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(text, what).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u2028\u202e]/);
  expect(text, what).not.toMatch(/^tsrun: all is well|^\{"level":"info"\}/m);
}

describe("names that hold control characters", () => {
  const root = needs({ root: true, tsrun: true });

  root("in a config they are escaped wherever they are shown", () => {
    const edits: [string, Parameters<ReturnType<typeof makeBundle>["edit"]>[0]][] = [
      ["args", (spec) => (spec.process.args = [EVIL])],
      ["args path", (spec) => (spec.process.args = [`/${EVIL}`])],
      ["cwd", (spec) => (spec.process.cwd = `/etc/passwd/${EVIL}`)],
      ["hostname", (spec) => (spec.hostname = EVIL.repeat(10))],
      ["destination", (spec) => spec.mounts.push({ destination: `/${EVIL}`, type: "nosuch", source: EVIL })],
      ["source", (spec) => spec.mounts.push({ destination: "/x", source: `/${EVIL}`, options: ["bind"] })],
      ["type", (spec) => spec.mounts.push({ destination: "/x", type: EVIL, source: "x" })],
      ["option", (spec) => spec.mounts.push({ destination: "/x", type: "tmpfs", source: "x", options: [EVIL] })],
      ["cgroup", (spec) => (spec.linux.cgroupsPath = `../${EVIL}`)],
      ["cgroup name", (spec) => (spec.linux.cgroupsPath = `/${EVIL}`)],
      ["sysctl", (spec) => (spec.linux.sysctl = { [`net.${EVIL}`]: EVIL })],
      ["capability", (spec) => (spec.process.capabilities = { bounding: [EVIL] })],
      ["rlimit", (spec) => (spec.process.rlimits = [{ type: EVIL, soft: 1, hard: 1 }])],
      ["root", (spec) => (spec.root.path = EVIL)],
      ["namespace", (spec) => spec.linux.namespaces?.push({ type: EVIL as "user", path: EVIL })],
      ["layers", (spec) => (spec.annotations = { "org.tsrun.layers": JSON.stringify([EVIL]) })],
      ["rw layer", (spec) => (spec.annotations = { "org.tsrun.overlay": "true", "org.tsrun.rw-layer": EVIL })],
      ["version", (spec) => (spec.ociVersion = EVIL)],
      ["field", (spec) => Object.assign(spec.process, { [EVIL]: EVIL, terminal: EVIL })],
    ];
    for (const [name, edit] of edits) {
      const bundle = makeBundle();
      bundle.edit(edit);
      const log = join(scratch("log"), "log");
      const result = run(["--log", log, "--log-format", "json", "run", "-b", bundle.path, newId()]);
      expect({ name, code: result.code > 0 || ALLOWED.includes(name) }).toEqual({ name, code: true });
      expectHarmless(result.stderr, name);
      const lines = readFileSync(log, "utf8").trimEnd();
      expectHarmless(lines, name);
      if (result.code > 0) expect(JSON.parse(lines).level, name).toBe("error");
      expectHarmless(run(["plan", bundle.path]).stdout, `plan: ${name}`);
    }
  });

  root("on the command line too", () => {
    for (const args of [
      [EVIL],
      ["state", EVIL],
      ["run", EVIL],
      ["run", "-b", EVIL, "x"],
      [`--${EVIL}`],
      ["--log-format", EVIL, "list"],
      ["kill", "nothing", EVIL],
      ["exec", "--user", EVIL, "nothing", "true"],
      ["exec", "--process", EVIL, "nothing"],
      ["--root", `/proc/${EVIL}`, "state", "x"],
      ["ps", "--format", EVIL, "nothing"],
      ["list", "--format", EVIL],
      ["spec", "-b", EVIL],
    ]) {
      const result = run(args);
      expect(result.code, args.join(" ")).toBeGreaterThan(0);
      expectHarmless(result.stderr, args.join(" "));
    }
  });

  root("a bundle of that name is listed on one line", () => {
    const bundle = sleepingBundle();
    const link = join(scratch("links"), EVIL.replaceAll("/", ""));
    symlinkSync(bundle.path, link);
    const { id } = startContainer({ path: link });
    expectHarmless(run(["list"]).stdout, "list");
    expect(JSON.parse(runOk(["list", "--format", "json"])).some((one: { id: string }) => one.id === id)).toBe(true);
    expect(
      runOk(["list"])
        .split("\n")
        .filter((line) => line.startsWith(id)),
    ).toHaveLength(1);
  });
});

describe("names that a container or an image has chosen", () => {
  const root = needs({ root: true, tsrun: true });

  root("files: what it changed is a line each, whatever they are called", async () => {
    const name = EVIL.replaceAll("/", "");
    const bundle = makeBundle({
      args: ["sh", "-c", 'touch "/tmp/$NAME"; mkdir "/srv"; ln -s "$NAME" /srv/link; exec sleep 1000'],
      env: ["PATH=/bin", `NAME=${name}`],
      edit: (spec) => (spec.annotations = { "org.tsrun.overlay": "true" }),
    });
    const { id } = startContainer(bundle);
    await until(() => runOk(["layer", "diff", id]).includes("/srv/link"), "it has made the last of them");
    const text = runOk(["layer", "diff", id]);
    expectHarmless(text, "layer diff");
    expect(text.split("\n").filter((line) => !/^[ACD] \/|^$/.test(line))).toEqual([]);
    const json = runOk(["layer", "diff", "--format", "json", id]);
    expectHarmless(json, "layer diff as JSON");
    const paths = (JSON.parse(json) as { path: string }[]).map(({ path }) => path);
    expect(paths).toContainEqual(expect.stringContaining("/tmp/\\u001b]0;title\\u0007"));
    expectHarmless(run(["layer", "why", id, `/tmp/${name}`]).stdout, "layer why");
    expectHarmless(runOk(["ps", id]), "ps");
    runOk(["delete", "--force", id]);
  });

  root("processes: the arguments of one are on its line, with the ps of the host and without", () => {
    const { id } = startContainer(makeBundle({ args: ["sh", "-c", "sleep 1000; true", EVIL] }));
    for (const env of [{ LC_ALL: "C.UTF-8" }, { LC_ALL: "C" }, { PATH: "/nonexistent" }]) {
      const table = runOk(["ps", id], { env });
      expectHarmless(table, JSON.stringify(env));
      expect(table).toContain("all is well");
      expect(table.trimEnd().split("\n")).toHaveLength(3);
    }
  });

  root("an image: what it says of itself drives no terminal", () => {
    const dir = scratch("evil-image");
    const store = join(dir, "store");
    runOk(["image", "import", "-q", "--store", store, evilLayout(join(dir, "layout"))]);
    const id = (JSON.parse(runOk(["image", "list", "--store", store, "-f", "json"])) as { id: string }[])[0]
      ?.id as string;
    for (const args of [
      ["list"],
      ["list", "-f", "json"],
      ["history", id],
      ["history", "-f", "json", id],
      ["inspect", id],
      ["df"],
    ]) {
      const result = run(["image", args[0] as string, "--store", store, ...args.slice(1)]);
      expect(result.code, `${args.join(" ")} ${result.stderr}`).toBe(0);
      expectHarmless(result.stdout + result.stderr, args.join(" "));
    }
    expect(JSON.parse(runOk(["image", "history", "--store", store, "-f", "json", id]))[0].created_by).toBe(EVIL);
  });

  /** An OCI layout of one empty layer, whose config has the text wherever a text may be. */
  function evilLayout(path: string): string {
    mkdirSync(join(path, "blobs/sha256"), { recursive: true });
    const blob = (content: Uint8Array | string) => {
      const digest = createHash("sha256").update(content).digest("hex");
      writeFileSync(join(path, "blobs/sha256", digest), content);
      return { digest: `sha256:${digest}`, size: Buffer.byteLength(content as string) };
    };
    const layer = blob(new Uint8Array(1024));
    const config = blob(
      JSON.stringify({
        created: EVIL,
        author: EVIL,
        architecture: process.arch === "arm64" ? "arm64" : "amd64",
        os: "linux",
        config: { Env: [`A=${EVIL}`], Cmd: [EVIL], Labels: { [EVIL]: EVIL } },
        rootfs: { type: "layers", diff_ids: [layer.digest] },
        history: [{ created: EVIL, created_by: EVIL, comment: EVIL }],
      }),
    );
    const media = "application/vnd.oci.image";
    const manifest = blob(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: `${media}.manifest.v1+json`,
        config: { mediaType: `${media}.config.v1+json`, ...config },
        layers: [{ mediaType: `${media}.layer.v1.tar`, ...layer }],
      }),
    );
    const entry = { mediaType: `${media}.manifest.v1+json`, ...manifest };
    writeFileSync(join(path, "index.json"), JSON.stringify({ schemaVersion: 2, manifests: [entry] }));
    writeFileSync(join(path, "oci-layout"), '{"imageLayoutVersion":"1.0.0"}');
    return path;
  }
});

describe("a hostile environment", () => {
  const root = needs({ root: true, tsrun: true });

  // BUN_OPTIONS and BUN_BE_BUN are read before any program of ours, as LD_PRELOAD is: docs/security.md says so.
  root("variables of Bun and Node run nothing and change nothing", () => {
    const dir = scratch("hostile");
    const evidence = join(dir, "executed");
    const script = join(dir, "evil.cjs");
    writeFileSync(script, `require("node:fs").writeFileSync(${JSON.stringify(evidence)}, "x");\n`);
    mkdirSync(join(dir, "bin"));
    writeFileSync(join(dir, "bin/tsrun-init"), `#!/bin/sh\ntouch ${evidence}\n`, { mode: 0o755 });
    const hostile = {
      NODE_OPTIONS: `--require=${script} --import=${script}`,
      BUN_CONFIG_PRELOAD: script,
      BUN_INSPECT: "0.0.0.0:1",
      BUN_INSPECT_PRELOAD: script,
      BUN_INSPECT_CONNECT_TO: "127.0.0.1:1",
      BUN_DEBUG_QUIET_LOGS: "0",
      NODE_PATH: dir,
      PATH: `${join(dir, "bin")}:${process.env.PATH}`,
      TMPDIR: "/nonexistent",
      HOME: dir,
      XDG_CONFIG_HOME: dir,
    };
    writeFileSync(join(dir, ".bunfig.toml"), `preload = [${JSON.stringify(script)}]\n`);
    writeFileSync(join(dir, "bunfig.toml"), `preload = [${JSON.stringify(script)}]\n`);
    const bundle = makeBundle({ args: ["env"], env: ["PATH=/bin", "HOME=/"] });
    for (const [name, value] of [["all", ""] as const, ...Object.entries(hostile)]) {
      const env = name === "all" ? hostile : { PATH: process.env.PATH ?? "", [name]: value };
      for (const program of PROGRAMS) {
        const version = spawnSync(program, ["--version"], { env, encoding: "utf8", cwd: dir });
        expect({ name, out: version.stdout, err: version.stderr }).toEqual({
          name,
          out: runOk(["--version"]),
          err: "",
        });
      }
      const ran = spawnSync(RUNTIME, ["run", "-b", bundle.path, newId()], { env, encoding: "utf8", cwd: dir });
      expect({ name, code: ran.status, out: ran.stdout.split("\n").sort().join(" ").trim() }).toEqual({
        name,
        code: 0,
        out: "HOME=/ PATH=/bin",
      });
      expect(existsSync(evidence), name).toBe(false);
    }
  });

  root("the caller's environment is not in the init, nor in the container", () => {
    const created = createContainer(makeBundle(), [], { env: { SECRET_OF_CALLER: "secret" } });
    expect(readFileSync(`/proc/${stateOf(created.id)?.pid}/environ`, "utf8")).toBe("");
    const { id } = startContainer(sleepingBundle(), [], { env: { SECRET_OF_CALLER: "secret" } });
    expect(readFileSync(`/proc/${stateOf(id)?.pid}/environ`, "utf8")).not.toContain("SECRET_OF_CALLER");
    const { stdout } = runBundle(makeBundle({ args: ["env"] }), [], { env: { SECRET_OF_CALLER: "secret" } });
    expect(stdout).not.toContain("SECRET_OF_CALLER");
  });
});
