/**
 * `features`: what this program can do, whatever the host has. From the tables that the rest works with.
 * Rules: OCI features.md, features-linux.md; what engines read of it: rro among the mount options, idmap.
 */
import { MEMORY_FLAGS, MEMORY_MODES } from "../plan/schedule.ts";
import { NATIVE, X32 } from "../seccomp/architectures.ts";
import { FLAG_NAMES } from "../seccomp/compile.ts";
import { CAPABILITIES } from "../spec/capabilities.ts";
import { MOUNT_WORDS } from "../spec/mount-options.ts";
import { NAMESPACE_FLAGS } from "../spec/namespaces.ts";
import { HOOK_STAGES } from "../spec/rules/hooks.ts";
import { ACTIONS, OPERATORS } from "../spec/rules/seccomp.ts";
import { COMMIT, SPEC_VERSION, VERSION } from "./version.ts";

/** What this runtime can do, as `tsrun features` prints it: the object of the spec's features.md. */
export function runtimeFeatures(): Record<string, unknown> {
  const { own, others } = NATIVE[process.arch === "arm64" ? "aarch64" : "x86_64"];
  const abis = own.name === "x86_64" ? [own, ...others, X32] : [own, ...others];
  return {
    ociVersionMin: "1.0.0",
    ociVersionMax: SPEC_VERSION,
    hooks: [...HOOK_STAGES],
    mountOptions: Object.keys(MOUNT_WORDS).sort(),
    linux: {
      namespaces: Object.keys(NAMESPACE_FLAGS).sort(),
      capabilities: [...CAPABILITIES],
      cgroup: { v1: true, v2: true, systemd: true, systemdUser: true, rdma: true },
      seccomp: {
        enabled: true,
        actions: [...ACTIONS],
        operators: [...OPERATORS],
        archs: abis.map(({ profileName }) => profileName),
        knownFlags: [...FLAG_NAMES],
        supportedFlags: [...FLAG_NAMES],
      },
      apparmor: { enabled: true },
      selinux: { enabled: true },
      intelRdt: { enabled: true, schemata: true, monitoring: true },
      memoryPolicy: { modes: Object.keys(MEMORY_MODES), flags: Object.keys(MEMORY_FLAGS) },
      mountExtensions: { idmap: { enabled: true } },
      netDevices: { enabled: true },
    },
    annotations: { "org.tsrun.version": VERSION, "org.tsrun.commit": COMMIT },
    // What changes more than the container itself when somebody else than its owner may set it.
    potentiallyUnsafeConfigAnnotations: ["org.criu.config", "org.systemd.property.", "org.tsrun.", "run.oci."],
  };
}
