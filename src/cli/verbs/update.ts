import { type LinuxResources, readResources, updateContainer } from "../../index.ts";
import { defineVerb, type Flag, type Values } from "../flags.ts";
import { UsageError } from "../parse.ts";
import { integerOf, literalOf, naturalOf, sizeOf } from "../sizes.ts";

const FLAGS = [
  {
    name: "resources",
    short: "r",
    kind: "string",
    argument: "file",
    help: "linux.resources as JSON in a file, or - for standard input; no other flag beside it",
  },
  { name: "blkio-weight", kind: "string", argument: "n", help: "share of the block devices, 10 to 1000" },
  { name: "cpu-period", kind: "string", argument: "us", help: "period of the CPU quota, in microseconds" },
  { name: "cpu-quota", kind: "string", argument: "us", help: "CPU time in each period; -1 for no limit" },
  { name: "cpu-burst", kind: "string", argument: "us", help: "unused CPU time that may be kept for later" },
  { name: "cpu-rt-period", kind: "string", argument: "us", help: "period of the realtime limit (cgroup v1)" },
  { name: "cpu-rt-runtime", kind: "string", argument: "us", help: "realtime CPU time in each period (cgroup v1)" },
  { name: "cpu-share", kind: "string", argument: "n", help: "CPU shares beside other containers; 1024 is usual" },
  { name: "cpu-idle", kind: "string", argument: "0|1", help: "1: runs only when nothing else wants to" },
  { name: "cpuset-cpus", kind: "string", argument: "list", help: "CPUs that may be used, as 0-2,4" },
  { name: "cpuset-mems", kind: "string", argument: "list", help: "memory nodes that may be used" },
  { name: "memory", kind: "string", argument: "bytes", help: "memory limit, as 512m; -1 for none" },
  { name: "memory-reservation", kind: "string", argument: "bytes", help: "memory that is left to it under pressure" },
  { name: "memory-swap", kind: "string", argument: "bytes", help: "limit of memory and swap together; -1 for none" },
  {
    name: "kernel-memory",
    kind: "string",
    argument: "bytes",
    help: "has no effect: kernels have no such limit any more",
  },
  { name: "kernel-memory-tcp", kind: "string", argument: "bytes", help: "has no effect, as --kernel-memory" },
  { name: "pids-limit", kind: "string", argument: "n", help: "how many processes there may be; -1 for no limit" },
  {
    name: "l3-cache-schema",
    kind: "string",
    argument: "schema",
    help: "share of the L3 cache, as L3:0=ff;1=f (resctrl)",
  },
  {
    name: "mem-bw-schema",
    kind: "string",
    argument: "schema",
    help: "share of the memory bandwidth, as MB:0=50;1=70 (resctrl)",
  },
] as const satisfies readonly Flag[];

export const update = defineVerb({
  name: "update",
  summary: "change the limits of a container that runs",
  usage: "<container-id>",
  flags: FLAGS,
  min: 1,
  max: 1,
  notes: `Only what is named is changed, and device rules never. Sizes take k, m, g, t, p.`,
  run({ values, args, globals }) {
    const { "l3-cache-schema": cache, "mem-bw-schema": bandwidth, ...limits } = values;
    updateContainer(globals.root, args[0] as string, resourcesOf(limits) ?? {}, {
      ...(cache && { l3CacheSchema: cache }),
      ...(bandwidth && { memBwSchema: bandwidth }),
    });
    return 0;
  },
});

function resourcesOf(
  values: Omit<Values<typeof FLAGS>, "l3-cache-schema" | "mem-bw-schema">,
): LinuxResources | undefined {
  const { resources, ...others } = values;
  if (resources !== undefined && resources !== "") {
    const [other] = Object.keys(others);
    if (other !== undefined) throw new UsageError(`--resources and --${other} exclude each other`);
    return readResources(resources);
  }
  const size = (name: keyof typeof others) => withValue(others[name], (text) => sizeOf(name, text));
  const integer = (name: keyof typeof others) => withValue(others[name], (text) => integerOf(name, text));
  const natural = (name: keyof typeof others) => withValue(others[name], (text) => naturalOf(name, text));
  // Numbers to runc itself, where the others are texts: in more spellings, and never empty.
  const literal = (name: "pids-limit" | "blkio-weight") => {
    const given = others[name];
    return given === undefined ? undefined : literalOf(name, given);
  };
  const text = (name: keyof typeof others) => withValue(others[name], (word) => word);
  return compact({
    memory: compact({
      limit: size("memory"),
      reservation: size("memory-reservation"),
      swap: size("memory-swap"),
      kernel: size("kernel-memory"),
      kernelTCP: size("kernel-memory-tcp"),
    }),
    cpu: compact({
      shares: natural("cpu-share"),
      quota: integer("cpu-quota"),
      period: natural("cpu-period"),
      burst: natural("cpu-burst"),
      realtimeRuntime: integer("cpu-rt-runtime"),
      realtimePeriod: natural("cpu-rt-period"),
      idle: integer("cpu-idle"),
      cpus: text("cpuset-cpus"),
      mems: text("cpuset-mems"),
    }),
    pids: compact({ limit: literal("pids-limit") }),
    blockIO: compact({ weight: literal("blkio-weight") }),
  }) as LinuxResources | undefined;
}

function withValue<T>(text: string | undefined, convert: (text: string) => T): T | undefined {
  return text === undefined || text === "" ? undefined : convert(text);
}

/** Without the members that are not there; undefined when none is left. */
function compact<T extends object>(value: T): T | undefined {
  const entries = Object.entries(value).filter(([, member]) => member !== undefined);
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as T);
}
