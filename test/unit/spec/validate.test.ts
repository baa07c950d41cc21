import { describe, expect, test } from "vitest";
import { inspect, misspeltMembers, validate } from "../../../src/spec/validate.ts";
import { config, problemsOf, warningsOf } from "./helpers.ts";

const minimal = { ociVersion: "1.0.0", root: { path: "rootfs" }, process: { cwd: "/", args: ["sh"] } };

describe("spec/validate", () => {
  test("the smallest config", () => {
    expect(validate(minimal)).toEqual([]);
  });

  test("all problems at once, each with its path", () => {
    const problems = problemsOf((spec) => {
      spec.root = { path: 5 };
      spec.process.cwd = "x";
      spec.mounts[3] = "/proc";
      spec.mounts[1].options[1] = "strictatme";
      spec.linux.namespaces[0].type = "pud";
    });
    expect(problems.map((line) => line.split(": ")[0])).toEqual([
      "root.path",
      "mounts[3]",
      "linux.namespaces[0].type",
      "process.cwd",
      "mounts[1].options[1]",
    ]);
  });

  test("fields that the spec does not have are ignored", () => {
    expect(validate({ ...minimal, windows: { x: 1 }, foo: null, constructor: 5, toString: "x" })).toEqual([]);
    expect(problemsOf((spec) => Object.assign(spec.process.user, { valueOf: 1, username: "x" }))).toEqual([]);
  });

  test("unknown members that are nearly known ones are told to who asks, others are somebody's extension", () => {
    const spec = config((value) => {
      value.hostNmae = "web";
      value.process.noNewPrivilege = true;
      value.process.user.extension = {};
      value.mounts[0].optoins = [];
      value.linux.windows = 1;
      value.annotations = { hostNmae: "x" };
    });
    expect(misspeltMembers(spec).map(({ path, message }) => `${path}: ${message}`)).toEqual([
      'process.noNewPrivilege: is not known, and ignored, did you mean "noNewPrivileges"?',
      'mounts[0].optoins: is not known, and ignored, did you mean "options"?',
      'hostNmae: is not known, and ignored, did you mean "hostname"?',
    ]);
    expect(misspeltMembers(minimal)).toEqual([]);
    expect(
      misspeltMembers({ process: Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`env${i}`, 1])) }).length,
    ).toBeLessThan(102);
  });

  test("members that are null are not there", () => {
    const value = {
      ...minimal,
      hooks: null,
      mounts: [{ destination: "/a", type: "tmpfs", options: null }],
      linux: null,
    };
    const { problems, spec } = inspect({
      ...value,
      linux: { namespaces: [{ type: "mount", path: null }], seccomp: null },
    });
    expect(problems).toEqual([]);
    expect(spec).toEqual({
      ...minimal,
      mounts: [{ destination: "/a", type: "tmpfs" }],
      linux: { namespaces: [{ type: "mount" }] },
    });
    expect(problemsOf((spec) => (spec.process.args = [null]))).toEqual(["process.args[0]: must be a string, not null"]);
    expect(problemsOf((spec) => (spec.ociVersion = null))).toEqual(["ociVersion: is missing"]);
  });

  test("a name whose letters have another case is the spec's, as it is to Go: a profile is not passed over", () => {
    const value = {
      ...minimal,
      HostName: "web",
      annotations: { HostName: "x" },
      Linux: {
        Namespaces: [{ Type: "uts" }],
        seccomp: { DefaultAction: "SCMP_ACT_ALLOW" },
        resources: { CPU: { shares: 5 } },
      },
    };
    const { problems, spec } = inspect(value);
    expect(problems).toEqual([]);
    expect(spec).toEqual({
      ...minimal,
      hostname: "web",
      annotations: { HostName: "x" },
      linux: {
        namespaces: [{ type: "uts" }],
        seccomp: { defaultAction: "SCMP_ACT_ALLOW" },
        resources: { cpu: { shares: 5 } },
      },
    });
    expect(misspeltMembers(value)).toEqual([]);
  });

  test("misfits are told of under the name that the config has; what two names for one member both say is refused", () => {
    const resources = { cpu: { shares: 5 }, CPU: { Cpus: "0" } };
    expect(inspect({ ...minimal, linux: { resources } }).spec.linux?.resources).toEqual({
      cpu: { shares: 5, cpus: "0" },
    });
    for (const [cpu, at] of [
      [{ shares: 6 }, "CPU"],
      [{ Shares: 6 }, "CPU.Shares"],
    ] as const) {
      expect(problemsOf((spec) => (spec.linux.resources = { ...resources, CPU: cpu })).join()).toMatch(
        new RegExp(`^linux.resources.${at}: is the same member as "(cpu|shares)" beside it$`),
      );
    }
    expect(problemsOf((spec) => (spec.Mounts = []))).toEqual(['Mounts: is the same member as "mounts" beside it']);
    expect(problemsOf((spec) => (spec.linux.CgroupsPath = 5))).toEqual([
      "linux.CgroupsPath: must be a string, not the number 5",
    ]);
    expect(problemsOf((spec) => Object.assign(spec, { hostname: null, HOSTNAME: "web" }))).toEqual([]);
  });

  test("a good config is handed back as it is", () => {
    const spec = config();
    expect(inspect(spec).spec).toBe(spec);
  });

  test("ociVersion: any 1.x, newer ones too", () => {
    const version = (ociVersion: unknown) => problemsOf((spec) => (spec.ociVersion = ociVersion));
    for (const good of ["1.0.0", "1.0.2-dev", "1.3.0", "1.99.7", "1.0.0-rc1", "1.1.0+dev"]) {
      expect(version(good), good).toEqual([]);
    }
    for (const bad of ["2.0.0", "1", "1.0", "", "v1.0.0", "1.0.0\n", 1])
      expect(version(bad), String(bad)).toHaveLength(1);
    expect(version(undefined)).toEqual(["ociVersion: is missing"]);
    expect(warningsOf((spec) => (spec.ociVersion = "0.5.0-dev"))).toHaveLength(1);
  });

  test("root.path is needed, unless layers are named", () => {
    expect(problemsOf((spec) => delete spec.root)).toHaveLength(1);
    expect(problemsOf((spec) => (spec.root = {}))).toEqual(["root.path: is missing"]);
    expect(problemsOf((spec) => (spec.root.path = ""))).toEqual(["root.path: is empty"]);
    const { root: _, ...without } = minimal;
    expect(validate({ ...without, annotations: { "org.tsrun.layers": '["a"]' } })).toEqual([]);
    expect(inspect(without, { hasLayers: true }).problems).toEqual([]);
  });

  test("annotations: strings, and ours have the right form", () => {
    const annotation = (key: string, value: unknown) => problemsOf((spec) => (spec.annotations = { [key]: value }));
    expect(annotation("a", "b")).toEqual([]);
    expect(annotation("a", 5)).toHaveLength(1);
    expect(annotation("", "x")).toHaveLength(1);
    expect(annotation("org.tsrun.overlay", "yes")).toEqual([
      'annotations["org.tsrun.overlay"]: must be "true" or "false", not "yes"',
    ]);
    for (const bad of ["", "a", "[]", "{}", "[1]", '["sha256:12"]', '[""]', '["a\\u0000"]']) {
      expect(annotation("org.tsrun.layers", bad), bad).toHaveLength(1);
    }
    expect(annotation("org.tsrun.layers", `["a", "/b", "sha256:${"0".repeat(64)}"]`)).toEqual([]);
    expect(annotation("org.tsrun.rw-layer", "../x")).toHaveLength(1);
    expect(warningsOf((spec) => (spec.annotations = { "org.tsrun.layer": "[]" })).join()).toContain(
      'did you mean "org.tsrun.layers"?',
    );
  });

  test("annotations of crun's that change a container, and are not carried out, are warned of", () => {
    const said = (key: string) => warningsOf((spec) => (spec.annotations = { [key]: "1" }));
    expect(said("run.oci.seccomp_bpf_data")).toEqual([
      'annotations["run.oci.seccomp_bpf_data"]: is crun\'s, and not carried out',
    ]);
    expect(problemsOf((spec) => (spec.annotations = { "run.oci.mount_context_type": "nocontext" }))).toEqual([
      'annotations["run.oci.mount_context_type"]: must be one of context, fscontext, defcontext, rootcontext, not "nocontext"',
    ]);
    for (const known of ["keep_original_groups", "pidfd_receiver", "seccomp.receiver", "hooks.stdout", "nosuch"]) {
      expect(said(`run.oci.${known}`)).toEqual([]);
    }
  });

  test("lists are bounded", () => {
    expect(problemsOf((spec) => (spec.process.args = new Array(699_051).fill("x")))).toEqual([
      "process.args: has 699051 elements, more than 699050",
    ]);
  });

  test("a config with nothing but problems is refused in bounded time and words", () => {
    const start = performance.now();
    const many = <T>(make: (i: number) => T) => Array.from({ length: 10_000 }, (_, i) => make(i));
    const problems = problemsOf((spec) => {
      spec.mounts = many((i) => ({ destination: "/", options: [`rbnd${i}`, i] }));
      spec.process.capabilities.bounding = many((i) => `CAP_CHOWM${i}`);
      spec.linux.namespaces = many((i) => ({ type: `mount${i}` }));
      spec.linux.sysctl = Object.fromEntries(many((i) => [`kernel.sem${i}`, "1"]));
    });
    expect(problems).toHaveLength(101);
    expect(problems.at(-1)).toBe(": and more; the first 100 are listed");
    expect(performance.now() - start).toBeLessThan(5000);
  });

  test("nothing in a message can forge a line or drive a terminal", () => {
    const evil = "\n\u001b[2J\u009b";
    const lines = problemsOf((spec) => {
      spec.linux.sysctl = { [evil]: evil };
      spec.linux.namespaces[0].type = evil;
      spec.mounts[0].options = [evil, "bind"];
      spec.process.cwd = evil;
      spec.process.capabilities.effective = [evil];
      spec.annotations = { "org.tsrun.layers": evil, [`org.tsrun.${evil}`]: "x" };
      spec.ociVersion = evil;
    });
    expect(lines.length).toBeGreaterThan(5);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    for (const line of lines) expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
  });

  test("no message holds words that callers take for another failure", () => {
    const source = problemsOf((spec) => {
      for (const key of Object.keys(spec)) spec[key] = 5;
    });
    expect(source.join("\n")).not.toMatch(
      /permission denied|is a directory|not a directory|no such file|does not exist/i,
    );
  });
});
