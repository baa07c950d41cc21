/** The smaller fields of linux. Rules: OCI config-linux.md; runc validator.go, intelrdt.go. */
import { type ObjectShape, S } from "../structure.ts";
import { isNumberList, joinPath, quote } from "../text.ts";
import type { LinuxIntelRdt, LinuxMemoryPolicy, LinuxNetDevice } from "../types.ts";
import type { RuleContext } from "./context.ts";
import { DEVICES } from "./devices.ts";
import { ID_MAPPINGS } from "./mappings.ts";
import { NAMESPACES, TIME_OFFSETS } from "./namespaces.ts";
import { isInterfaceName, RESOURCES } from "./resources.ts";
import { SECCOMP } from "./seccomp.ts";
import { SYSCTL } from "./sysctl.ts";

export const INTEL_RDT: ObjectShape = {
  members: {
    __proto__: null as never,
    closID: S.text,
    schemata: { list: S.text },
    l3CacheSchema: S.text,
    memBwSchema: S.text,
    enableMonitoring: S.boolean,
  },
};

export const LINUX: ObjectShape = {
  members: {
    __proto__: null as never,
    uidMappings: ID_MAPPINGS,
    gidMappings: ID_MAPPINGS,
    sysctl: SYSCTL,
    resources: RESOURCES,
    cgroupsPath: S.path,
    namespaces: NAMESPACES,
    devices: DEVICES,
    netDevices: { map: { members: { __proto__: null as never, name: S.text } } },
    seccomp: SECCOMP,
    rootfsPropagation: {
      words: ["private", "shared", "slave", "unbindable", "rprivate", "rshared", "rslave", "runbindable", ""],
    },
    maskedPaths: { list: S.path },
    readonlyPaths: { list: S.path },
    mountLabel: S.text,
    intelRdt: INTEL_RDT,
    memoryPolicy: {
      members: {
        __proto__: null as never,
        mode: {
          words: [
            "MPOL_DEFAULT",
            "MPOL_BIND",
            "MPOL_INTERLEAVE",
            "MPOL_WEIGHTED_INTERLEAVE",
            "MPOL_PREFERRED",
            "MPOL_PREFERRED_MANY",
            "MPOL_LOCAL",
          ],
        },
        nodes: S.text,
        flags: { list: { words: ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"] } },
      },
    },
    personality: {
      members: { __proto__: null as never, domain: { words: ["LINUX", "LINUX32"] }, flags: { list: S.text } },
    },
    timeOffsets: TIME_OFFSETS,
  },
};

export function checkLinux(context: RuleContext): void {
  const linux = context.spec.linux;
  if (linux === undefined) return;
  checkPaths(context, linux.maskedPaths, "linux.maskedPaths");
  checkPaths(context, linux.readonlyPaths, "linux.readonlyPaths");
  if ((linux.rootfsPropagation ?? "") !== "" && !context.has("mount")) {
    context.report("linux.rootfsPropagation", 'needs a mount namespace: add {"type": "mount"} to linux.namespaces');
  }
  if (linux.netDevices !== undefined) checkNetDevices(context, linux.netDevices);
  if (linux.intelRdt !== undefined) checkIntelRdt(context, linux.intelRdt, "linux.intelRdt");
  if (linux.memoryPolicy !== undefined) checkMemoryPolicy(context, linux.memoryPolicy);
  if ((linux.personality?.flags?.length ?? 0) > 0) {
    context.warn("linux.personality.flags", "are not known to any runtime, and left out");
  }
}

function checkPaths(context: RuleContext, paths: readonly string[] | undefined, path: string): void {
  if (paths === undefined || paths.length === 0) return;
  if (!context.has("mount")) {
    context.report(path, 'needs a mount namespace: add {"type": "mount"} to linux.namespaces');
  }
  paths.forEach((entry, i) => {
    if (!entry.startsWith("/")) context.report(`${path}[${i}]`, `must be absolute, not ${quote(entry)}`);
  });
}

/** An alternative name may be longer than a name (ALTIFNAMSIZ of the kernel). */
const ALTNAME_MAX = 127;

function checkNetDevices(context: RuleContext, devices: Record<string, LinuxNetDevice>): void {
  const names = Object.entries(devices);
  if (names.length === 0) return;
  if (!context.has("network")) {
    context.report("linux.netDevices", 'needs a network namespace: add {"type": "network"} to linux.namespaces');
  }
  for (const [name, device] of names) {
    const path = joinPath("linux.netDevices", name);
    if (!isInterfaceName(name, ALTNAME_MAX)) context.report(path, `${quote(name)} is no name of a network interface`);
    const renamed = device.name ?? "";
    // The kernel puts a number in the place of %d, and refuses any other %.
    if (renamed !== "" && (!isInterfaceName(renamed) || renamed.replace("%d", "").includes("%"))) {
      context.report(`${path}.name`, `${quote(renamed)} is no name of a network interface`);
    }
  }
}

/** Rules: OCI config-linux.md "IntelRdt"; closID "/" is what everything is in that is in no other class. */
export function checkIntelRdt({ report }: RuleContext, rdt: LinuxIntelRdt, path: string): void {
  const closID = rdt.closID ?? "";
  if (closID === "." || closID === ".." || (closID.includes("/") && closID !== "/")) {
    report(`${path}.closID`, `${quote(closID)} is no name of a directory`);
  }
  if (rdt.memBwSchema !== undefined && rdt.memBwSchema !== "" && !/^MB:[^\n]*$/.test(rdt.memBwSchema)) {
    report(`${path}.memBwSchema`, `must be one line that begins with "MB:", not ${quote(rdt.memBwSchema)}`);
  }
  rdt.schemata?.forEach((line, i) => {
    if (line.includes("\n")) report(`${path}.schemata[${i}]`, "must be one line");
  });
}

/** Rules: set_mempolicy(2); the nodes of a mode that takes none must be empty, and the other way round. */
function checkMemoryPolicy({ report }: RuleContext, policy: LinuxMemoryPolicy): void {
  const { mode, nodes = "", flags = [] } = policy;
  if (mode === undefined) {
    if (Object.keys(policy).length > 0) report("linux.memoryPolicy.mode", "is missing");
    return;
  }
  if (!isNumberList(nodes)) {
    report("linux.memoryPolicy.nodes", `${quote(nodes)} is no list of nodes: "0-3,7" would be one`);
  }
  const takesNodes = mode !== "MPOL_DEFAULT" && mode !== "MPOL_LOCAL";
  if (!takesNodes && nodes !== "") report("linux.memoryPolicy.nodes", `must be empty with ${mode}`);
  if (takesNodes && nodes === "" && mode !== "MPOL_PREFERRED")
    report("linux.memoryPolicy.nodes", `are needed for ${mode}`);
  if (flags.includes("MPOL_F_RELATIVE_NODES") && flags.includes("MPOL_F_STATIC_NODES")) {
    report("linux.memoryPolicy.flags", "MPOL_F_RELATIVE_NODES and MPOL_F_STATIC_NODES exclude each other");
  }
}
