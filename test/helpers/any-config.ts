/**
 * Configs for fuzzing, made from the OCI schemas: mostly what the schema allows, here and there something else, and
 * texts that mean something to a runtime more often than chance would have it.
 */
import fc from "fast-check";
import { locate, type Schema, schemaOf } from "./oci-schema.ts";

const TOP = "config-schema.json";
const OTHER_PLATFORMS = ["solaris", "windows", "vm", "zos", "freebsd"];

/** What no field of a config should have, and many will be given. */
export const oddValue: fc.Arbitrary<unknown> = fc.oneof(
  fc.constantFrom<unknown>(
    ...[null, true, false, 0, -1, 1.5, -0, 2 ** 31, 2 ** 53, 2 ** 64, 1e300, 5e-324, "", "x", "/", "..", "/..", "a\0b"],
    ...["\u001b[2J", "x".repeat(5000), "\ud800", "é", "-1", "NaN", "__proto__", "constructor", "toString", "valueOf"],
    ...[[], [null], [""], ["x"], {}, { a: 1 }, [[]], [{}], JSON.parse('{"__proto__":1}'), { length: 3 }],
  ),
  fc.jsonValue({ maxDepth: 3 }),
);

/** Words that rules of the runtime look for. */
const telling = fc.constantFrom(
  ...["/", "/proc", "/proc/self/fd/7", "/sys", "/dev", "/dev/pts", "/tmp", "/a/b", "a", "../x", "/a/../b", "//x//"],
  ...["bind", "rbind", "ro", "rw", "nosuid", "mode=755", "size=64k", "rprivate", "remount", "tmpcopyup", "idmap"],
  ...["tmpfs", "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "none", "overlay"],
  ...["mount", "pid", "user", "network", "uts", "ipc", "cgroup", "time", "CAP_KILL", "CAP_SYS_ADMIN", "RLIMIT_NOFILE"],
  ...["A=b", "PATH=/bin", "HOME=/", "sh", "/bin/sh", "net.ipv4.ip_forward", "kernel.shm_rmid_forced", "2MB", "0-3"],
  ...["read", "clone", "personality", "socket", "memory.high", "max", "1", "8:0 wbps=1", "rwm", "1.0.2", "eth0", "lo"],
);

/** A config of which any part may be anything; half of them have the sections that a container needs. */
export function anyConfig(base: object): fc.Arbitrary<unknown> {
  const parts = arbitraryOf(schemaOf(TOP), TOP, 0);
  return fc.tuple(parts, fc.boolean()).map(([value, isWhole]) => {
    if (!isWhole || typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return merge(base, value as Record<string, unknown>, 2);
  });
}

function merge(base: object, over: Record<string, unknown>, depth: number): unknown {
  const merged: Record<string, unknown> = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    const isMember = isObject(below) && isObject(value) && depth > 0;
    Object.defineProperty(merged, key, {
      value: isMember ? merge(below, value, depth - 1) : value,
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return merged;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function arbitraryOf(reference: Schema, from: string, depth: number): fc.Arbitrary<unknown> {
  const { schema, file } = locate(reference, from);
  const choices = (schema.anyOf ?? schema.oneOf ?? schema.allOf) as Schema[] | undefined;
  const right = choices
    ? fc.oneof(...choices.map((choice) => arbitraryOf(choice, file, depth)))
    : rightOf(schema, file, depth);
  return fc.oneof({ weight: 60, arbitrary: right }, { weight: 1, arbitrary: oddValue });
}

function rightOf(schema: Schema, file: string, depth: number): fc.Arbitrary<unknown> {
  if (Array.isArray(schema.enum)) return fc.constantFrom<unknown>(...schema.enum);
  switch (schema.type) {
    case "boolean":
      return fc.boolean();
    case "integer":
    case "number":
      return anyNumber(schema);
    case "array":
      return fc.array(arbitraryOf((schema.items ?? {}) as Schema, file, depth + 1), { maxLength: 4 });
    case "object":
      return anyObject(schema, file, depth);
    case "string":
      return anyText(schema);
    default:
      return telling;
  }
}

function anyNumber({ minimum = 0, maximum = 2 ** 32 }: Schema): fc.Arbitrary<number> {
  const [min, max] = [Number(minimum), Number(maximum)];
  const edges = [min, max, min - 1, max + 1, 0, 1, -1, 1000].filter((value) => value >= min && value <= max);
  return fc.oneof(fc.constantFrom(...edges, min), fc.nat({ max: 5000 }));
}

function anyText({ pattern }: Schema): fc.Arbitrary<string> {
  const some = fc.oneof({ weight: 5, arbitrary: telling }, { weight: 1, arbitrary: fc.string({ maxLength: 12 }) });
  if (typeof pattern !== "string") return some;
  return fc.oneof({ weight: 5, arbitrary: fc.stringMatching(new RegExp(pattern)) }, { weight: 1, arbitrary: some });
}

function anyObject(schema: Schema, file: string, depth: number): fc.Arbitrary<unknown> {
  const members: Record<string, fc.Arbitrary<unknown>> = {};
  for (const [name, member] of Object.entries((schema.properties ?? {}) as Record<string, Schema>)) {
    if (depth === 0 && OTHER_PLATFORMS.includes(name)) continue;
    members[name] = arbitraryOf(member, file, depth + 1);
  }
  if (Object.keys(members).length > 0) {
    const required = ((schema.required ?? []) as string[]).filter((name) => name in members);
    return fc.record(members, { requiredKeys: required });
  }
  const patterns = Object.values((schema.patternProperties ?? {}) as Record<string, Schema>);
  const other =
    patterns[0] ?? (isObject(schema.additionalProperties) ? schema.additionalProperties : { type: "string" });
  return fc.dictionary(telling, arbitraryOf(other as Schema, file, depth + 1), { maxKeys: 4 });
}
