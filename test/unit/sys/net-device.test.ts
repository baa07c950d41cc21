import { describe, expect, test } from "vitest";
import { addressFor } from "../../../src/sys/net-device.ts";
import { encodeMessage, splitMessages, textAttribute, textOf, uint32Attribute } from "../../../src/sys/netlink.ts";

const bytes = (...values: number[]) => new Uint8Array(values);

describe("sys/netlink", () => {
  test("a message is its head, its fixed part and attributes, each padded to four bytes", () => {
    const attributes = [textAttribute(3, "eth0"), uint32Attribute(28, 7)];
    const message = encodeMessage({ type: 16, fixed: bytes(1, 2, 3, 4), attributes }, 5);
    expect([...message]).toEqual([
      ...[40, 0, 0, 0, 16, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0],
      ...[1, 2, 3, 4],
      ...[9, 0, 3, 0, 101, 116, 104, 48, 0, 0, 0, 0],
      ...[8, 0, 28, 0, 7, 0, 0, 0],
    ]);
  });

  test("messages that came together are told apart, and one that is cut is left out", () => {
    const one = encodeMessage({ type: 16, fixed: bytes(1, 2, 3), attributes: [] }, 0);
    const padded = new Uint8Array(20);
    padded.set(one);
    const both = new Uint8Array([...padded, ...encodeMessage({ type: 20, fixed: bytes(9), attributes: [] }, 0)]);
    expect(splitMessages(both)).toEqual([
      { type: 16, payload: bytes(1, 2, 3) },
      { type: 20, payload: bytes(9) },
    ]);
    expect(splitMessages(both.subarray(0, both.length - 1))).toHaveLength(1);
    expect(splitMessages(bytes(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0))).toEqual([]);
  });
});

describe("sys/net-device", () => {
  const device = { index: 0x0102, name: "eth0", isUp: false };
  const given = (...attributes: { type: number; value: Uint8Array }[]) =>
    addressFor(device, { fixed: bytes(2, 24, 0x80, 0, 9, 0, 0, 0), attributes }, "v0");

  test("an address is asked for on the new device, without what the kernel notes about it", () => {
    const cacheInfo = { type: 6, value: new Uint8Array(16) };
    const { fixed, attributes } = given({ type: 2, value: bytes(10, 0, 0, 1) }, cacheInfo, uint32Attribute(8, 0x280));
    expect(fixed).toEqual(bytes(2, 24, 0, 0, 2, 1, 0, 0));
    expect(attributes).toEqual([{ type: 2, value: bytes(10, 0, 0, 1) }, uint32Attribute(8, 0x200)]);
    expect(given(uint32Attribute(8, 0x80)).attributes).toEqual([]);
  });

  test("a label follows the name of its device, and is left out where it would be too long", () => {
    const label = (text: string) => given(textAttribute(3, text)).attributes.map(({ value }) => textOf(value));
    expect(label("v0")).toEqual(["eth0"]);
    expect(label("v0:web")).toEqual(["eth0:web"]);
    expect(label("other")).toEqual(["other"]);
    expect(label("v0:23456789012")).toEqual([]);
  });
});
