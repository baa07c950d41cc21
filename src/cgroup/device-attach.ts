/** Loads a device filter and attaches it to a cgroup; see bpf(2). */
import { closeSync, openSync } from "node:fs";
import { isErrno, SyscallError } from "../errors.ts";
import {
  BPF_CGROUP_DEVICE,
  BPF_F_ALLOW_MULTI,
  BPF_PROG_ATTACH,
  BPF_PROG_LOAD,
  BPF_PROG_TYPE_CGROUP_DEVICE,
} from "../sys/constants.ts";
import { addressOf } from "../sys/ffi.ts";
import { bpf } from "../sys/process.ts";
import { INSTRUCTION_BYTES } from "./device-filter.ts";
import { codeOf } from "./write.ts";

const ATTR_BYTES = 64;

/** @throws SyscallError when the kernel takes no such program (before 4.15) or we may not load one */
export function attachDeviceFilter(dir: string, filter: Uint8Array): void {
  const program = load(filter, dir);
  try {
    const group = openSync(dir, "r");
    try {
      const attr = new DataView(new ArrayBuffer(ATTR_BYTES));
      attr.setUint32(0, group, true);
      attr.setUint32(4, program, true);
      attr.setUint32(8, BPF_CGROUP_DEVICE, true);
      // Programs of the cgroups above and of others on this one stay, and all of them must allow.
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
