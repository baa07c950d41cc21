import { describe, expect, test } from "vitest";
import { Assembler, type Target, TEST, verdict } from "../../../src/seccomp/assembler.ts";
import { checkProgram, disassemble, parseProgram, runFilter } from "../../helpers/bpf.ts";

const run = (program: Uint8Array, nr: number) => runFilter(parseProgram(program), { nr, arch: 0 }).verdict;

describe("seccomp/assembler", () => {
  test("a program is placed from its end", () => {
    const asm = new Assembler();
    const program = asm.finish(asm.load(0, asm.test(TEST.EQ, 7, verdict(0x7fff0000), verdict(0))));
    expect(disassemble(program)).toBe("0: ld [0]\n1: jeq 0x7 ? 3 : 2\n2: ret 0x0\n3: ret 0x7fff0000");
    checkProgram(parseProgram(program));
  });

  test("instructions are struct sock_filter, little-endian", () => {
    const asm = new Assembler();
    const program = asm.finish(asm.load(4, asm.test(TEST.GE, 0xc000003e, verdict(1), verdict(2))));
    expect(Buffer.from(program).toString("hex", 0, 16)).toBe("20000000040000003500" + "0100" + "3e0000c0");
  });

  test("a verdict is returned once as long as it is in reach", () => {
    const asm = new Assembler();
    let next: Target = verdict(0);
    for (let i = 0; i < 100; i++) next = asm.test(TEST.EQ, i, verdict(1), next);
    expect(disassemble(asm.finish(asm.load(0, next))).match(/ret/g)).toHaveLength(2);
  });

  test("jumps reach over any distance", () => {
    const asm = new Assembler();
    let next: Target = verdict(0);
    for (let i = 1000; i > 0; i--) next = asm.test(TEST.EQ, i, verdict(0x7fff0000 + (i % 3)), next);
    const first = next;
    for (let i = 3000; i > 2000; i--) next = asm.test(TEST.EQ, i, first, next);
    const program = asm.finish(asm.load(0, next));
    checkProgram(parseProgram(program));
    for (const nr of [1, 2, 500, 999, 1000]) expect(run(program, nr)).toBe(0x7fff0000 + (nr % 3));
    for (const nr of [0, 1001, 2001, 2500, 3000]) expect(run(program, nr)).toBe(0);
  });

  test("a test whose both ways are one is no instruction", () => {
    const asm = new Assembler();
    expect(asm.test(TEST.EQ, 1, verdict(5), verdict(5))).toBe(verdict(5));
    expect(disassemble(asm.finish(verdict(5)))).toBe("0: ret 0x5");
  });

  test("a load goes on at its target even when something else was placed after it", () => {
    const asm = new Assembler();
    const target = asm.test(TEST.EQ, 1, verdict(1), verdict(2));
    asm.test(TEST.EQ, 9, verdict(3), verdict(4));
    const program = asm.finish(asm.load(0, target));
    checkProgram(parseProgram(program));
    expect([run(program, 1), run(program, 9)]).toEqual([1, 2]);
  });

  test("a program that is too long still has a length", () => {
    const asm = new Assembler();
    let next: Target = verdict(0);
    for (let i = 0; i < 9000; i++) next = asm.test(TEST.EQ, i, verdict(1), next);
    expect(asm.finish(next).length / 8).toBeGreaterThan(9000);
  });
});
