/**
 * Device rules as an eBPF program of type BPF_PROG_TYPE_CGROUP_DEVICE, which is how cgroup v2 limits devices.
 * Rules: kernel bpf/standardization/instruction-set.rst, linux/bpf.h (bpf_cgroup_dev_ctx). Touches no file.
 *
 * The program searches the tables of device-tables.ts by halves: type, major, minor. The kernel's verifier walks each
 * path of a program, and gives up after a million steps; of a tree it walks each instruction once. What is asked for
 * (read, write, mknod) is allowed when all of it is. runc's program lets `rw` pass when an earlier rule allows it and a
 * later one denies `w` only; this one does not.
 */
import { base64Bytes } from "../sys/call.ts";
import { ACCESS_ALL, type DeviceRule } from "./device-rules.ts";
import { type DeviceTable, deviceTables, type Range, type Verdict } from "./device-tables.ts";

/** Size of an instruction: opcode, registers, 16-bit offset, 32-bit constant. */
export const INSTRUCTION_BYTES = 8;

// Opcodes: class | operation | source.
const LOAD_WORD = 0x61; // LDX | MEM | W
const MOVE = 0xb4; // ALU | MOV | K
const MOVE_REGISTER = 0xbc; // ALU | MOV | X
const AND = 0x54; // ALU | AND | K
const SHIFT_RIGHT = 0x74; // ALU | RSH | K
const JUMP = 0x05; // JMP | JA
const JUMP_IF_AT_LEAST = 0x35; // JMP | JGE | K, unsigned
const JUMP_IF_NOT_EQUAL = 0x55; // JMP | JNE | K
const JUMP_IF_ANY_BIT = 0x45; // JMP | JSET | K
const EXIT = 0x95;

// Registers.
const RESULT = 0;
const CONTEXT = 1;
const TYPE = 2;
const ACCESS = 3;
const NUMBER = { major: 4, minor: 5 } as const;

/** BPF_DEVCG_DEV_* */
const DEVICE_TYPE = { b: 1, c: 2 } as const;

type Instruction = readonly [opcode: number, target: number, source: number, offset: number, constant: number];

/** What deviceFilter gives for the default rules, which most containers have. */
export function defaultDeviceFilter(): Uint8Array {
  return base64Bytes(DEFAULT_FILTER);
}

const DEFAULT_FILTER =
  "YRIAAAAAAAC8IwAAAAAAAHQDAAAQAAAAVAIAAP//AAC0AAAAAAAAAFUCPgACAAAAYRQEAAAAAABhFQgAAAAAADUEKgAGAAAANQQYAAIA" +
  "AAA1BAMAAQAAAEUDAQAGAAAAtAAAAAEAAACVAAAAAAAAADUFBgAFAAAAVQUCAAMAAAC0AAAAAQAAAJUAAAAAAAAARQMBAAYAAAC0AAAA" +
  "AQAAAJUAAAAAAAAANQUGAAcAAAA1BQIABgAAALQAAAABAAAAlQAAAAAAAABFAwEABgAAALQAAAABAAAAlQAAAAAAAAA1BQIACgAAALQA" +
  "AAABAAAAlQAAAAAAAABFAwEABgAAALQAAAABAAAAlQAAAAAAAAA1BAMABQAAAEUDAQAGAAAAtAAAAAEAAACVAAAAAAAAADUFBgACAAAA" +
  "NQUCAAEAAAC0AAAAAQAAAJUAAAAAAAAARQMBAAYAAAC0AAAAAQAAAJUAAAAAAAAANQUCAAMAAAC0AAAAAQAAAJUAAAAAAAAARQMBAAYA" +
  "AAC0AAAAAQAAAJUAAAAAAAAANQQKAAsAAAA1BAMACgAAAEUDAQAGAAAAtAAAAAEAAACVAAAAAAAAAFUFAgDIAAAAtAAAAAEAAACVAAAA" +
  "AAAAAEUDAQAGAAAAtAAAAAEAAACVAAAAAAAAAFUEAgCIAAAAtAAAAAEAAACVAAAAAAAAAEUDAQAGAAAAtAAAAAEAAACVAAAAAAAAAFUC" +
  "BQABAAAAYRQEAAAAAABhFQgAAAAAAEUDAQAGAAAAtAAAAAEAAACVAAAAAAAAAJUAAAAAAAAA";

/** The program, ready for BPF_PROG_LOAD. Exits with 1 to allow and 0 to deny. */
export function deviceFilter(rules: readonly DeviceRule[]): Uint8Array {
  const program = new Program();
  program.add(
    // access_type holds the type of the device in its lower half and the access in its upper half.
    [LOAD_WORD, TYPE, CONTEXT, 0, 0],
    [MOVE_REGISTER, ACCESS, TYPE, 0, 0],
    [SHIFT_RIGHT, ACCESS, 0, 0, 16],
    [AND, TYPE, 0, 0, 0xffff],
    [MOVE, RESULT, 0, 0, 0],
  );
  for (const type of ["c", "b"] as const) {
    const otherwise = program.jump(JUMP_IF_NOT_EQUAL, TYPE, DEVICE_TYPE[type]);
    askTables(program, deviceTables(rules, type));
    program.land(otherwise);
  }
  program.exit();
  return program.encode();
}

function askTables(program: Program, tables: readonly DeviceTable[]): void {
  tables.forEach(({ first, ranges }, i) => {
    const next: Place | undefined = i === tables.length - 1 ? undefined : { jumps: [] };
    // Loaded for each table: what the paths to here have compared says no more of them, and the verifier walks on but once.
    program.add([LOAD_WORD, NUMBER.major, CONTEXT, 4, 0], [LOAD_WORD, NUMBER.minor, CONTEXT, 8, 0]);
    search(program, NUMBER[first], ranges, (group) =>
      search(program, NUMBER[first === "major" ? "minor" : "major"], group, (verdict) =>
        answer(program, verdict, next),
      ),
    );
    if (next !== undefined) program.land(next);
  });
}

/** Goes on with what the range of a register's number has. */
function search<T>(program: Program, register: number, ranges: readonly Range<T>[], goOn: (what: T) => void): void {
  const [below, middle, above] = ranges;
  if (below === undefined) return;
  if (middle === undefined) {
    goOn(below.what);
  } else if (ranges.length === 3 && above?.from === middle.from + 1 && above.what === below.what) {
    const otherwise = program.jump(JUMP_IF_NOT_EQUAL, register, middle.from);
    goOn(middle.what);
    program.land(otherwise);
    goOn(below.what);
  } else {
    const half = ranges.length >> 1;
    const upper = program.jump(JUMP_IF_AT_LEAST, register, (ranges[half] as Range<T>).from);
    search(program, register, ranges.slice(0, half), goOn);
    program.land(upper);
    search(program, register, ranges.slice(half), goOn);
  }
}

/** What a verdict leaves open of the access is asked of the next table. */
function answer(program: Program, { decided, allowed }: Verdict, next: Place | undefined): void {
  const [denied, open] = [decided & ~allowed, ACCESS_ALL & ~decided];
  if (denied !== ACCESS_ALL) {
    const deny = denied === 0 ? undefined : program.jump(JUMP_IF_ANY_BIT, ACCESS, denied);
    if (open !== 0 && next !== undefined) {
      program.add([AND, ACCESS, 0, 0, open]);
      program.jump(JUMP_IF_NOT_EQUAL, ACCESS, 0, next);
    }
    program.add([MOVE, RESULT, 0, 0, 1]);
    if (deny !== undefined) program.land(deny);
  }
  program.exit();
}

/** An instruction that is still to come, and the jumps to it. */
interface Place {
  jumps: number[];
}

/** A jump is written when its place has come, or a JUMP on the way to it. A quarter less than 16 bits with a sign reach. */
const REACH = 24_000;

class Program {
  readonly #instructions: Instruction[] = [];
  readonly #ahead = new Set<Place>();

  add(...instructions: readonly Instruction[]): void {
    this.#instructions.push(...instructions);
  }

  jump(opcode: number, register: number, constant: number, to: Place = { jumps: [] }): Place {
    to.jumps.push(this.#instructions.length);
    this.#ahead.add(to);
    this.add([opcode, register, 0, 0, constant]);
    return to;
  }

  /** The place is here. */
  land(place: Place): void {
    for (const at of place.jumps) {
      const [opcode, target, source, , constant] = this.#instructions[at] as Instruction;
      this.#instructions[at] = [opcode, target, source, this.#instructions.length - at - 1, constant];
    }
    this.#ahead.delete(place);
  }

  /** No path goes on behind this: here jumps whose place is far are taken further. */
  exit(): void {
    this.add([EXIT, 0, 0, 0, 0]);
    for (const place of [...this.#ahead]) {
      if (this.#instructions.length - (place.jumps[0] as number) < REACH) continue;
      this.land(place);
      place.jumps = [];
      this.jump(JUMP, 0, 0, place);
    }
  }

  encode(): Uint8Array {
    const bytes = new Uint8Array(this.#instructions.length * INSTRUCTION_BYTES);
    const view = new DataView(bytes.buffer);
    this.#instructions.forEach(([opcode, target, source, offset, constant], i) => {
      const at = i * INSTRUCTION_BYTES;
      view.setUint8(at, opcode);
      view.setUint8(at + 1, target | (source << 4));
      view.setInt16(at + 2, offset, true);
      view.setInt32(at + 4, constant, true);
    });
    return bytes;
  }
}
