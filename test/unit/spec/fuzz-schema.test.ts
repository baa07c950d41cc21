/**
 * Configs by the thousand, from the OCI schemas, all the way to the bytes that the init reads: whatever is in them, the
 * only error is one for a reader, and it comes soon. TSRUN_FUZZ_ROUNDS and TSRUN_FUZZ_SEED ask for more, or for others.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { deviceFilter } from "../../../src/cgroup/device-filter.ts";
import { deviceRules } from "../../../src/cgroup/device-rules.ts";
import { cgroupPath } from "../../../src/cgroup/path.ts";
import { resourceWrites } from "../../../src/cgroup/resources.ts";
import { deviceWrites } from "../../../src/cgroup/v1/devices.ts";
import { describeError, humanError } from "../../../src/cli/report.ts";
import { SpecError } from "../../../src/errors.ts";
import { encodePlan } from "../../../src/init/encode.ts";
import { describePlan } from "../../../src/plan/describe.ts";
import { planContainer } from "../../../src/plan/order.ts";
import { OPS, type Plan } from "../../../src/plan/step.ts";
import { compileSeccomp } from "../../../src/seccomp/compile.ts";
import type { ContainerSpec } from "../../../src/spec/container.ts";
import { defaultSpec } from "../../../src/spec/defaults.ts";
import { parseSpec } from "../../../src/spec/load.ts";
import { resolve } from "../../../src/spec/resolve.ts";
import type { Spec } from "../../../src/spec/types.ts";
import { inspect } from "../../../src/spec/validate.ts";
import { anyConfig } from "../../helpers/any-config.ts";
import { configPaths, validatorOf } from "../../helpers/oci-schema.ts";
import { PARAMETERS } from "../plan/helpers.ts";
import { HOST } from "./helpers.ts";

const ROUNDS = Number(process.env.TSRUN_FUZZ_ROUNDS ?? 300);
const SEED = Number(process.env.TSRUN_FUZZ_SEED ?? Date.now());
const options = { numRuns: ROUNDS, seed: SEED };
const SLOW_MS = 2000;
const TIMEOUT_MS = 60_000 + ROUNDS * 50;

/** Everything that is decided about a config before anything is done. @throws SpecError */
function decide(spec: Spec): void {
  const container = resolve(spec, { id: "x", bundle: "/b" }, HOST);
  const { linux } = container.spec;
  cgroupPath(linux?.cgroupsPath, "x");
  const rules = deviceRules(linux?.resources?.devices, linux?.devices);
  deviceFilter(rules);
  for (const { file, value } of deviceWrites(rules)) expectWords(file, value);
  for (const version of [1, 2] as const) {
    for (const { writes } of resourceWrites(linux?.resources ?? {}, version)) {
      for (const { file, value } of writes) {
        expect(file).not.toMatch(/\/|^\.\.?$/);
        expectWords(file, value);
      }
    }
  }
  expectWhole(planContainer(container, { ...PARAMETERS, seccomp: seccompOf(container) }));
}

function seccompOf({ spec }: ContainerSpec): ReturnType<typeof compileSeccomp> | undefined {
  return spec.linux?.seccomp && compileSeccomp(spec.linux.seccomp, "x86_64");
}

/** What is written to a file is text without NUL, and no value of JavaScript's. */
function expectWords(...texts: string[]): void {
  for (const text of texts) expect(text).not.toMatch(/\0|undefined|NaN|\[object/);
}

/** Arguments are of the kinds that native/decode.c expects, and no text ends before its end. */
function expectWhole(plan: Plan): void {
  for (const { op, args, about } of plan.steps) {
    const kinds = [...OPS[op]];
    const isRight = args.map((arg, i) => {
      if (kinds[i] === "n") return Number.isSafeInteger(arg);
      if (kinds[i] === "u") return typeof arg === "bigint" || (Number.isInteger(arg) && Number(arg) >= 0);
      if (kinds[i] === "s") return isText(arg);
      if (kinds[i] === "l") return Array.isArray(arg) && arg.every(isText);
      return arg instanceof Uint8Array;
    });
    expect({ op, about, args, isRight }).toEqual({ op, about, args, isRight: kinds.map(() => true) });
  }
  encodePlan(plan);
  for (const line of describePlan(plan)) expectLines(line);
}

function isText(value: unknown): boolean {
  return typeof value === "string" && !value.includes("\0");
}

function expectLines(text: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]|undefined|\[object/);
}

/** Takes away what the problems name, and more of it at each try; what was base's comes back when it must be there. */
function mended(spec: Spec, { problems }: SpecError, tries: number): Spec {
  const value = structuredClone(spec) as unknown as Record<string, unknown>;
  for (const { path } of problems) {
    const keys = path.split(/\.|\[(?=\d)|\](?:\.|$)/).filter((key) => key !== "");
    remove(value, keys.slice(0, Math.max(keys.length - Math.floor(tries / 2), 1)));
  }
  return { ...defaultSpec(), ...value } as Spec;
}

function remove(value: Record<string, unknown>, keys: readonly string[]): void {
  let node = value;
  for (const key of keys.slice(0, -1)) {
    if (typeof node[key] !== "object" || node[key] === null) break;
    node = node[key] as Record<string, unknown>;
  }
  const last = keys.at(-1) ?? "";
  if (Array.isArray(node)) node.splice(Number(last), 1);
  else delete node[last];
}

function expectForReader(error: unknown): asserts error is SpecError {
  expect(error).toBeInstanceOf(SpecError);
  const text = humanError(describeError(error, { verb: "run", subject: "x" }));
  expectLines(text);
  expect(text).not.toContain("internal error");
  expect(text.length).toBeLessThan(100_000);
}

describe("any config", () => {
  test(
    `of the schema's shape is a plan, or problems for a reader (seed ${SEED})`,
    () => {
      let plans = 0;
      fc.assert(
        fc.property(anyConfig(defaultSpec()), (value) => {
          const began = performance.now();
          // As it comes from a file.
          const text = JSON.stringify(value) ?? "null";
          let spec: Spec | undefined;
          for (let tries = 0; tries < 10; tries++) {
            try {
              spec ??= parseSpec(text);
              decide(spec);
              plans++;
              break;
            } catch (error) {
              expectForReader(error);
              if (spec === undefined) break;
              spec = mended(spec, error, tries);
            }
          }
          expect(performance.now() - began).toBeLessThan(SLOW_MS);
        }),
        options,
      );
      // A fuzzer whose every config is refused at the door tries nothing.
      expect(plans).toBeGreaterThan(ROUNDS / 3);
    },
    TIMEOUT_MS,
  );

  test(
    `that is any bytes is read, or refused (seed ${SEED})`,
    () => {
      const whole = JSON.stringify(defaultSpec());
      const damaged = fc
        .array(fc.tuple(fc.nat(whole.length), fc.oneof(fc.string({ maxLength: 3 }), fc.constant(""))))
        .map((edits) => {
          let text = whole;
          for (const [at, by] of edits) text = text.slice(0, at) + by + text.slice(at + 1);
          return text;
        });
      const bytes = fc.uint8Array({ maxLength: 300 }).map((data) => Buffer.from(data).toString("utf8"));
      fc.assert(
        fc.property(fc.oneof(damaged, bytes, fc.string({ unit: "binary" })), (text) => {
          try {
            decide(parseSpec(text));
          } catch (error) {
            expectForReader(error);
          }
        }),
        options,
      );
    },
    TIMEOUT_MS,
  );

  test("with a value of another type than the schema's, in any field, is a problem of that field", () => {
    const isValid = validatorOf("config-schema.json");
    const missed: string[] = [];
    let refused = 0;
    // The command line is that of Windows.
    for (const path of configPaths().filter((name) => name !== "process.commandLine")) {
      for (const value of [true, 5, "x", [], {}]) {
        const config = JSON.parse(JSON.stringify(at(path.split(/(?=\[)|\./), value)));
        isValid(config);
        const pointer = path.replaceAll("[]", "/0").replaceAll(".", "/").replaceAll("*", "x");
        if (!isValid.errors?.some(({ instancePath, keyword }) => instancePath === `/${pointer}` && keyword === "type"))
          continue;
        refused++;
        const ours = path.replaceAll("[]", "[0]").replaceAll("*", "x");
        if (!inspect(config).problems.some((problem) => problem.path === ours))
          missed.push(`${path}: ${JSON.stringify(value)}`);
      }
    }
    expect(refused).toBeGreaterThan(800);
    expect(missed).toEqual([]);
  });
});

/** A value at a path such as "mounts", "[]", "options". */
function at(keys: readonly string[], value: unknown): unknown {
  const [key, ...rest] = keys;
  if (key === undefined) return value;
  return key === "[]" ? [at(rest, value)] : { [key === "*" ? "x" : key]: at(rest, value) };
}
