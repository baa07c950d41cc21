/**
 * `linux.resources.memory` as writes to cgroup v2 files. Touches no file.
 * Rules: OCI config-linux.md "Memory"; kernel cgroup-v2.rst "Memory Interface Files". As in runc, 0 is "not set".
 */
import { SpecError } from "../../errors.ts";
import type { LinuxMemory } from "../../spec/types.ts";
import { type CgroupWrite, decimal } from "../write.ts";

/** @throws SpecError when `swap` is smaller than `limit` or comes without one */
export function memoryWrites(memory: LinuxMemory): CgroupWrite[] {
  const writes: CgroupWrite[] = [];
  const { limit = 0, reservation = 0 } = memory;
  const swap = swapOnly(memory);
  if (swap !== undefined) {
    const write: CgroupWrite = { file: "memory.swap.max", value: bytes(swap) };
    // A kernel without swap has nothing to lift or to forbid.
    if (swap <= 0) write.optional = true;
    writes.push(write);
  }
  if (limit !== 0) writes.push({ file: "memory.max", value: bytes(limit) });
  if (reservation !== 0) writes.push({ file: "memory.low", value: bytes(reservation) });
  return writes;
}

/** OCI writes "no limit" as -1; the kernel writes it as "max". */
function bytes(limit: number): string {
  return limit === -1 ? "max" : decimal(limit);
}

/**
 * Swap alone, in bytes; -1 for no limit, undefined for "not set".
 *
 * @see OCI config-linux.md "Memory"; kernel cgroup-v2.rst, memory.swap.max
 */
function swapOnly({ limit = 0, swap = 0 }: LinuxMemory): number | undefined {
  // As on v1, where memory without a limit makes memory+swap so.
  if (swap === 0) return limit === -1 ? -1 : undefined;
  if (swap === -1) return -1;
  if (limit <= 0) throw swapError("needs linux.resources.memory.limit beside it on cgroup v2");
  if (swap < limit) throw swapError("counts memory and swap together and cannot be smaller than the memory limit");
  // OCI counts memory and swap together, as cgroup v1 did; cgroup v2 counts swap alone.
  return swap - limit;
}

function swapError(message: string): SpecError {
  return new SpecError([{ path: "linux.resources.memory.swap", message }]);
}
