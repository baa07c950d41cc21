/** `--cgroup-manager disabled`: the container stays in the cgroup of its caller. */
import { readFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, run } from "../../helpers/runtime.ts";

const FLAGS = ["--cgroup-manager", "disabled"];

describe("no cgroup", () => {
  const any = needs({ root: true, tsrun: true });

  any("the process is where its caller is, in every hierarchy", () => {
    const bundle = makeBundle({
      args: ["cat", "/proc/self/cgroup"],
      edit: (spec) => {
        // Its own cgroup namespace would show every cgroup as "/".
        spec.linux.namespaces = (spec.linux.namespaces ?? []).filter(({ type }) => type !== "cgroup");
        delete spec.linux.resources;
        spec.linux.cgroupsPath = "/not-made";
      },
    });
    const result = run([...FLAGS, "run", "-b", bundle.path, newId()]);
    expect(result.stderr).toBe("");
    expect(result.stdout).toBe(readFileSync("/proc/self/cgroup", "utf8"));
  });

  any("a limit is refused, as nothing could hold it", () => {
    const bundle = makeBundle({ edit: (spec) => Object.assign(spec.linux, { resources: { pids: { limit: 5 } } }) });
    const result = run([...FLAGS, "run", "-b", bundle.path, newId()]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("cannot set pids limit: --cgroup-manager disabled makes no cgroup");
  });

  any("the other flag for a manager may not say something else", () => {
    const result = run([...FLAGS, "--systemd-cgroup", "run", "-b", makeBundle().path, newId()]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("exclude each other");
  });
});
