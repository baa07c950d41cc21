/** A small interpreter of eBPF for programs on device access: 64-bit registers that hold unsigned 32-bit values. */

/** What the kernel hands to such a program, struct bpf_cgroup_dev_ctx. */
export interface DeviceAccess {
  type: "b" | "c";
  access: number;
  major: number;
  minor: number;
}

const TYPES = { b: 1, c: 2 };

/** @throws Error for whatever the kernel's verifier would refuse as well: unknown opcodes, jumps back or outside */
export function runDeviceProgram(program: Uint8Array, request: DeviceAccess): number {
  return traceDeviceProgram(program, request).result;
}

/** The same, and how many instructions that took. */
export function traceDeviceProgram(program: Uint8Array, request: DeviceAccess): { result: number; steps: number } {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const context = [((request.access << 16) | TYPES[request.type]) >>> 0, request.major, request.minor];
  const registers: (number | undefined)[] = [undefined, 0];
  const read = (register: number): number => {
    const value = registers[register];
    if (value === undefined) throw new Error(`r${register} is read before it is set`);
    return value;
  };
  for (let at = 0, steps = 1; ; at++, steps++) {
    if ((at + 1) * 8 > program.length) throw new Error("runs out of the program");
    const opcode = view.getUint8(at * 8);
    const target = view.getUint8(at * 8 + 1) & 15;
    const source = view.getUint8(at * 8 + 1) >> 4;
    const offset = view.getInt16(at * 8 + 2, true);
    const constant = view.getInt32(at * 8 + 4, true);
    if (offset < 0) throw new Error("jumps back");
    switch (opcode) {
      case 0x61:
        if (source !== 1 || offset % 4 !== 0) throw new Error("reads elsewhere");
        registers[target] = context[offset / 4];
        break;
      case 0xb4:
        registers[target] = constant >>> 0;
        break;
      case 0xbc:
        registers[target] = read(source);
        break;
      case 0x54:
        registers[target] = (read(target) & constant) >>> 0;
        break;
      case 0x74:
        registers[target] = read(target) >>> constant;
        break;
      case 0x05:
        at += offset;
        break;
      case 0x55:
        // 64 bits, the constant with its sign.
        if (read(target) !== constant) at += offset;
        break;
      case 0x35:
        // Without a sign; a constant that has one is a large number.
        if (BigInt(read(target)) >= BigInt.asUintN(64, BigInt(constant))) at += offset;
        break;
      case 0x45:
        if ((read(target) & constant) !== 0) at += offset;
        break;
      case 0x95:
        return { result: read(0), steps };
      default:
        throw new Error(`opcode 0x${opcode.toString(16)}`);
    }
  }
}

/**
 * What the kernel asks of a program beside its steps: jumps forward and inside, an instruction for each path to go on
 * with, and none that no path reaches (check_cfg).
 *
 * @throws Error that says which instruction is wrong
 */
export function checkDeviceProgram(program: Uint8Array): void {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const count = program.length / 8;
  const isReached = new Set([0]);
  for (let at = 0; at < count; at++) {
    if (!isReached.has(at)) throw new Error(`${at}: nothing leads here`);
    const opcode = view.getUint8(at * 8);
    const offset = view.getInt16(at * 8 + 2, true);
    const isJump = (opcode & 7) === 5 && opcode !== 0x95;
    if (isJump && offset < 0) throw new Error(`${at}: jumps back`);
    for (const next of [
      ...(opcode === 0x95 || opcode === 0x05 ? [] : [at + 1]),
      ...(isJump ? [at + 1 + offset] : []),
    ]) {
      if (next >= count) throw new Error(`${at}: goes on at ${next} of ${count}`);
      isReached.add(next);
    }
  }
}
