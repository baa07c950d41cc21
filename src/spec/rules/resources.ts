/** linux.resources and linux.cgroupsPath. Rules: OCI config-linux.md "Control groups"; kernel cgroup-v1/, cgroup-v2.rst. */
import { int64Text } from "../numbers.ts";
import { type ListShape, type ObjectShape, S } from "../structure.ts";
import { joinPath, quote } from "../text.ts";
import type {
  LinuxBlockIO,
  LinuxCPU,
  LinuxDeviceCgroup,
  LinuxHugepageLimit,
  LinuxMemory,
  LinuxResources,
} from "../types.ts";
import type { RuleContext } from "./context.ts";

/** The v1 controller compares each rule that it is given with all that it has. */
const MAX_DEVICE_RULES = 4096;

const THROTTLE: ListShape = {
  list: {
    members: { __proto__: null as never, major: S.int64, minor: S.int64, rate: S.uint64 },
    required: ["major", "minor", "rate"],
  },
};

export const RESOURCES: ObjectShape = {
  members: {
    __proto__: null as never,
    unified: { map: S.argument },
    devices: {
      max: MAX_DEVICE_RULES,
      list: {
        members: {
          __proto__: null as never,
          allow: S.boolean,
          type: { words: ["a", "c", "b", "u", ""] },
          major: S.int64,
          minor: S.int64,
          access: S.text,
        },
        required: ["allow"],
      },
    },
    // The schema asks for pids.limit; engines send an empty object for "no limit asked".
    pids: { members: { __proto__: null as never, limit: S.int64 } },
    memory: {
      members: {
        __proto__: null as never,
        limit: S.int64,
        reservation: S.int64,
        swap: S.int64,
        kernel: S.int64,
        kernelTCP: S.int64,
        swappiness: S.uint64,
        disableOOMKiller: S.boolean,
        useHierarchy: S.boolean,
        checkBeforeUpdate: S.boolean,
      },
    },
    cpu: {
      members: {
        __proto__: null as never,
        shares: S.uint64,
        quota: S.int64,
        burst: S.uint64,
        period: S.uint64,
        realtimeRuntime: S.int64,
        realtimePeriod: S.uint64,
        cpus: S.text,
        mems: S.text,
        idle: S.int64,
      },
    },
    blockIO: {
      members: {
        __proto__: null as never,
        weight: S.uint16,
        leafWeight: S.uint16,
        weightDevice: {
          list: {
            members: {
              __proto__: null as never,
              major: S.int64,
              minor: S.int64,
              weight: S.uint16,
              leafWeight: S.uint16,
            },
            required: ["major", "minor"],
          },
        },
        throttleReadBpsDevice: THROTTLE,
        throttleWriteBpsDevice: THROTTLE,
        throttleReadIOPSDevice: THROTTLE,
        throttleWriteIOPSDevice: THROTTLE,
      },
    },
    hugepageLimits: {
      list: {
        members: { __proto__: null as never, pageSize: S.text, limit: S.uint64 },
        required: ["pageSize", "limit"],
      },
    },
    network: {
      members: {
        __proto__: null as never,
        classID: S.uint32,
        priorities: {
          list: {
            members: { __proto__: null as never, name: S.text, priority: S.uint32 },
            required: ["name", "priority"],
          },
        },
      },
    },
    rdma: { map: { members: { __proto__: null as never, hcaHandles: S.uint32, hcaObjects: S.uint32 } } },
  },
};

export function checkResources(context: RuleContext): void {
  const { cgroupsPath, resources } = context.spec.linux ?? {};
  if (cgroupsPath !== undefined) checkCgroupsPath(context, cgroupsPath);
  if (resources === undefined) return;
  checkLimits(context, resources, "linux.resources");
  const { limit = 0, swap = 0 } = resources.memory ?? {};
  if (swap > 0 && limit === 0) {
    context.report("linux.resources.memory.swap", "is memory and swap together, and needs a limit of memory beside it");
  }
}

/** The rules for resources wherever they stand; those for `update` may leave out what is already set. */
export function checkLimits(context: RuleContext, resources: LinuxResources, path: string): void {
  const { report } = context;
  if (resources.memory !== undefined) checkMemory(context, resources.memory, `${path}.memory`);
  if (resources.cpu !== undefined) checkCpu(context, resources.cpu, `${path}.cpu`);
  resources.devices?.forEach((rule, i) => {
    checkDeviceRule(context, rule, `${path}.devices[${i}]`);
  });
  const pids = resources.pids?.limit ?? 0;
  if (pids < -1) report(`${path}.pids.limit`, `${pids} is out of range: -1 is "no limit"`);
  if (resources.blockIO !== undefined) checkBlockIO(context, resources.blockIO, `${path}.blockIO`);
  if (resources.hugepageLimits !== undefined)
    checkHugepages(context, resources.hugepageLimits, `${path}.hugepageLimits`);
  resources.network?.priorities?.forEach(({ name }, i) => {
    if (name === undefined || isInterfaceName(name)) return;
    report(`${path}.network.priorities[${i}].name`, `${quote(name)} is no name of a network interface`);
  });
  for (const [file, value] of Object.entries(resources.unified ?? {})) {
    const at = joinPath(`${path}.unified`, file);
    if (!/^[A-Za-z0-9_]+\.[A-Za-z0-9_.-]+$/.test(file)) {
      report(at, `${quote(file)} is no name of a cgroup file: "memory.high" would be one`);
    } else if (value === "") report(at, "is empty");
  }
}

/** What a network interface may be called (dev_valid_name() of the kernel). */
export function isInterfaceName(name: string, longest = 15): boolean {
  return name !== "." && name !== ".." && name.length <= longest && /^[^/:\s]+$/.test(name);
}

function checkCgroupsPath({ report }: RuleContext, path: string): void {
  if (path.includes("..") && path.split("/").includes(".."))
    report("linux.cgroupsPath", `${quote(path)} contains ".."`);
  // A newline would forge a line of /proc/PID/cgroup.
  if (path.includes("\n")) report("linux.cgroupsPath", `${quote(path)} contains a newline`);
}

function checkMemory({ report }: RuleContext, memory: LinuxMemory, path: string): void {
  for (const field of ["limit", "reservation", "swap", "kernel", "kernelTCP"] as const) {
    const value = memory[field] ?? 0;
    if (value < -1) report(`${path}.${field}`, `${int64Text(value)} is out of range: -1 is "no limit"`);
  }
  const { limit = 0, swap = 0, swappiness = 0 } = memory;
  if (swap > 0 && limit === -1)
    report(`${path}.swap`, "cannot be limited while memory has no limit: they count together");
  if (swap > 0 && limit > swap) {
    report(`${path}.swap`, `${swap} is less than the limit of memory, ${limit}: it counts memory and swap together`);
  }
  // Engines write -1 for "as it is", and it arrives as 2^64-1.
  if (swappiness > 100 && swappiness < 2 ** 63) report(`${path}.swappiness`, `${swappiness} is out of range, 0 to 100`);
}

function checkCpu({ report }: RuleContext, cpu: LinuxCPU, path: string): void {
  for (const field of ["cpus", "mems"] as const) {
    const list = cpu[field] ?? "";
    // "0-3,7", and the kernel's "0-31:2/8".
    if (list !== "" && !/^[\d,\s:/-]*$/.test(list))
      report(`${path}.${field}`, `${quote(list)} is no list: "0-3,7" would be one`);
  }
  for (const field of ["quota", "realtimeRuntime"] as const) {
    const value = cpu[field] ?? 0;
    if (value < -1) report(`${path}.${field}`, `${int64Text(value)} is out of range: -1 is "no limit"`);
  }
  if (cpu.idle !== undefined && cpu.idle !== 0 && cpu.idle !== 1)
    report(`${path}.idle`, `must be 0 or 1, not ${cpu.idle}`);
}

function checkDeviceRule({ report, warn }: RuleContext, rule: LinuxDeviceCgroup, path: string): void {
  const access = rule.access ?? "";
  // "rwm" is nearly every rule, and a regular expression is dear at a cold start.
  if (access !== "rwm" && !/^[rwm]*$/.test(access)) {
    const message = `${quote(access)} has letters other than r (read), w (write) and m (mknod)`;
    // runc leaves the others out, and tools write them.
    if (/[rwm]/.test(access)) warn(`${path}.access`, `${message}; they are left out`);
    else report(`${path}.access`, message);
  }
  for (const field of ["major", "minor"] as const) {
    const number = rule[field] ?? 0;
    if (number < -1 || number > 0xffff_ffff) report(`${path}.${field}`, `${number} is out of range: -1 is "all"`);
  }
}

function checkBlockIO({ report }: RuleContext, blockIO: LinuxBlockIO, path: string): void {
  const check = (weight: number | undefined, at: string) => {
    // 0 is "not set", as engines send it.
    if (weight === undefined || weight === 0 || (weight >= 10 && weight <= 1000)) return;
    report(at, `${weight} is out of range, 10 to 1000`);
  };
  check(blockIO.weight, `${path}.weight`);
  check(blockIO.leafWeight, `${path}.leafWeight`);
  for (const field of [
    "weightDevice",
    "throttleReadBpsDevice",
    "throttleWriteBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteIOPSDevice",
  ] as const) {
    blockIO[field]?.forEach((device, i) => {
      const at = `${path}.${field}[${i}]`;
      for (const number of ["major", "minor"] as const) {
        if ((device[number] ?? 0) < 0) report(`${at}.${number}`, `${device[number]} is out of range`);
      }
      if ("weight" in device) check(device.weight, `${at}.weight`);
      if ("leafWeight" in device) check(device.leafWeight, `${at}.leafWeight`);
    });
  }
}

function checkHugepages({ report }: RuleContext, limits: readonly LinuxHugepageLimit[], path: string): void {
  const seen = new Set<string>();
  limits.forEach(({ pageSize }, i) => {
    if (pageSize === undefined) return;
    if (!/^[1-9][0-9]*[KMG]B$/.test(pageSize)) {
      report(`${path}[${i}].pageSize`, `${quote(pageSize)} is no page size: "64KB", "2MB", "1GB" would be`);
    } else if (seen.has(pageSize)) report(`${path}[${i}].pageSize`, `${quote(pageSize)} is there twice`);
    seen.add(pageSize);
  });
}
