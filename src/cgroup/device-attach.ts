/** Loads a device filter and attaches it to a cgroup; see bpf(2). */
import { isErrno, SyscallError } from "../errors.ts";
import { utf8Bytes } from "../sys/call.ts";
import {
  BPF_CGROUP_DEVICE,
  BPF_F_ALLOW_MULTI,
  BPF_PROG_ATTACH,
  BPF_PROG_DETACH,
  BPF_PROG_GET_FD_BY_ID,
  BPF_PROG_LOAD,
  BPF_PROG_QUERY,
  BPF_PROG_TYPE_CGROUP_DEVICE,
  O_RDONLY,
} from "../sys/constants.ts";
import { addressOf } from "../sys/ffi.ts";
import { closeQuiet, open } from "../sys/file.ts";
import { bpf, getrlimit, prlimit } from "../sys/process.ts";
import { INSTRUCTION_BYTES } from "./device-filter.ts";
import { codeOf } from "./write.ts";

const RLIMIT_MEMLOCK = 8;
const UNLIMITED = 2n ** 64n - 1n;
const ATTR_BYTES = 64;
/** A name is required; only helpers under the GPL ask for theirs. */
const LICENSE = "Apache-2.0\0";
/** The kernel allows as many on one cgroup, BPF_CGROUP_MAX_PROGS. */
const MAX_FILTERS = 64;

/** @throws SyscallError when the kernel takes no such program (before 4.15) or we may not load one */
export function attachDeviceFilter(dir: string, filter: Uint8Array): void {
  const program = load(filter, dir);
  try {
    // Programs of the cgroups above stay, and all of them must allow.
    withGroup(dir, (group) => bpf(BPF_PROG_ATTACH, attributes([group, program, BPF_CGROUP_DEVICE, BPF_F_ALLOW_MULTI])));
  } catch (error) {
    throw new SyscallError("cannot limit devices: attach a filter to cgroup", codeOf(error), {
      path: dir,
      fix: "a filter on a cgroup above, attached without BPF_F_ALLOW_MULTI, forbids others below",
    });
  } finally {
    // The attachment keeps the program.
    closeQuiet(program);
  }
}

/** Ids of the device filters that are on a cgroup itself; none when the kernel will not tell. */
export function attachedFilters(dir: string): number[] {
  const { attr, view, address, extra } = attributesWith([0, BPF_CGROUP_DEVICE], 4 * MAX_FILTERS);
  view.setBigUint64(16, BigInt(address), true);
  view.setUint32(24, MAX_FILTERS, true);
  try {
    withGroup(dir, (group) => {
      view.setUint32(0, group, true);
      bpf(BPF_PROG_QUERY, attr);
    });
  } catch (error) {
    if (isErrno(error, "EPERM", "EINVAL")) return [];
    throw error;
  }
  return [...new Uint32Array(extra.buffer, ATTR_BYTES, view.getUint32(24, true))];
}

/** Takes filters off a cgroup. One that is gone is fine. */
export function detachFilters(dir: string, ids: readonly number[]): void {
  if (ids.length === 0) return;
  withGroup(dir, (group) => {
    for (const id of ids) {
      const program = bpf(BPF_PROG_GET_FD_BY_ID, attributes([id]));
      try {
        bpf(BPF_PROG_DETACH, attributes([group, program, BPF_CGROUP_DEVICE, 0]));
      } catch (error) {
        if (!isErrno(error, "ENOENT")) throw error;
      } finally {
        closeQuiet(program);
      }
    }
  });
}

function withGroup(dir: string, use: (group: number) => void): void {
  const group = open(dir, O_RDONLY);
  try {
    use(group);
  } finally {
    closeQuiet(group);
  }
}

/** The beginning of union bpf_attr as 32-bit fields, the rest zero. */
function attributes(fields: readonly number[]): Uint8Array {
  return attributesWith(fields, 0).attr;
}

/** The same with bytes for its pointers to point at, in one piece of memory: what is passed keeps the rest alive. */
function attributesWith(fields: readonly number[], extraBytes: number) {
  const bytes = new Uint8Array(ATTR_BYTES + extraBytes);
  new Uint32Array(bytes.buffer, 0, fields.length).set(fields);
  return {
    attr: bytes.subarray(0, ATTR_BYTES),
    view: new DataView(bytes.buffer),
    extra: bytes.subarray(ATTR_BYTES),
    address: addressOf(bytes) + ATTR_BYTES,
  };
}

function load(instructions: Uint8Array, dir: string): number {
  const fields = [BPF_PROG_TYPE_CGROUP_DEVICE, instructions.length / INSTRUCTION_BYTES];
  const { attr, view, address, extra } = attributesWith(fields, instructions.length + LICENSE.length);
  extra.set(instructions);
  extra.set(utf8Bytes(LICENSE), instructions.length);
  view.setBigUint64(8, BigInt(address), true);
  view.setBigUint64(16, BigInt(address + instructions.length), true);
  try {
    return withMemlock(() => bpf(BPF_PROG_LOAD, attr));
  } catch (error) {
    throw new SyscallError("cannot limit devices: load a filter for cgroup", codeOf(error), {
      path: dir,
      fix: fixFor(error),
    });
  }
}

/** Linux before 5.11 counts programs as locked memory of the user: some containers of root, and its limit is reached. */
function withMemlock(act: () => number): number {
  try {
    return act();
  } catch (error) {
    if (!isErrno(error, "EPERM")) throw error;
    const before = getrlimit(RLIMIT_MEMLOCK);
    try {
      prlimit(0, RLIMIT_MEMLOCK, { soft: UNLIMITED, hard: UNLIMITED });
    } catch {
      // Not allowed to; then the first answer stands.
      throw error;
    }
    try {
      return act();
    } finally {
      // The container inherits limits from us.
      prlimit(0, RLIMIT_MEMLOCK, before);
    }
  }
}

function fixFor(error: unknown): string {
  if (isErrno(error, "EPERM")) {
    return "loading an eBPF program needs CAP_BPF or CAP_SYS_ADMIN outside of any user namespace";
  }
  // The verifier of Linux 5.2 and later walks a million instructions, which is more than the rules of a config come to.
  if (isErrno(error, "E2BIG"))
    return "before Linux 5.2 a filter has 4096 instructions: use fewer device rules, or wider ones";
  return "this kernel lacks CONFIG_CGROUP_BPF";
}
