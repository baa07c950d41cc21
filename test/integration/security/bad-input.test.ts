/**
 * Any config, whatever it holds, and any command line: one clear message, soon, and nothing left behind. What can be
 * decided without a kernel is tried by the thousand in test/unit/spec/fuzz-schema.test.ts; this is the program itself.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { GLOBAL_FLAGS } from "../../../src/cli/globals.ts";
import { VERBS } from "../../../src/cli/verbs/all.ts";
import { type Bundle, defaultConfig, type FullSpec, makeBundle } from "../../helpers/bundle.ts";
import { sleepingBundle, startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { expectNothingLeft, inventory, newId, type Result, run, runOk, stateOf } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const isSlow = process.env.TSRUN_VM === "1";
const SOON_MS = isSlow ? 100_000 : 10_000;
const SEED = Number(process.env.TSRUN_FUZZ_SEED ?? Date.now());

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

/** Not killed, and if it failed, lines that are the program's own words and nothing of its inside. */
function expectForReader({ code, signal, stderr }: Result, what: string): void {
  expect(signal, what).toBeNull();
  if (code === 0) return;
  expect(stderr, what).toMatch(/^(tsrun: |sleep: |true: )/);
  expect(stderr, what).not.toMatch(/internal error|^\s+at |bunfs|undefined is not|Cannot read|\bStepError\b/m);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(stderr, what).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f]/);
  expect(stderr.length, what).toBeLessThan(20_000);
}

describe("a config that is broken", () => {
  const root = needs({ root: true, tsrun: true });

  /** It may run, as not every change breaks it; else one clear message and nothing left. */
  function expectClear(bundle: Bundle, text: string): Result {
    writeFileSync(join(bundle.path, "config.json"), text);
    const id = newId();
    const begun = Date.now();
    const result = run(["run", "-b", bundle.path, id], { timeoutMs: 10_000 });
    expectForReader(result, text.slice(0, 2000));
    expect(Date.now() - begun).toBeLessThan(SOON_MS);
    expect(run(["state", id]).code).not.toBe(0);
    return result;
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

  const large: [what: string, edit: (spec: FullSpec) => void, says: RegExp | undefined][] = [
    [
      "five megabytes in a text",
      (spec) => (spec.annotations = { a: "x".repeat(5e6) }),
      /^tsrun: .*annotations\.a: is 5000000/,
    ],
    [
      "five megabytes in many",
      (spec) => (spec.annotations = many(50_000, (i) => [`a${i}`, "x".repeat(90)])),
      undefined,
    ],
    [
      "more environment than the kernel takes",
      (spec) => (spec.process.env = list(50_000, (i) => `A${i}=${"x".repeat(90)}`)),
      /E2BIG/,
    ],
    [
      "10000 mounts",
      (spec) => spec.mounts.push(...list(10_000, (i) => ({ destination: `/m${i}`, type: "tmpfs", source: "x" }))),
      undefined,
    ],
    [
      "10000 mounts of no type",
      (spec) => spec.mounts.push(...list(10_000, (i) => ({ destination: `/m${i}`, type: 5 as never }))),
      /has 1\d\d problems/,
    ],
    ["10000 masked paths", (spec) => (spec.linux.maskedPaths = list(10_000, (i) => `/proc/none${i}`)), undefined],
    ["10000 sysctls", (spec) => (spec.linux.sysctl = many(10_000, (i) => [`net.none${i}`, "1"])), /net\.none0/],
    [
      "10000 device rules",
      (spec) =>
        (spec.linux.resources = { devices: list(10_000, (i) => ({ allow: true, type: "c", major: i, minor: i })) }),
      /more than 4096/,
    ],
    [
      "4000 device rules",
      (spec) =>
        (spec.linux.resources = {
          devices: list(4000, (i) => ({ allow: i % 2 === 0, type: "c", major: i, minor: i })),
        }),
      undefined,
    ],
    ["70000 groups", (spec) => (spec.process.user.additionalGids = list(70_000, (i) => i)), /more than 65536/],
    [
      "10000 rules about one system call",
      (spec) => (spec.linux.seccomp = rules(10_000, ["read"])),
      /the kernel takes 4096/,
    ],
    [
      "10000 rules about four",
      (spec) => (spec.linux.seccomp = rules(10_000, ["read", "write", "open", "close"])),
      /the kernel takes 4096/,
    ],
    [
      "10000 namespaces",
      (spec) => spec.linux.namespaces?.push(...list(10_000, () => ({ type: "pid" as const }))),
      /namespaces/,
    ],
  ];
  for (const [what, edit, says] of large) {
    root(
      `with ${what} is done or refused soon`,
      () => {
        const before = inventory();
        const bundle = makeBundle({ args: ["true"], edit });
        const { code, stderr } = expectClear(bundle, JSON.stringify(bundle.spec));
        expect({ code, stderr }).toMatchObject(
          says === undefined ? { code: 0, stderr: "" } : { code: 1, stderr: expect.stringMatching(says) },
        );
        expectNothingLeft(before);
      },
      120_000,
    );
  }

  root("that is nested more deeply than can be read says so", () => {
    const bundle = makeBundle();
    const spec = JSON.stringify(bundle.spec).slice(0, -1);
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"],
    ] as const) {
      const deep = `${open.repeat(100_000)}1${close.repeat(100_000)}`;
      for (const text of [deep, `${spec},"unknown":${deep}}`, `${spec},"mounts":${deep}}`]) {
        expect(expectClear(bundle, text).stderr).toContain("is nested too deeply");
      }
    }
  });
});

describe("the files that exec and update are given", () => {
  const root = needs({ root: true, tsrun: true });
  const change = (value: unknown) =>
    fc.tuple(fc.constantFrom(...places(value)), fc.oneof(anyValue, fc.constant(undefined)));

  /** Each try writes the base with a few changes, and calls the runtime. */
  function tryChanges(base: object, args: (path: string) => string[]): void {
    const path = join(scratch("file"), "file.json");
    const end = Date.now() + (isSlow ? 40_000 : 15_000);
    fc.assert(
      fc.property(fc.array(change(base), { minLength: 1, maxLength: 3 }), (changes) => {
        if (Date.now() > end) return;
        const value = structuredClone(base) as unknown;
        for (const [place, by] of changes) set(value, place, by);
        writeFileSync(path, JSON.stringify(value));
        const result = run(args(path), { timeoutMs: 10_000 });
        expectForReader(result, JSON.stringify(value));
      }),
      { numRuns: 200, seed: SEED, endOnFailure: true },
    );
    for (const text of ["", "{", "[]", "null", "\0", '"x"', "[".repeat(100_000), `{"args":${"[".repeat(50_000)}`]) {
      writeFileSync(path, text);
      const result = run(args(path), { timeoutMs: 10_000 });
      expect(result.code, text.slice(0, 20)).toBeGreaterThan(0);
      expectForReader(result, text.slice(0, 20));
    }
  }

  root(
    `any process: it runs or is refused in words, and the container goes on (seed ${SEED})`,
    () => {
      const { id } = startContainer(sleepingBundle());
      const { process } = defaultConfig();
      const base = {
        ...process,
        terminal: false,
        args: ["true"],
        user: { uid: 0, gid: 0, umask: 18, additionalGids: [5] },
      };
      tryChanges(base, (path) => ["exec", "--process", path, id]);
      expect(stateOf(id)?.status).toBe("running");
      expect(runOk(["exec", id, "echo", "well"])).toBe("well\n");
    },
    120_000,
  );

  root(
    `any limits: they are set or refused in words (seed ${SEED})`,
    () => {
      const before = inventory();
      const { id } = startContainer(sleepingBundle());
      const base = {
        memory: { limit: 2 ** 28, reservation: 2 ** 27, swap: 2 ** 29 },
        cpu: { shares: 512, quota: 50_000, period: 100_000, cpus: "0", mems: "0" },
        pids: { limit: 50 },
        blockIO: { weight: 100, throttleReadBpsDevice: [{ major: 8, minor: 0, rate: 1000 }] },
      };
      tryChanges(base, (path) => ["update", "-r", path, id]);
      expect(["running", "stopped"]).toContain(stateOf(id)?.status);
      runOk(["delete", "--force", id]);
      expectNothingLeft(before);
    },
    120_000,
  );
});

describe("what stands in the place of a file", () => {
  const root = needs({ root: true, tsrun: true });

  root(
    "is refused or read soon, whoever is given it, and standard input is read to a bound",
    () => {
      const { id } = startContainer(sleepingBundle());
      const bundle = makeBundle();
      const path = join(bundle.path, "config.json");
      const calls = [
        ["plan", bundle.path],
        ["exec", "--process", path, id],
        ["update", "-r", path, id],
        ["mounts", "add", id, path],
      ];
      const places: [what: string, make: () => void, says: RegExp][] = [
        ["a pipe that nobody writes to", () => execFileSync("mkfifo", [path]), /is no regular file/],
        ["a directory", () => mkdirSync(path), /is no regular file/],
        ["a device without an end", () => symlinkSync("/dev/zero", path), /is no regular file/],
        ["a terminal's master", () => symlinkSync("/dev/ptmx", path), /is no regular file/],
        ["a log that never ends", () => symlinkSync("/proc/kmsg", path), /cannot be read: E(AGAIN|PERM)/],
        ["a link to itself", () => symlinkSync("config.json", path), /cannot be read: ELOOP/],
        ["a link to nothing", () => symlinkSync("nosuch", path), /not found/],
        [
          "a file of a terabyte",
          () => {
            writeFileSync(path, "{");
            truncateSync(path, 2 ** 40);
          },
          /is larger than 16 MiB/,
        ],
        [
          "a string of many escapes without an end",
          () => writeFileSync(path, `{"${'\\"'.repeat(2e6)}`),
          /ends too early/,
        ],
        ["a list with its mistake at the end", () => writeFileSync(path, `[${"1,".repeat(5e5)}x`), /unexpected "x"/],
      ];
      for (const [what, make, says] of places) {
        rmSync(path, { recursive: true, force: true });
        make();
        for (const args of calls) {
          const begun = Date.now();
          const result = run(args, { timeoutMs: 10_000 });
          expectForReader(result, `${args[0]} ${what}`);
          expect(result.code, `${args[0]} ${what}`).toBeGreaterThan(0);
          expect(result.stderr, `${args[0]} ${what}`).toMatch(says);
          expect(Date.now() - begun, `${args[0]} ${what}`).toBeLessThan(SOON_MS);
        }
      }
      for (const args of [
        ["update", "-r", "-", id],
        ["mounts", "add", id, "-"],
      ]) {
        const result = run(args, { input: " ".repeat(17 * 1024 * 1024), timeoutMs: 10_000 });
        expect(result).toMatchObject({
          code: 1,
          stderr: expect.stringContaining("standard input: is larger than 16 MiB"),
        });
      }
      expect(stateOf(id)?.status).toBe("running");
    },
    200_000,
  );

  root("what update does not know of its file does not stay with the container", () => {
    const { id } = startContainer(sleepingBundle());
    const note = "x".repeat(7 * 1024 * 1024);
    for (const name of ["one", "two"]) {
      runOk(["update", "-r", "-", id], { input: JSON.stringify({ [name]: note, pids: { limit: 20, [name]: note } }) });
    }
    runOk(["update", "--pids-limit", "30", id]);
    expect(runOk(["exec", id, "echo", "well"])).toBe("well\n");
  });
});

function list<T>(length: number, element: (i: number) => T): T[] {
  return Array.from({ length }, (_, i) => element(i));
}

function many(length: number, entry: (i: number) => [string, string]): Record<string, string> {
  return Object.fromEntries(list(length, entry));
}

function rules(length: number, names: string[]): NonNullable<FullSpec["linux"]["seccomp"]> {
  const one = (value: number) => ({
    names,
    action: value % 2 === 0 ? ("SCMP_ACT_ERRNO" as const) : ("SCMP_ACT_TRAP" as const),
    args: [{ index: 0, value, op: "SCMP_CMP_EQ" as const }],
  });
  return { defaultAction: "SCMP_ACT_ALLOW", syscalls: list(length, one) };
}

describe("any command line", () => {
  const root = needs({ root: true, tsrun: true });
  // A command that is run over the system as it is, and a download, are no mistakes of a command line.
  const verbs = VERBS.map(({ name }) => name).filter((name) => name !== "try");
  // Those that ask for more than words for a reader are left out.
  const others = ["help", "version", "debug", "log-level", "log-format"];
  const flags = [...GLOBAL_FLAGS, ...VERBS.flatMap((verb) => verb.flags)].filter(({ name }) => !others.includes(name));
  const value = fc.oneof(
    fc.constantFrom(
      ...[
        "",
        "x",
        "-",
        "--",
        "-1",
        "0",
        "9",
        "1e9",
        "99999999999999999999",
        "..",
        "/",
        "/nonexistent",
        "true",
        "false",
        "a=b",
      ],
      ...[
        "json",
        "table",
        "=",
        "\u001b[2J",
        "a\nb",
        "é",
        "x".repeat(3000),
        "{}",
        "[]",
        "null",
        "KILL",
        "SIGXYZ",
        "1:1",
        "id",
      ],
    ),
    // What execve(2) can hand over.
    fc.string({ maxLength: 8 }).map((text) => text.replaceAll("\0", "")),
  );
  const flag = fc.constantFrom(...flags).map(({ name }) => `--${name}`);
  const word = fc.oneof(
    { weight: 3, arbitrary: value },
    { weight: 3, arbitrary: fc.tuple(flag, value).map(([name, text]) => `${name}=${text}`) },
    { weight: 2, arbitrary: flag },
    { weight: 1, arbitrary: fc.constantFrom(...verbs) },
  );
  const line = fc.tuple(fc.array(word, { maxLength: 2 }), fc.constantFrom(...verbs), fc.array(word, { maxLength: 5 }));

  root(
    `is carried out or refused in words (seed ${SEED})`,
    () => {
      const before = inventory();
      const cwd = scratch("cwd");
      const states = join(cwd, "states");
      mkdirSync(states);
      const end = Date.now() + (isSlow ? 60_000 : 30_000);
      fc.assert(
        fc.property(line, ([global, verb, rest]) => {
          if (Date.now() > end) return;
          const args = ["--root", states, ...global, verb, ...rest].filter((text) => text !== "try");
          const result = run(args, { cwd, timeoutMs: 10_000 });
          expectForReader(result, JSON.stringify(args));
        }),
        { numRuns: 1500, seed: SEED, endOnFailure: true },
      );
      expectNothingLeft(before);
    },
    200_000,
  );
});
