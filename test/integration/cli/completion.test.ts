/** What shells complete with the scripts of `tsrun completion`. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { afterAll, describe, expect } from "vitest";
import { createContainer, sleepingBundle } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { deleteContainers, RUNTIME, run, runOk } from "../../helpers/runtime.ts";

const own = needs({ tsrun: true });
const root = needs({ root: true, tsrun: true });

afterAll(deleteContainers);

/** What bash offers for the last of the words. */
function inBash(...words: string[]): string[] {
  const script = `source <("$0" completion bash)
COMP_WORDS=("$0" "$@"); COMP_CWORD=$#; COMPREPLY=()
_tsrun
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout, stderr } = spawnSync("bash", ["-c", script, RUNTIME, ...words], { encoding: "utf8", cwd: "/" });
  expect(stderr).toBe("");
  return stdout.split("\n").filter((line) => line !== "");
}

describe("bash", () => {
  own("commands, of both levels", () => {
    expect(inBash("resu")).toEqual(["resume"]);
    expect(inBash("--debug", "--log", "/x", "dele")).toEqual(["delete"]);
    expect(inBash("image", "hi")).toEqual(["history"]);
    expect(inBash("layer", "")).toContain("gc");
  });

  own("flags, and the values of those that have a list of them", () => {
    expect(inBash("run", "--dri")).toEqual(["--driver"]);
    expect(inBash("image", "import", "--refe")).toEqual(["--reference"]);
    expect(inBash("run", "--driver", "")).toEqual(["overlay2", "vfs", "fuse-overlayfs"]);
    // As readline splits it.
    expect(inBash("list", "--format", "=", "j")).toEqual(["json"]);
    expect(inBash("list", "-f", "t")).toEqual(["table"]);
    expect(inBash("--log-format", "=")).toEqual(["text", "json"]);
  });

  own("words of the first argument, and files where anything else may be", () => {
    expect(inBash("completion", "")).toEqual(["bash", "zsh", "fish"]);
    expect(inBash("mounts", "r")).toEqual(["remove"]);
    expect(inBash("run", "--bundle", "/us")).toEqual(["/usr"]);
    expect(inBash("exec", "web", "/us")).toEqual(["/usr"]);
  });

  root("containers, of the root that is written", () => {
    const { id } = createContainer(sleepingBundle());
    expect(inBash("start", id.slice(0, -1))).toContain(id);
    expect(inBash("mounts", "add", id.slice(0, -1))).toContain(id);
    expect(inBash("--root", "/run/nothing-there", "start", "")).toEqual([]);
  });
});

describe("other shells", () => {
  own("fish offers the same", ({ skip }) => {
    skip(!existsSync("/usr/bin/fish"), "fish is not installed");
    const script = 'source (tsrun completion fish | psub); complete -C "$argv"';
    const offered = (line: string) =>
      spawnSync("fish", ["--no-config", "-c", `function tsrun; ${RUNTIME} $argv; end; ${script}`, line], {
        encoding: "utf8",
      }).stdout.replace(/\t.*/g, "");
    expect(offered("tsrun resu")).toBe("resume\n");
    expect(offered("tsrun list --format ")).toBe("json\ntable\n");
  });

  own("zsh reads its script", ({ skip }) => {
    skip(!existsSync("/usr/bin/zsh"), "zsh is not installed");
    expect(spawnSync("zsh", ["-n"], { input: runOk(["completion", "zsh"]), encoding: "utf8" })).toMatchObject({
      status: 0,
      stderr: "",
    });
  });

  own("a shell that is not known is refused with a suggestion", () => {
    const result = run(["completion", "bsh"]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("use bash, zsh, fish");
    expect(result.stderr).toContain("did you mean bash?");
  });
});
