import { describe, expect, test } from "vitest";
import {
  decodeMessage,
  encodeMessage,
  METHOD_CALL,
  type Message,
  messageLength,
  SIGNAL,
  typeEnd,
} from "../../../../src/cgroup/systemd/message.ts";

const hello: Message = {
  type: METHOD_CALL,
  serial: 1,
  path: "/a",
  member: "Hi",
  signature: "s",
  body: ["x"],
};

describe("messages of D-Bus", () => {
  test("a call has the bytes that the specification gives it", () => {
    const text = (s: string) => [...new TextEncoder().encode(s), 0];
    expect([...encodeMessage(hello)]).toEqual([
      ...[0x6c, 1, 0, 1, /* body */ 6, 0, 0, 0, /* serial */ 1, 0, 0, 0, /* fields */ 39, 0, 0, 0],
      ...[1, 1, ...text("o"), 2, 0, 0, 0, ...text("/a"), 0, 0, 0, 0, 0],
      ...[3, 1, ...text("s"), 2, 0, 0, 0, ...text("Hi"), 0, 0, 0, 0, 0],
      ...[8, 1, ...text("g"), 1, ...text("s")],
      // Up to a multiple of 8.
      0,
      ...[1, 0, 0, 0, ...text("x")],
    ]);
  });

  test("what was written is read back, of every type", () => {
    const body = [
      7,
      true,
      -5,
      65535,
      -70000,
      4294967295,
      -5n,
      0xffff_ffff_ffff_ffffn,
      0.5,
      "häß",
      "/o",
      "a{sv}",
      { signature: "(ub)", value: [9, false] },
      new Uint8Array([1, 2, 3]),
      [
        ["Delegate", { signature: "b", value: true }],
        ["PIDs", { signature: "au", value: [1, 2] }],
      ],
      [],
      [["k", 3n]],
    ];
    const message: Message = {
      type: SIGNAL,
      serial: 300,
      interface: "a.b",
      errorName: "a.b.C",
      replySerial: 12,
      destination: "d.e",
      signature: "ybnqiuxtdsogvaya(sv)ata{st}",
      body,
    };
    const bytes = encodeMessage(message);
    expect(messageLength(bytes)).toBe(bytes.length);
    expect(decodeMessage(bytes)).toMatchObject(message);
  });

  test("a body longer than the first buffer is written whole", () => {
    const body = ["x".repeat(5000), 1n];
    const bytes = encodeMessage({ ...hello, signature: "st", body });
    expect(decodeMessage(bytes).body).toEqual(body);
  });

  test("values that cross the end of the first buffer are written whole, wherever it falls", () => {
    for (let padding = 440; padding < 520; padding++) {
      const body = ["x".repeat(padding), 1n, 2, "z"];
      expect(decodeMessage(encodeMessage({ ...hello, signature: "sxqs", body })).body).toEqual(body);
    }
  });

  test("the length of a message is told from its first sixteen bytes, and not from fewer", () => {
    const bytes = encodeMessage(hello);
    expect(messageLength(bytes.subarray(0, 15))).toBeUndefined();
    expect(messageLength(bytes.subarray(0, 16))).toBe(bytes.length);
  });

  test("a message of the other byte order is read", () => {
    // A reply with the serial 258 and a body of one number, 1.
    const bytes = new Uint8Array([
      ...[0x42, 2, 0, 1, 0, 0, 0, 4, 0, 0, 1, 2, 0, 0, 0, 15],
      ...[5, 1, 0x75, 0, 0, 0, 0, 9, 8, 1, 0x67, 0, 1, 0x75, 0, 0],
      ...[0, 0, 0, 1],
    ]);
    expect(messageLength(bytes)).toBe(bytes.length);
    expect(decodeMessage(bytes)).toMatchObject({ serial: 258, replySerial: 9, body: [1] });
  });

  test("what is no message is refused, wherever it was cut or changed", () => {
    const bytes = encodeMessage({ ...hello, signature: "a(sv)", body: [[["n", { signature: "s", value: "v" }]]] });
    for (let length = 16; length < bytes.length; length++) {
      expect(() => decodeMessage(bytes.subarray(0, length))).toThrow("malformed");
    }
    const huge = bytes.slice();
    huge.fill(0xff, 4, 8);
    expect(() => messageLength(huge)).toThrow("malformed");
    expect(() => typeEnd("a", 0)).toThrow("signature");
    expect(() => typeEnd("(s", 0)).toThrow("signature");
    expect(() => encodeMessage({ ...hello, body: [] })).toThrow("0 values for s");
    expect(() => encodeMessage({ ...hello, body: ["a\0b"] })).toThrow("zero byte");
  });
});
