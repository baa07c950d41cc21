import { describe, expect, test } from "vitest";
import { REQUEST, RESPONSE, TYPE } from "../../../src/criu/messages.ts";
import { decode, encode, type Shape } from "../../../src/criu/protobuf.ts";

const SHAPE = {
  number: { id: 1, kind: "number" },
  text: { id: 2, kind: "text" },
  flag: { id: 3, kind: "bool" },
  many: { id: 16, kind: "text", repeated: true },
  inner: { id: 4, kind: { number: { id: 1, kind: "number" } } },
} as const satisfies Shape;

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const bytes = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));

describe("criu/protobuf", () => {
  test("numbers, texts and messages are written as the encoding page of protobuf has them", () => {
    expect(hex(encode(SHAPE, { number: 150 }))).toBe("089601");
    expect(hex(encode(SHAPE, { text: "testing" }))).toBe("120774657374696e67");
    expect(hex(encode(SHAPE, { inner: { number: 150 } }))).toBe("2203089601");
    expect(hex(encode(SHAPE, { flag: true, many: ["a", ""] }))).toBe("1801820101618201" + "00");
  });

  test("what is undefined is not written, what is false or 0 is", () => {
    expect(hex(encode(SHAPE, { number: undefined, flag: false }))).toBe("1800");
    expect(hex(encode(SHAPE, { number: 0 }))).toBe("0800");
  });

  test("everything comes back as it was", () => {
    const message = { number: 2 ** 31, text: "naïve", flag: false, many: ["x", "y"], inner: { number: 7 } };
    expect(decode(SHAPE, encode(SHAPE, message))).toEqual(message);
  });

  test("a negative number has 64 bits", () => {
    expect(decode(SHAPE, bytes("08ffffffffffffffffff01"))).toEqual({ number: -1 });
  });

  test("fields that are not known are passed over, of whatever kind", () => {
    const others = `4801${"5103"}${"00".repeat(7)}${"5d"}${"00".repeat(4)}6203616263`;
    expect(decode(SHAPE, bytes(`${others}0805`))).toEqual({ number: 5 });
  });

  test("a message that is cut off is refused", () => {
    for (const cut of ["08", "0896", "1207746573", "5100"]) {
      expect(() => decode(SHAPE, bytes(cut)), cut).toThrow("cut off");
    }
  });

  test("an answer of criu to a restore is understood", () => {
    const answer = encode(RESPONSE, { type: TYPE.RESTORE, success: true, restore: { pid: 4711 } });
    expect(hex(answer)).toBe("0802" + "1001" + "220308e724");
    expect(decode(RESPONSE, answer)).toEqual({ type: 2, success: true, restore: { pid: 4711 } });
  });

  test("no two fields of a message have one number", () => {
    const check = (shape: Shape) => {
      const ids = Object.values(shape).map(({ id }) => id);
      expect(new Set(ids).size).toBe(ids.length);
      for (const { kind } of Object.values(shape)) if (typeof kind === "object") check(kind);
    };
    check(REQUEST);
    check(RESPONSE);
  });
});
