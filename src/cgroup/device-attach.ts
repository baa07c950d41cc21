/** Loads a device filter and attaches it to a cgroup; see bpf(2). */
import { closeSync, openSync } from "node:fs";
import { isErrno, SyscallError } from "../errors.ts";
import { addressOf } from "../sys/ffi.ts";
import { bpf } from "../sys/libc.ts";
import { deviceFilter, INSTRUCTION_BYTES } from "./device-filter.ts";
import type { DeviceRule } from "./device-rules.ts";
import { codeOf } from "./write.ts";

const BPF_PROG_LOAD = 5;
const BPF_PROG_ATTACH = 8;
const BPF_PROG_TYPE_CGROUP_DEVICE = 15;
const BPF_CGROUP_DEVICE = 6;
/** Programs of the cgroups above and of others on this one stay, and all of them must allow. */
const BPF_F_ALLOW_MULTI = 2;
const ATTR_BYTES = 64;

/** @throws SyscallError when the kernel takes no such program (before 4.15) or we may not load one */
export function attachDeviceFilter(dir: string, rules: readonly DeviceRule[]): void {
  const program = load(deviceFilter(rules), dir);
  try {
    const group = openSync(dir, "r");
    try {
      const attr = new DataView(new ArrayBuffer(ATTR_BYTES));
      attr.setUint32(0, group, true);
      attr.setUint32(4, program, true);
      attr.setUint32(8, BPF_CGROUP_DEVICE, true);
      attr.setUint32(12, BPF_F_ALLOW_MULTI, true);
      bpf(BPF_PROG_ATTACH, new Uint8Array(attr.buffer));
    } finally {
      closeSync(group);
    }
  } catch (error) {
    throw new SyscallError("cannot limit devices: attach a filter to cgroup", codeOf(error), {
      path: dir,
      fix: "a filter on a cgroup above, attached without BPF_F_ALLOW_MULTI, forbids others below",
      cause: error,
    });
  } finally {
    // The attachment keeps the program.
    closeSync(program);
  }
}

function load(instructions: Uint8Array, dir: string): number {
  const license = new TextEncoder().encode("Apache-2.0\0");
  const attr = new DataView(new ArrayBuffer(ATTR_BYTES));
  attr.setUint32(0, BPF_PROG_TYPE_CGROUP_DEVICE, true);
  attr.setUint32(4, instructions.length / INSTRUCTION_BYTES, true);
  attr.setBigUint64(8, BigInt(addressOf(instructions)), true);
  attr.setBigUint64(16, BigInt(addressOf(license)), true);
  try {
    return bpf(BPF_PROG_LOAD, new Uint8Array(attr.buffer));
  } catch (error) {
    const fix = isErrno(error, "EPERM")
      ? "loading an eBPF program needs CAP_BPF or CAP_SYS_ADMIN outside of any user namespace"
      : "this kernel lacks CONFIG_CGROUP_BPF";
    throw new SyscallError("cannot limit devices: load a filter for cgroup", codeOf(error), {
      path: dir,
      fix,
      cause: error,
    });
  }
}
