import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { SpecError } from "../../../src/errors.ts";
import { jsonErrorOffset } from "../../../src/spec/json-error.ts";
import {
  loadList,
  loadObject,
  loadProcess,
  loadSpec,
  parseObject,
  parseSpec,
  specText,
} from "../../../src/spec/load.ts";

const dir = mkdtempSync(join(tmpdir(), "tsrun-load-"));
afterAll(() => rmSync(dir, { recursive: true }));

function messageOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    expect(error).toBeInstanceOf(SpecError);
    return (error as Error).message;
  }
  throw new Error("nothing was thrown");
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

describe("spec/load", () => {
  test("config.json of the bundle is read, and its text kept", () => {
    const text = '{"ociVersion": "1.0.2",\n "x": 1}';
    writeFileSync(join(dir, "config.json"), text);
    expect(loadSpec(dir)).toEqual({ spec: { ociVersion: "1.0.2", x: 1 }, text });
  });

  test("a fraction of many digits beside a seccomp profile is no whole number of many digits", () => {
    const text = '{"a": 0.0000010000000000000002, "b": -1.00000000000000001e-17, "linux": {"seccomp": {}}}';
    expect(parseSpec(text)).toMatchObject({ a: 0.0000010000000000000002 });
  });

  test("another file can be named, from the bundle or absolute", () => {
    writeFileSync(join(dir, "other.json"), '{"ociVersion": "1.1.0"}');
    expect(loadSpec(dir, "other.json").spec.ociVersion).toBe("1.1.0");
    expect(loadSpec("/", join(dir, "other.json")).spec.ociVersion).toBe("1.1.0");
  });

  test("a missing config.json is named, in words that nobody takes for a missing command", () => {
    for (const bundle of [join(dir, "none"), join(dir, "config.json")]) {
      const message = messageOf(() => loadSpec(bundle));
      expect(message).toContain("config.json not found");
      expect(message).not.toMatch(/no such file|not a directory|does not exist/i);
    }
  });

  test("a directory or a fifo in its place is refused at once", () => {
    mkdirSync(join(dir, "d/config.json"), { recursive: true });
    expect(messageOf(() => loadSpec(join(dir, "d")))).toContain("is no regular file");
    mkdirSync(join(dir, "f"));
    execFileSync("mkfifo", [join(dir, "f/config.json")]);
    expect(messageOf(() => loadSpec(join(dir, "f")))).toContain("is no regular file");
  });

  test("a NUL byte in the name of the bundle is an error like any other", () => {
    expect(messageOf(() => loadSpec("/tmp/\0x"))).toContain("cannot be read");
  });

  test.each([
    ["", "is empty"],
    ["  \n", "is empty"],
    ["{]", 'unexpected "]" at line 1, column 2'],
    ['{\n  "a": 1,\n}', 'unexpected "}" at line 3, column 1'],
    ['{"a": 1', "it ends too early (line 1, column 8)"],
    ['{"a": tru}', 'unexpected "t" at line 1, column 7'],
    ['{"a": 01}', 'unexpected "0" at line 1, column 7'],
    ['{"a": 1} x', 'unexpected "x" at line 1, column 10'],
    ['{"a" 1}', 'unexpected "1" at line 1, column 6'],
    ["{'a': 1}", 'unexpected "\'" at line 1, column 2'],
    ['{"a": "b\nc"}', 'unexpected "\\n" at line 1, column 9'],
    ['{"a": "b', "it ends too early (line 1, column 9)"],
    ['{"a": "b\\', "it ends too early (line 1, column 10)"],
    ['{"a": "\\x"}', 'unexpected "x" at line 1, column 9'],
    ['{"a": "\\u12g4"}', 'unexpected "u" at line 1, column 9'],
    ['{"a": 1.}', 'unexpected "1" at line 1, column 7'],
    ['{"a": -}', 'unexpected "-" at line 1, column 7'],
    ['{"a": 1e+}', 'unexpected "1" at line 1, column 7'],
    ['{"a": nulls}', 'unexpected "n" at line 1, column 7'],
    ['{"a": 0.5e-3, "b": [-0, true, "\\u00e9\\n"] "c"}', 'unexpected "\\"" at line 1, column 43'],
    ["[1, 2", "it ends too early"],
    ['\ufeff{"a": 1}', "line 1, column 1"],
    ["null", "must hold a JSON object"],
    ["[]", "must hold a JSON object"],
    ['"x"', "must hold a JSON object"],
  ])("%j: %s", (text, expected) => {
    expect(messageOf(() => parseSpec(text))).toContain(expected);
  });

  test("a text that never ends its string is refused in no time", () => {
    const start = performance.now();
    messageOf(() => parseSpec(`{"a": "${"x".repeat(1_000_000)}`));
    messageOf(() => parseSpec(`{"a": "${"\\n".repeat(300_000)}`));
    expect(performance.now() - start).toBeLessThan(1000);
  });

  test("what is wrong at the end of a large text is found", () => {
    for (const part of ["1,", "{},", '"\\n",', "null,\n", "[".repeat(20), '"a b c d",']) {
      expect(messageOf(() => parseSpec(`{"a":[${part.repeat(500_000 / part.length)}x`))).toMatch(
        /unexpected "x"|deeply/,
      );
    }
  });

  test("a place is found where the engine refuses, and nowhere else", () => {
    const text = fc.string({ unit: fc.constantFrom(...'{}[],:" \n\\/0123456789.+-eEtruefalsn'), maxLength: 12 });
    fc.assert(
      fc.property(
        fc.oneof(text, fc.json()),
        fc.nat(),
        fc.constantFrom("", ",", '"', "}", "0", "\\"),
        (json, at, by) => {
          const damaged = json.slice(0, at % (json.length + 1)) + by + json.slice(at % (json.length + 1));
          const offset = jsonErrorOffset(damaged);
          expect(offset === undefined).toBe(isJson(damaged));
          expect(offset ?? 0).toBeLessThanOrEqual(damaged.length);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test("a file of standard input or of a path is read to its bound and no further", () => {
    const path = join(dir, "large.json");
    writeFileSync(path, "{}");
    expect(loadObject(path)).toEqual({});
    truncateSync(path, 16 * 1024 * 1024 + 1);
    for (const load of [loadObject, loadList, loadProcess]) {
      expect(messageOf(() => load(path))).toContain("is larger than 16 MiB");
      expect(messageOf(() => load("/dev/zero"))).toContain("is no regular file");
      expect(messageOf(() => load(join(dir, "f/config.json")))).toContain("is no regular file");
      expect(messageOf(() => load(join(dir, "nosuch")))).toContain("nosuch not found");
    }
    expect(messageOf(() => loadObject("/proc/self/mem"))).toContain("cannot be read: EIO");
  });

  test("the copy that is our own may have grown", () => {
    const path = join(dir, "config.json");
    writeFileSync(path, `{"ociVersion": "1.0.2"${" ".repeat(16 * 1024 * 1024)}}`);
    expect(messageOf(() => loadSpec(dir))).toContain("is larger than 16 MiB");
    expect(loadSpec(dir, undefined, Number.POSITIVE_INFINITY).spec.ociVersion).toBe("1.0.2");
  });

  test("a text of many escapes beside a large argument of seccomp is read", () => {
    const text = `{"a": "${"\\n".repeat(500_000)}", "b": "\\"1234567890123456789",
      "linux": {"seccomp": {"syscalls": [{"args": [{"value": 18446744073709551615}]}]}}}`;
    const syscalls = [{ args: [{ value: 18446744073709551615n }] }];
    expect(parseSpec(text)).toMatchObject({ b: '"1234567890123456789', linux: { seccomp: { syscalls } } });
  });

  test("deep nesting does not overflow", () => {
    const depth = 200_000;
    for (const text of ["[".repeat(depth), `{"a":${"[".repeat(depth)}${"]".repeat(depth)}}`]) {
      try {
        parseSpec(text);
      } catch (error) {
        expect(error).toBeInstanceOf(SpecError);
      }
    }
  });

  test("a network device that is null is one of which nothing is said, as it is to Go", () => {
    const expected = { linux: { netDevices: { eth0: {}, eth1: { name: "a" } }, resources: { rdma: { mlx0: {} } } } };
    expect(
      parseSpec(
        '{"linux": {"netDevices": {"eth0": null, "eth1": {"name": "a"}}, "resources": {"rdma": {"mlx0": null}}}}',
      ),
    ).toEqual(expected);
  });

  test("members that are null are left out, as Go writes them", () => {
    expect(parseSpec('{"hooks": null, "mounts": [{"destination": "/a", "options": null}], "l": [null]}')).toEqual({
      mounts: [{ destination: "/a" }],
      l: [null],
    });
  });

  test("a member called __proto__ is data", () => {
    const value = parseObject('{"__proto__": {"a": 1}, "b": null}', "x");
    expect(Object.keys(value)).toEqual(["__proto__"]);
    expect((value as { a?: number }).a).toBeUndefined();
  });

  test("seccomp arguments beyond 2^53 keep every bit", () => {
    const spec = parseSpec(`{"annotations": {"x": "12345678901234567890 \\" 12345678901234567890"},
      "linux": {"seccomp": {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["a"], "action": "SCMP_ACT_ERRNO",
        "args": [{"index": 0, "value": 18446744073709551614, "valueTwo": 7, "op": "SCMP_CMP_EQ"}]}]}}}`);
    const [arg] = spec.linux?.seccomp?.syscalls?.[0]?.args ?? [];
    expect(arg?.value).toBe(18446744073709551614n);
    expect(arg?.valueTwo).toBe(7);
    expect(spec.annotations?.x).toBe('12345678901234567890 " 12345678901234567890');
  });

  test("they do so under names of another case, and in the text that is kept", () => {
    const spec = parseSpec(`{"Linux": {"Seccomp": {"syscalls": [{"Args": [{"VALUE": 18446744073709551614}]}]}}}`);
    const exact = { Linux: { Seccomp: { syscalls: [{ Args: [{ VALUE: 18446744073709551614n }] }] } } };
    expect(spec).toEqual(exact);
    expect(parseSpec(specText(spec))).toEqual(exact);
    expect(specText(parseSpec('{"hostname": "0", "annotations": {"a": "\\"1"}}'))).toBe(
      '{"hostname":"0","annotations":{"a":"\\"1"}}',
    );
  });

  test("a process file is read the same way", () => {
    writeFileSync(join(dir, "process.json"), '{"cwd": "/", "args": ["a"], "rlimits": null}');
    expect(loadProcess(join(dir, "process.json"))).toEqual({ cwd: "/", args: ["a"] });
  });
});
