/** Runs and prints classic BPF of seccomp filters, so that a test can ask a program for its verdicts. */

/** What the kernel hands to a filter: struct seccomp_data. */
export interface SeccompData {
  nr: number;
  /** AUDIT_ARCH_*. */
  arch: number;
  args?: readonly bigint[];
}

interface Instruction {
  code: number;
  jt: number;
  jf: number;
  k: number;
}

export function parseProgram(program: Uint8Array): Instruction[] {
  const view = new DataView(program.buffer, program.byteOffset, program.byteLength);
  const instructions: Instruction[] = [];
  for (let at = 0; at < program.length; at += 8) {
    instructions.push({
      code: view.getUint16(at, true),
      jt: view.getUint8(at + 2),
      jf: view.getUint8(at + 3),
      k: view.getUint32(at + 4, true),
    });
  }
  return instructions;
}

/** The verdict of a program and how many instructions it took. Throws where the kernel would refuse the program. */
export function runFilter(program: readonly Instruction[], data: SeccompData): { verdict: number; steps: number } {
  const words = [data.nr >>> 0, data.arch >>> 0, 0, 0];
  for (let i = 0; i < 6; i++) {
    const arg = data.args?.[i] ?? 0n;
    words.push(Number(arg & 0xffffffffn), Number(arg >> 32n));
  }
  let a = 0;
  for (let pc = 0, steps = 1; ; pc++, steps++) {
    const at = program[pc];
    if (at === undefined) throw new Error(`instruction ${pc} is outside of the program`);
    const { code, jt, jf, k } = at;
    switch (code) {
      case 0x20:
        if (k % 4 !== 0 || k >= 64) throw new Error(`load of offset ${k}`);
        a = words[k / 4] as number;
        break;
      case 0x54:
        a = (a & k) >>> 0;
        break;
      case 0x05:
        pc += k;
        break;
      case 0x15:
        pc += a === k ? jt : jf;
        break;
      case 0x25:
        pc += a > k ? jt : jf;
        break;
      case 0x35:
        pc += a >= k ? jt : jf;
        break;
      case 0x45:
        pc += (a & k) !== 0 ? jt : jf;
        break;
      case 0x06:
        return { verdict: k, steps };
      default:
        throw new Error(`instruction ${pc} has code 0x${code.toString(16)}`);
    }
  }
}

/** The checks of the kernel before it takes a filter (bpf_check_classic, seccomp_check_filter). */
export function checkProgram(program: readonly Instruction[]): void {
  if (program.length === 0 || program.length > 4096) throw new Error(`${program.length} instructions`);
  program.forEach(({ code, jt, jf, k }, at) => {
    if (![0x20, 0x54, 0x05, 0x15, 0x25, 0x35, 0x45, 0x06].includes(code)) throw new Error(`${at}: code ${code}`);
    if (code === 0x20 && (k % 4 !== 0 || k >= 64)) throw new Error(`${at}: load of offset ${k}`);
    const furthest = code === 0x05 ? k : (code & 7) === 5 ? Math.max(jt, jf) : 0;
    if (at + furthest + 1 >= program.length && code !== 0x06) throw new Error(`${at}: goes past the end`);
  });
  if (program[program.length - 1]?.code !== 0x06) throw new Error("the last instruction is no return");
}

/** One line an instruction, for a test that failed. */
export function disassemble(program: Uint8Array): string {
  const names: Record<number, string> = { 21: "jeq", 37: "jgt", 53: "jge", 69: "jset" };
  return parseProgram(program)
    .map(({ code, jt, jf, k }, at) => {
      const hex = `0x${k.toString(16)}`;
      if (code === 0x20) return `${at}: ld [${k}]`;
      if (code === 0x54) return `${at}: and ${hex}`;
      if (code === 0x05) return `${at}: ja ${at + 1 + k}`;
      if (code === 0x06) return `${at}: ret ${hex}`;
      return `${at}: ${names[code] ?? code} ${hex} ? ${at + 1 + jt} : ${at + 1 + jf}`;
    })
    .join("\n");
}
