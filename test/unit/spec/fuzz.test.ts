import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { SpecError } from "../../../src/errors.ts";
import { defaultSpec } from "../../../src/spec/defaults.ts";
import { parseSpec } from "../../../src/spec/load.ts";
import { resolve } from "../../../src/spec/resolve.ts";
import type { Spec } from "../../../src/spec/types.ts";
import { inspect, validate } from "../../../src/spec/validate.ts";
import { HOST } from "./helpers.ts";

/** Every path of a value that can be replaced. */
function pathsOf(value: unknown, path: (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, member]) => pathsOf(member, [...path, key]))];
}

function replace(value: unknown, path: readonly (string | number)[], by: unknown): unknown {
  const [key, ...rest] = path;
  if (key === undefined) return by;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>;
  copy[key] = replace((value as Record<string, unknown>)[key], rest, by);
  return copy;
}

/** A config that uses every section, as a place to put nonsense into. */
const FULL = {
  ...defaultSpec(),
  hooks: { prestart: [{ path: "/x", args: ["a"], timeout: 1 }] },
  annotations: { "org.tsrun.layers": '["a"]', "org.tsrun.overlay": "true", "org.tsrun.rw-layer": "x" },
  linux: {
    ...defaultSpec().linux,
    namespaces: [...(defaultSpec().linux?.namespaces ?? []), { type: "user" }, { type: "time" }],
    uidMappings: [{ containerID: 0, hostID: 1, size: 2 }],
    gidMappings: [{ containerID: 0, hostID: 1, size: 2 }],
    sysctl: { "net.ipv4.ip_forward": "1" },
    cgroupsPath: "/a",
    devices: [{ path: "/dev/x", type: "c", major: 1, minor: 2 }],
    netDevices: { eth0: { name: "x" } },
    seccomp: {
      defaultAction: "SCMP_ACT_ALLOW",
      syscalls: [{ names: ["a"], action: "SCMP_ACT_ERRNO", args: [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }] }],
    },
    resources: {
      memory: { limit: 1, swap: 2 },
      cpu: { cpus: "0" },
      pids: { limit: 1 },
      blockIO: { weightDevice: [{ major: 1, minor: 2, weight: 10 }] },
      hugepageLimits: [{ pageSize: "2MB", limit: 1 }],
      network: { priorities: [{ name: "a", priority: 1 }] },
      rdma: { a: { hcaHandles: 1 } },
      unified: { "memory.high": "1" },
      devices: [{ allow: true, type: "c", major: 1, minor: 2, access: "r" }],
    },
    intelRdt: { closID: "a" },
    memoryPolicy: { mode: "MPOL_BIND", nodes: "0" },
    personality: { domain: "LINUX" },
    timeOffsets: { monotonic: { secs: 1 } },
  },
};
const PATHS = pathsOf(FULL);

describe("spec, any JSON", () => {
  test("validate throws nothing, whatever it is given", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const problems = validate(value);
        expect(problems.length).toBeGreaterThan(0);
      }),
      { numRuns: 200 },
    );
  });

  test("one wrong value anywhere is a problem with a path, or none at all, and nothing is thrown but SpecError", () => {
    const odd = fc.oneof(
      fc.jsonValue({ maxDepth: 2 }),
      fc.constantFrom<unknown>(null, -1, 1e300, 2 ** 64, 0.5, "", "\0", "..", "/", "constructor", "__proto__", [], {}, [
        null,
      ]),
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...PATHS), odd), { minLength: 1, maxLength: 3 }), (changes) => {
        let value: unknown = FULL;
        for (const [path, by] of changes) {
          try {
            value = replace(value, path, by);
          } catch {
            // An earlier change took the place away.
          }
        }
        const { problems, spec } = inspect(value);
        // What is left fits: there is nothing more to take out of it.
        if (problems.length === 0) expect(inspect(spec).spec).toBe(spec);
        for (const { path, message } of problems) expect(`${path}${message}`).not.toMatch(/undefined|NaN|\[object/);
        for (const host of [HOST, { ...HOST, privileged: false, euid: 1000, egid: 1000 }]) {
          try {
            resolve(value as Spec, { id: "x", bundle: "/b" }, host);
          } catch (error) {
            expect(error).toBeInstanceOf(SpecError);
          }
        }
      }),
      { numRuns: 300 },
    );
  });

  test("any text is a spec or a SpecError", () => {
    const text = fc.oneof(
      fc.string(),
      fc.json(),
      fc.json().map((json) => json.slice(0, -1)),
      fc.json().map((json) => `${json},`),
    );
    fc.assert(
      fc.property(text, (input) => {
        try {
          parseSpec(input);
        } catch (error) {
          expect(error).toBeInstanceOf(SpecError);
          expect((error as Error).message).not.toContain("is not JSON;");
        }
      }),
      { numRuns: 300 },
    );
  });
});
