/**
 * The runtime is killed at any moment: what it leaves is described truthfully, and `delete --force` removes all of it.
 * And any config, whatever it holds, gives one clear message and leaves nothing.
 */
import { spawn as spawnChild } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { type Bundle, makeBundle } from "../../helpers/bundle.ts";
import { createContainer, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import {
  expectNothingLeft,
  inventory,
  newId,
  processesNamed,
  RUNTIME,
  run,
  runOk,
  stateOf,
  until,
} from "../../helpers/runtime.ts";

const TRIES = process.env.TSRUN_VM === "1" ? 10 : 60;
const isSlow = process.env.TSRUN_VM === "1";

/** Runs the runtime and kills it after so many milliseconds; resolves when it has ended. */
function killedAfter(ms: number, args: readonly string[]): Promise<void> {
  return new Promise((resolve) => {
    const child = spawnChild(RUNTIME, args, { stdio: "ignore" });
    const end = process.hrtime.bigint() + BigInt(Math.round(ms * 1e6));
    child.on("exit", () => resolve());
    // A timer is too coarse: it is fractions of a millisecond that matter.
    const wait = () => {
      if (process.hrtime.bigint() < end) setImmediate(wait);
      else child.kill("SIGKILL");
    };
    wait();
  });
}

function layered(args: string[]): Bundle {
  return makeBundle({
    args,
    terminal: false,
    edit: (spec) => {
      spec.annotations = { "org.tsrun.overlay": "true" };
    },
  });
}

/** What `state` says must be so, and `delete --force` must leave nothing. */
async function expectTruthThenNothing(id: string, what: string): Promise<void> {
  const result = run(["state", id]);
  if (result.code !== 0) expect(result.stderr, what).toContain("does not exist");
  else {
    const { status, pid } = JSON.parse(result.stdout);
    // Paused: who ends all of a cgroup's processes freezes it meanwhile.
    expect(["creating", "created", "running", "paused", "stopped"], what).toContain(status);
    if (status === "running" || status === "created") {
      // The number is that of a process which is there.
      expect(() => process.kill(pid, 0), what).not.toThrow();
    }
  }
  const removed = run(["delete", "--force", id]);
  expect({ what, code: removed.code, stderr: removed.stderr }).toEqual({ what, code: 0, stderr: "" });
  expect(stateOf(id), what).toBeUndefined();
  await until(() => processesNamed(id).length === 0, `${what}: its processes end: ${processesNamed(id).join(", ")}`);
}

describe("the runtime is killed", () => {
  const root = needs({ root: true, tsrun: true });

  for (const verb of ["create", "run", "run -d"]) {
    root(
      `during ${verb}: its state is true, and delete --force removes everything`,
      async () => {
        const before = inventory();
        const bundle = layered(["sleep", "1000"]);
        for (let k = 0; k < TRIES; k++) {
          const id = newId();
          const ms = k * (isSlow ? 20 : 0.6);
          await killedAfter(ms, [...verb.split(" "), "-b", bundle.path, id]);
          await expectTruthThenNothing(id, `${verb} killed after ${ms.toFixed(1)} ms`);
        }
        expectNothingLeft(before);
      },
      180_000,
    );
  }

  root(
    "during start, kill and delete: the same",
    async () => {
      const before = inventory();
      const bundle = layered(["sleep", "1000"]);
      for (const verb of [["start"], ["delete", "--force"], ["kill"], ["delete"]]) {
        for (let k = 0; k < TRIES / 4; k++) {
          const { id } = verb[0] === "start" ? createContainer(bundle) : startContainer(bundle);
          const ms = k * (isSlow ? 20 : 0.9);
          await killedAfter(ms, [...verb, id]);
          await expectTruthThenNothing(id, `${verb.join(" ")} killed after ${ms.toFixed(1)} ms`);
        }
      }
      expectNothingLeft(before);
    },
    180_000,
  );

  root(
    "during exec: the container is what it was",
    async () => {
      const { id } = startContainer(layered(["sleep", "1000"]));
      for (let k = 0; k < TRIES / 2; k++) {
        await killedAfter(k * (isSlow ? 20 : 0.6), ["exec", id, "true"]);
        expect(stateOf(id)?.status).toBe("running");
      }
      expect(runOk(["exec", id, "echo", "well"])).toBe("well\n");
    },
    120_000,
  );

  root("in the foreground: the container is found by list, and removed by delete --force", async () => {
    const before = inventory();
    const id = newId();
    const child = spawnChild(RUNTIME, ["run", "-b", layered(["sleep", "1000"]).path, id], { stdio: "ignore" });
    await until(() => stateOf(id)?.status === "running", "it runs");
    // As the monitor, which is what waits by then.
    child.kill("SIGKILL");
    await new Promise((resolve) => child.on("exit", resolve));
    expect(runOk(["list", "-q"]).split("\n")).toContain(id);
    await expectTruthThenNothing(id, "foreground");
    expectNothingLeft(before);
  });
});

/** Values that a field of config.json may have by mistake or by malice. */
const anyValue = fc.oneof(
  fc.constantFrom<unknown>(
    ...[null, true, false, 0, -1, 1.5, 2 ** 31, 2 ** 53, 2 ** 64, "", "x", "/", "..", "/..", "a\0b", "\u001b[2J"],
    ...["x".repeat(5000), [], [null], [""], ["x"], {}, { a: 1 }, [[]], [{}], "\ud800", "é", "-1", "NaN"],
  ),
  fc.string({ maxLength: 20 }),
  fc.integer(),
  fc.array(fc.oneof(fc.string({ maxLength: 5 }), fc.integer(), fc.constant(null)), { maxLength: 4 }),
);

/** Every place of a value, as the keys that lead there. */
function places(value: unknown, at: (string | number)[] = []): (string | number)[][] {
  const below =
    typeof value === "object" && value !== null
      ? Object.entries(value).flatMap(([key, child]) =>
          places(child, [...at, Array.isArray(value) ? Number(key) : key]),
        )
      : [];
  return at.length === 0 ? below : [at, ...below];
}

function set(config: unknown, place: (string | number)[], value: unknown): void {
  let node = config as Record<string | number, unknown>;
  for (const key of place.slice(0, -1)) {
    const next = node[key];
    if (typeof next !== "object" || next === null) return;
    node = next as Record<string | number, unknown>;
  }
  if (value === undefined) delete node[place.at(-1) ?? ""];
  else node[place.at(-1) ?? ""] = value;
}

describe("a config that is broken", () => {
  const root = needs({ root: true, tsrun: true });

  /** It may run, as not every change breaks it; else one clear message and nothing left. */
  function expectClear(bundle: Bundle, text: string): void {
    writeFileSync(join(bundle.path, "config.json"), text);
    const id = newId();
    const begun = Date.now();
    const { code, signal, stderr } = run(["run", "-b", bundle.path, id], { timeoutMs: 10_000 });
    expect(signal).toBeNull();
    expect(Date.now() - begun).toBeLessThan(isSlow ? 100_000 : 10_000);
    if (code !== 0) {
      expect(stderr, text).toMatch(/^(tsrun: |sleep: |true: )/);
      // Nothing of the program's own inside.
      expect(stderr, text).not.toMatch(/internal error|^\s+at |bunfs|undefined is not|Cannot read|\bStepError\b/m);
      // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
      expect(stderr, text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
    }
    expect(run(["state", id]).code).not.toBe(0);
  }

  root(
    "bytes that are no config",
    () => {
      const before = inventory();
      const bundle = makeBundle();
      for (const text of [
        ...[
          "",
          " ",
          "{",
          "}",
          "[]",
          "null",
          "true",
          "1",
          '"x"',
          "{}",
          '{"ociVersion":1}',
          '{"ociVersion":"1.0.0"}',
          "\0",
        ],
        ...[
          "\ufeff{}",
          "{'a':1}",
          '{"a":1,}',
          "[".repeat(100_000),
          '{"a":'.repeat(50_000),
          `{"ociVersion":"${"9".repeat(1000)}"}`,
        ],
        ...['{"__proto__":{"process":1}}', '{"constructor":null,"ociVersion":"1.0.2"}'],
      ]) {
        expectClear(bundle, text);
      }
      expectNothingLeft(before);
    },
    120_000,
  );

  root(
    "any field with any value",
    () => {
      const before = inventory();
      const bundle = makeBundle({ args: ["true"] });
      bundle.edit((spec) => {
        spec.linux.sysctl = { "net.ipv4.ip_forward": "1" };
        spec.annotations = { a: "b" };
        spec.linux.devices = [{ path: "/dev/x", type: "c", major: 1, minor: 3, fileMode: 0o600, uid: 0, gid: 0 }];
        spec.linux.seccomp = {
          defaultAction: "SCMP_ACT_ALLOW",
          syscalls: [
            { names: ["reboot"], action: "SCMP_ACT_ERRNO", args: [{ index: 0, value: 1, op: "SCMP_CMP_EQ" }] },
          ],
        };
        spec.linux.uidMappings = [];
        spec.process.user.additionalGids = [5];
      });
      const all = places(bundle.spec);
      const end = Date.now() + 25_000;
      const change = fc.tuple(fc.constantFrom(...all), fc.oneof(anyValue, fc.constant(undefined)));
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 3 }), (changes) => {
          if (Date.now() > end) return;
          const config = structuredClone(bundle.spec) as unknown;
          for (const [place, value] of changes) {
            // What would make the test itself wait or reach out of its rootfs is left as it is.
            if (["args", "terminal", "cgroupsPath"].includes(String(place[1])) || place.includes("path")) continue;
            set(config, place, value);
          }
          expectClear(bundle, JSON.stringify(config));
        }),
        { numRuns: 400, endOnFailure: true },
      );
      expectNothingLeft(before);
    },
    180_000,
  );
});
