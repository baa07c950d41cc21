/** What callers read of a program: standard output, standard error, the log, the exit code. */
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, RUNTIME, run, runOk } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

/** A line of shell with the runtime as "$0". */
function shell(line: string): { status: number | null; stdout: string; stderr: string } {
  return spawnSync("sh", ["-c", line, RUNTIME], {
    encoding: "utf8",
    timeout: 60_000,
    env: { PATH: process.env.PATH },
  });
}

/** Without pipes: the container keeps what it inherits open, and the caller would wait for their end. */
function silently(args: string[], cwd = "/"): void {
  const { status } = spawnSync(RUNTIME, args, { stdio: "ignore", cwd, timeout: 60_000 });
  expect(status, args.join(" ")).toBe(0);
}

describe("output", () => {
  const tsrun = needs({ tsrun: true });
  const root = needs({ root: true });

  tsrun("a failure leaves one JSON object in the log, with a message that names what is missing", () => {
    const log = join(scratch(), "log.json");
    const result = run(["--root", scratch("root"), "--log", log, "--log-format", "json", "state", "nothing"]);
    expect(result.code).toBe(1);
    const object = JSON.parse(readFileSync(log, "utf8"));
    expect(Object.keys(object).sort()).toEqual(["level", "msg", "time"]);
    // The shim looks for these words.
    expect(object.msg).toContain("does not exist");
    expect(result.stderr).toContain("does not exist");
  });

  tsrun("no failure shows a stack or a line of source", () => {
    for (const args of [
      ["state"],
      ["run", "/nonexistent"],
      ["nonsense"],
      ["--bogus"],
      ["exec", "x", "y"],
      ["plan", "/dev/null"],
    ]) {
      const { code, stderr } = run(args);
      expect(code, args.join(" ")).toBeGreaterThan(0);
      expect(stderr).toMatch(/^tsrun: /);
      expect(stderr).not.toMatch(/internal error|\bat .*[:(]\d+|bunfs|node_modules|Bun v/);
    }
  });

  tsrun("under the name of runc, as a link or a copy, both programs say runc", () => {
    const directory = scratch("bin");
    const [link, copy] = [join(directory, "runc"), join(directory, "copies", "runc")];
    symlinkSync(RUNTIME, link);
    mkdirSync(dirname(copy));
    copyFileSync(RUNTIME, copy);
    copyFileSync(`${RUNTIME}-bun`, `${copy}-bun`);
    for (const program of [link, copy]) {
      const [first, ...others] = execFileSync(program, ["--version"], { encoding: "utf8" }).trim().split("\n");
      expect(first).toMatch(/^runc version \d+\.\d+\.\d+$/);
      expect(others.map((line) => line.split(":")[0])).toEqual(["commit", "spec", "tsrun"]);
      expect(execFileSync(program, ["state", "-h"], { encoding: "utf8" })).toMatch(/^NAME:\n {3}runc state - /);
      for (const args of [
        ["state", "nothing"],
        ["image", "inspect", "nothing"],
      ]) {
        const { status, stderr } = spawnSync(program, ["--root", directory, ...args], { encoding: "utf8" });
        expect({ status, stderr }, args.join(" ")).toEqual({ status: 1, stderr: expect.stringMatching(/^runc: /) });
      }
    }
  });

  root("a copy under another name cleans up after a container with hooks in the foreground", () => {
    const copy = join(scratch("bin"), "runc");
    copyFileSync(RUNTIME, copy);
    const told = join(scratch("hook"), "told");
    const bundle = makeBundle({
      args: ["true"],
      edit: (spec) => {
        spec.hooks = { poststop: [{ path: "/bin/sh", args: ["sh", "-c", `echo over > ${told}`] }] };
      },
    });
    const id = newId();
    const { status, stderr } = spawnSync(copy, ["run", "-b", bundle.path, id], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(readFileSync(told, "utf8")).toBe("over\n");
    expect(run(["state", id]).code).toBe(1);
  });

  tsrun("output to a full disk is an error", () => {
    const { status, stderr } = shell('"$0" --version > /dev/full');
    expect(status).toBe(1);
    expect(stderr).toContain("write standard output: ENOSPC");
  });

  tsrun("a reader that has gone ends it quietly", () => {
    expect(shell('{ sleep 0.2; "$0" --version; echo "$?" >&2; } | true')).toMatchObject({ stderr: "141\n" });
  });

  tsrun("a slow reader of a non-blocking pipe gets everything", () => {
    const script =
      "import fcntl,os,subprocess,sys,time\nr,w=os.pipe()\nfcntl.fcntl(w,1031,4096)\nos.set_blocking(w,False)\n" +
      "p=subprocess.Popen([sys.argv[1],'run','--help'],stdout=w)\nos.close(w)\ntime.sleep(0.3)\n" +
      "d=b''\nwhile True:\n  c=os.read(r,100)\n  if not c: break\n  d+=c\nsys.stdout.buffer.write(d)\nsys.exit(p.wait())";
    const slow = spawnSync("python3", ["-c", script, RUNTIME], { encoding: "utf8" });
    if (slow.error !== undefined) return; // No python3 here.
    expect({ code: slow.status, stdout: slow.stdout }).toEqual({ code: 0, stdout: runOk(["run", "--help"]) });
  });

  root("kill and delete need no environment", () => {
    const id = newId();
    silently(["run", "-d", "-b", makeBundle({ args: ["sleep", "1000"] }).path, id]);
    const bare = (...args: string[]) =>
      spawnSync(RUNTIME, args, { env: { XDG_RUNTIME_DIR: "/run/user/0" }, encoding: "utf8" });
    expect(bare("kill", id, "9")).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(bare("delete", "--force", id)).toMatchObject({ status: 0, stdout: "", stderr: "" });
  });

  root("state, list and ps print what runc's callers parse", () => {
    const id = newId();
    const bundle = makeBundle({ args: ["sleep", "1000"], edit: (spec) => (spec.annotations = { key: "value" }) });
    silently(["run", "-d", "-b", bundle.path, id]);
    const text = runOk(["state", id]);
    const state = JSON.parse(text);
    expect(text).toBe(JSON.stringify(state, null, 2));
    expect(state).toMatchObject({
      id,
      status: "running",
      bundle: bundle.path,
      rootfs: bundle.rootfs,
      annotations: { key: "value" },
    });
    expect(state.created).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$/);
    expect(JSON.parse(runOk(["ps", "-f", "json", id]))).toEqual([state.pid]);
    const listed = JSON.parse(runOk(["list", "--format=json"])).find((entry: { id: string }) => entry.id === id);
    expect(listed).toMatchObject({ id, pid: state.pid, status: "running", owner: "root" });
    expect(runOk(["list", "-q"]).split("\n")).toContain(id);
    expect(runOk(["list"]).split("\n")[0]).toMatch(/^ID +PID +STATUS +BUNDLE +CREATED +OWNER$/);
    expect(runOk(["ps", id])).toContain("sleep 1000");
    runOk(["delete", "--force", id]);
  });

  root("relative paths are the caller's", () => {
    const id = newId();
    const cwd = scratch();
    const bundle = makeBundle({ args: ["true"] });
    silently(["--log", "log", "create", "-b", bundle.path, "--pid-file", "pid", id], cwd);
    expect(readFileSync(join(cwd, "pid"), "utf8")).toBe(String(JSON.parse(runOk(["state", id])).pid));
    expect(existsSync(join(cwd, "log"))).toBe(true);
    runOk(["delete", id]);
  });

  tsrun(
    "a current directory that has been removed is no internal error, and none where no path is relative to it",
    () => {
      const gone = (line: string) => shell(`d=$(mktemp -d); cd "$d" && rmdir "$d" && ${line}`);
      const said = "tsrun: the current directory has been removed\n  fix: go to another one";
      expect(gone('"$0" spec')).toMatchObject({ status: 1, stderr: `${said}, or give the path from the root\n` });
      // What the other engine's program would do.
      expect(gone('"$0" image list')).toMatchObject({ status: 1, stderr: `${said}\n` });
      const root = scratch("root");
      expect(gone(`"$0" --root ${root} list -q`)).toMatchObject({ status: 0, stderr: "" });
    },
  );

  needs({ root: true, tsrun: true, commands: ["tar"] })(
    "an archive that nobody reads to its end is no error to tell",
    () => {
      const { rootfs } = makeBundle();
      const directory = scratch("store");
      const result =
        shell(`cd ${directory} && tar -C ${rootfs} -cf w.tar . && "$0" image import --store s w.tar w 2>/dev/null >&2
      for command in "image save" "layer export"; do { "$0" $command --store s w; echo $? >&2; } | true; done`);
      expect(result.stderr).toBe("141\n141\n");
    },
  );
});
