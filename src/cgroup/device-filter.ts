/**
 * Device rules as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, which is how cgroup v2 limits devices.
 * Rules: kernel bpf/standardization/instruction-set.rst, linux/bpf.h (bpf_cgroup_dev_ctx). Touches no file.
 *
 * The program goes through the rules from the last to the first. What is asked for (read, write, mknod) may be
 * granted by several rules; a rule that denies any of what is still open denies all. runc's program lets `rw` pass
 * when an earlier rule allows it and a later one denies `w` only; this one does not.
 */
import { base64Bytes } from "../sys/call.ts";
import { ACCESS_ALL, type DeviceRule } from "./device-rules.ts";

/** Size of an instruction: opcode, registers, 16-bit offset, 32-bit constant. */
export const INSTRUCTION_BYTES = 8;

// Opcodes: class | operation | source.
const LOAD_WORD = 0x61; // LDX | MEM | W
const MOVE = 0xb4; // ALU | MOV | K
const MOVE_REGISTER = 0xbc; // ALU | MOV | X
const AND = 0x54; // ALU | AND | K
const SHIFT_RIGHT = 0x74; // ALU | RSH | K
const JUMP = 0x05; // JMP | JA
const JUMP_IF_NOT_EQUAL = 0x55; // JMP | JNE | K
const JUMP_IF_ANY_BIT = 0x45; // JMP | JSET | K
const EXIT = 0x95;

// Registers.
const RESULT = 0;
const CONTEXT = 1;
const TYPE = 2;
const ACCESS = 3;
const MAJOR = 4;
const MINOR = 5;

/** BPF_DEVCG_DEV_* */
const DEVICE_TYPE = { b: 1, c: 2 } as const;

type Instruction = readonly [opcode: number, target: number, source: number, offset: number, constant: number];

/** What deviceFilter gives for the default rules, which most containers have. */
export function defaultDeviceFilter(): Uint8Array {
  return base64Bytes(DEFAULT_FILTER);
}

const DEFAULT_FILTER =
  "YRIAAAAAAAC8IwAAAAAAAHQDAAAQAAAAVAIAAP//AABhFAQAAAAAAGEVCAAAAAAAVQIEAAIAAABVBAMACgAAAFUFAgDIAAAAtAAA" +
  "AAEAAACVAAAAAAAAAFUCBAACAAAAVQQDAAUAAABVBQIAAgAAALQAAAABAAAAlQAAAAAAAABVAgMAAgAAAFUEAgCIAAAAtAAAAAEA" +
  "AACVAAAAAAAAAFUCBAACAAAAVQQDAAEAAABVBQIACQAAALQAAAABAAAAlQAAAAAAAABVAgQAAgAAAFUEAwABAAAAVQUCAAUAAAC0" +
  "AAAAAQAAAJUAAAAAAAAAVQIEAAIAAABVBAMABQAAAFUFAgAAAAAAtAAAAAEAAACVAAAAAAAAAFUCBAACAAAAVQQDAAEAAABVBQIA" +
  "BwAAALQAAAABAAAAlQAAAAAAAABVAgQAAgAAAFUEAwABAAAAVQUCAAgAAAC0AAAAAQAAAJUAAAAAAAAAVQIEAAIAAABVBAMAAQAA" +
  "AFUFAgADAAAAtAAAAAEAAACVAAAAAAAAAFUCBAABAAAAVAMAAAYAAABVAwIAAAAAALQAAAABAAAAlQAAAAAAAABVAgQAAgAAAFQD" +
  "AAAGAAAAVQMCAAAAAAC0AAAAAQAAAJUAAAAAAAAAtAAAAAAAAACVAAAAAAAAAA==";

/** The program, ready for BPF_PROG_LOAD. Exits with 1 to allow and 0 to deny. */
export function deviceFilter(rules: readonly DeviceRule[]): Uint8Array {
  const program: Instruction[] = [
    // access_type holds the type of the device in its lower half and the access in its upper half.
    [LOAD_WORD, TYPE, CONTEXT, 0, 0],
    [MOVE_REGISTER, ACCESS, TYPE, 0, 0],
    [SHIFT_RIGHT, ACCESS, 0, 0, 16],
    [AND, TYPE, 0, 0, 0xffff],
    [LOAD_WORD, MAJOR, CONTEXT, 4, 0],
    [LOAD_WORD, MINOR, CONTEXT, 8, 0],
  ];
  const settled = new Set<string>();
  for (const rule of rules.toReversed()) {
    // Nothing before a rule for every device of a type is ever asked.
    if (settled.has(rule.type)) continue;
    if (rule.major === -1 && rule.minor === -1 && rule.access === ACCESS_ALL) settled.add(rule.type);
    if (rule.access === 0 || !isPossible(rule.major) || !isPossible(rule.minor)) continue;
    appendRule(program, rule);
  }
  program.push([MOVE, RESULT, 0, 0, 0], [EXIT, 0, 0, 0, 0]);
  return encode(program);
}

function appendRule(program: Instruction[], { allow, type, major, minor, access }: DeviceRule): void {
  const answer: Instruction[] = [];
  if (access !== ACCESS_ALL) {
    if (allow) {
      // What this rule grants need not be granted again.
      answer.push([AND, ACCESS, 0, 0, ACCESS_ALL & ~access], [JUMP_IF_NOT_EQUAL, ACCESS, 0, 2, 0]);
    } else {
      answer.push([JUMP_IF_ANY_BIT, ACCESS, 0, 1, access], [JUMP, 0, 0, 2, 0]);
    }
  }
  answer.push([MOVE, RESULT, 0, 0, allow ? 1 : 0], [EXIT, 0, 0, 0, 0]);
  const tests: [register: number, constant: number][] = [[TYPE, DEVICE_TYPE[type]]];
  if (major !== -1) tests.push([MAJOR, major]);
  if (minor !== -1) tests.push([MINOR, minor]);
  tests.forEach(([register, constant], i) => {
    const toNextRule = tests.length - 1 - i + answer.length;
    program.push([JUMP_IF_NOT_EQUAL, register, 0, toNextRule, constant]);
  });
  program.push(...answer);
}

/** The kernel has 12 bits for a major and 20 for a minor number. Larger ones would be compared with their sign. */
function isPossible(number: number): boolean {
  return number < 2 ** 31;
}

function encode(program: readonly Instruction[]): Uint8Array {
  const bytes = new Uint8Array(program.length * INSTRUCTION_BYTES);
  const view = new DataView(bytes.buffer);
  program.forEach(([opcode, target, source, offset, constant], i) => {
    const at = i * INSTRUCTION_BYTES;
    view.setUint8(at, opcode);
    view.setUint8(at + 1, target | (source << 4));
    view.setInt16(at + 2, offset, true);
    view.setInt32(at + 4, constant, true);
  });
  return bytes;
}
