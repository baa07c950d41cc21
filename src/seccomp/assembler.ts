/**
 * Assembles classic BPF for seccomp(2) from its end to its start: every jump goes forward, so whatever an
 * instruction jumps to has been placed when it is written. Sources: linux/filter.h, linux/bpf_common.h,
 * Documentation/userspace-api/seccomp_filter.rst.
 */

/** BPF_CLASS | BPF_SIZE or BPF_OP | BPF_MODE or BPF_SRC. */
const BPF = {
  LD_W_ABS: 0x20,
  JMP_JA: 0x05,
  JMP_JEQ_K: 0x15,
  JMP_JGT_K: 0x25,
  JMP_JGE_K: 0x35,
  ALU_AND_K: 0x54,
  RET_K: 0x06,
} as const;

/** Comparisons of the accumulator with a constant, unsigned. */
export const TEST = { EQ: BPF.JMP_JEQ_K, GT: BPF.JMP_JGT_K, GE: BPF.JMP_JGE_K } as const;

/** linux/bpf_common.h BPF_MAXINSNS: a longer program is refused. */
export const MAX_INSTRUCTIONS = 4096;

/**
 * Where to go on: an instruction that was placed (its distance from the end of the program, >= 0), or a verdict
 * (negative, see `verdict`).
 */
export type Target = number;

/** The target that ends the program with this SECCOMP_RET_* value. */
export function verdict(action: number): Target {
  return -1 - action;
}

/** A conditional jump reaches 255 instructions; two more may come between it and what it jumps to. */
const REACH = 252;

export class Assembler {
  /** struct sock_filter[], filled from its end: `code | jt << 16 | jf << 24` and `k` of each instruction. */
  private words = new Uint32Array(1024);
  private count = 0;
  /** The nearest copy of each return instruction. */
  private readonly returns = new Map<Target, number>();

  /** Loads the 32-bit word at `offset` of struct seccomp_data, then goes on at `next`. */
  load(offset: number, next: Target): Target {
    return this.straight(BPF.LD_W_ABS, offset, next);
  }

  /** Clears the bits of the accumulator that are not in `mask`, then goes on at `next`. */
  and(mask: number, next: Target): Target {
    return this.straight(BPF.ALU_AND_K, mask, next);
  }

  /** Compares the accumulator with `value`. */
  test(test: number, value: number, yes: Target, no: Target): Target {
    if (yes === no) return yes;
    const jumpYes = this.near(yes);
    const jumpNo = this.near(no);
    const here = this.count;
    return this.place(test | ((here - jumpYes - 1) << 16) | ((here - jumpNo - 1) << 24), value);
  }

  /** The program that starts at `start`, as struct sock_filter[] in little-endian order. */
  finish(start: Target): Uint8Array {
    const at = this.near(start);
    if (at !== this.count - 1) this.jump(at);
    return new Uint8Array(this.words.buffer, 4 * (this.words.length - 2 * this.count));
  }

  /** An instruction that cannot jump: what follows it must be what was placed last. */
  private straight(code: number, operand: number, next: Target): Target {
    const at = this.near(next);
    if (at !== this.count - 1) this.jump(at);
    return this.place(code, operand);
  }

  /** A place within reach of a conditional jump from which the program goes on at `target`. */
  private near(target: Target): number {
    if (target >= 0) return this.count - target <= REACH ? target : this.jump(target);
    const known = this.returns.get(target);
    if (known !== undefined && this.count - known <= REACH) return known;
    const at = this.place(BPF.RET_K, -1 - target);
    this.returns.set(target, at);
    return at;
  }

  private jump(target: number): number {
    return this.place(BPF.JMP_JA, this.count - target - 1);
  }

  private place(head: number, operand: number): number {
    if (2 * this.count === this.words.length) this.grow();
    const at = this.words.length - 2 * this.count - 2;
    this.words[at] = head;
    this.words[at + 1] = operand;
    return this.count++;
  }

  /** The kernel will not take a longer program, but its length is worth knowing. */
  private grow(): void {
    const words = new Uint32Array(2 * this.words.length);
    words.set(this.words, this.words.length);
    this.words = words;
  }
}
