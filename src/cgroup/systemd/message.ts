/**
 * Messages of D-Bus as bytes and back, as much of them as systemd's manager speaks. Touches no file.
 * Rules: D-Bus Specification, "Marshaling (Wire Format)" and "Message Format".
 */
import { TsrunError } from "../../errors.ts";
import { utf8Bytes, utf8Text } from "../../sys/call.ts";
import { viewOf } from "../../sys/structs.ts";

/**
 * A value of a type that a signature names: y n q i u d are numbers, x t are bigints, b is a boolean, s o g are strings,
 * v is a Variant, ay is bytes, other arrays, structs and dictionary entries are arrays.
 */
export type Value = string | number | bigint | boolean | Uint8Array | Variant | readonly Value[];

export interface Variant {
  /** One complete type. */
  signature: string;
  value: Value;
}

export const METHOD_CALL = 1;
export const METHOD_RETURN = 2;
export const ERROR = 3;
export const SIGNAL = 4;

export interface Message {
  type: number;
  serial: number;
  path?: string | undefined;
  interface?: string | undefined;
  member?: string | undefined;
  errorName?: string | undefined;
  replySerial?: number | undefined;
  destination?: string | undefined;
  /** Types of the body, one after another; "" for none. */
  signature: string;
  body: readonly Value[];
}

/** Codes of the header's fields, with their types. */
const FIELDS = [
  [1, "path", "o"],
  [2, "interface", "s"],
  [3, "member", "s"],
  [4, "errorName", "s"],
  [5, "replySerial", "u"],
  [6, "destination", "s"],
  [8, "signature", "g"],
] as const;

const LITTLE_ENDIAN = 0x6c;
/** Bytes of a message up to the header's fields, which begin with their length. */
const FIXED_HEADER = 16;
/** The protocol's own limit is 128 MiB; what systemd says to us is a few hundred bytes. */
const MAX_MESSAGE = 16 << 20;

export function encodeMessage(message: Message): Uint8Array {
  const body = new Writer();
  body.all(message.signature, message.body);
  const header = new Writer();
  const fields: Value[] = [];
  for (const [code, name, signature] of FIELDS) {
    const value = message[name];
    if (value !== undefined && value !== "") fields.push([code, { signature, value }]);
  }
  const bytes = body.bytes();
  header.all("yyyyuua(yv)", [LITTLE_ENDIAN, message.type, 0, 1, bytes.length, message.serial, fields]);
  header.align(8);
  header.raw(bytes);
  return header.bytes();
}

/**
 * How many bytes the message at the beginning of `bytes` has; undefined when too few are there to tell.
 *
 * @throws TsrunError for what is no message
 */
export function messageLength(bytes: Uint8Array): number | undefined {
  if (bytes.length < FIXED_HEADER) return undefined;
  const view = viewOf(bytes);
  const order = bytes[0] === LITTLE_ENDIAN;
  const fields = view.getUint32(12, order);
  const body = view.getUint32(4, order);
  if (bytes[3] !== 1 || fields > MAX_MESSAGE || body > MAX_MESSAGE) throw malformed("header");
  return FIXED_HEADER + Math.ceil(fields / 8) * 8 + body;
}

/** @param bytes one whole message @throws TsrunError for what is none */
export function decodeMessage(bytes: Uint8Array): Message {
  const reader = new Reader(bytes, bytes[0] === LITTLE_ENDIAN);
  const [, type, , , , serial, fields] = reader.all("yyyyuua(yv)");
  const message: Message = { type: Number(type), serial: Number(serial), signature: "", body: [] };
  for (const field of fields as readonly [number, Variant][]) {
    const known = FIELDS.find(([code]) => code === field[0]);
    if (known !== undefined) Object.assign(message, { [known[1]]: field[1].value });
  }
  reader.align(8);
  message.body = reader.all(message.signature);
  return message;
}

/** Where the complete type that begins at `start` ends. @throws TsrunError for what is no type */
export function typeEnd(signature: string, start: number): number {
  const code = signature[start];
  if (code === "a") return typeEnd(signature, start + 1);
  if (code !== "(" && code !== "{") {
    if (code === undefined || !"ybnqiuxtdsogvh".includes(code)) throw malformed(`signature ${signature}`);
    return start + 1;
  }
  const close = code === "(" ? ")" : "}";
  let at = start + 1;
  while (signature[at] !== close) at = typeEnd(signature, at);
  return at + 1;
}

/** The complete types of a signature. */
function typesOf(signature: string): string[] {
  const types: string[] = [];
  for (let at = 0; at < signature.length; ) {
    const end = typeEnd(signature, at);
    types.push(signature.slice(at, end));
    at = end;
  }
  return types;
}

const ALIGNMENTS: Record<string, number> = { y: 1, g: 1, v: 1, n: 2, q: 2, x: 8, t: 8, d: 8, "(": 8, "{": 8 };

function alignmentOf(type: string): number {
  return ALIGNMENTS[type[0] as string] ?? 4;
}

/** Bytes of the types that always have as many. */
const SIZES: Record<string, number> = { y: 1, n: 2, q: 2, b: 4, i: 4, u: 4, h: 4, x: 8, t: 8, d: 8 };

class Writer {
  #buffer = new Uint8Array(512);
  #view = viewOf(this.#buffer);
  #length = 0;

  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.#length);
  }

  align(to: number): void {
    this.#reserve(Math.ceil(this.#length / to) * to - this.#length);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#buffer.set(bytes, at);
  }

  all(signature: string, values: readonly Value[]): void {
    const types = typesOf(signature);
    if (types.length !== values.length) throw malformed(`${values.length} values for ${signature}`);
    types.forEach((type, i) => {
      this.#value(type, values[i] as Value);
    });
  }

  #value(type: string, value: Value): void {
    this.align(alignmentOf(type));
    // First, as the buffer may be another one after it.
    const at = this.#reserve(SIZES[type[0] as string] ?? 0);
    switch (type[0]) {
      case "y":
        this.#buffer[at] = Number(value);
        return;
      case "n":
      case "q":
        this.#view.setUint16(at, Number(value), true);
        return;
      case "b":
      case "i":
      case "u":
      case "h":
        this.#view.setUint32(at, Number(value), true);
        return;
      case "x":
      case "t":
        this.#view.setBigUint64(at, BigInt.asUintN(64, value as bigint), true);
        return;
      case "d":
        this.#view.setFloat64(at, Number(value), true);
        return;
      case "s":
      case "o":
        this.#text(value as string, 4);
        return;
      case "g":
        this.#text(value as string, 1);
        return;
      case "v":
        this.#text((value as Variant).signature, 1);
        this.#value((value as Variant).signature, (value as Variant).value);
        return;
      case "a":
        this.#array(type.slice(1), value as readonly Value[] | Uint8Array);
        return;
      default:
        this.all(type.slice(1, -1), value as readonly Value[]);
    }
  }

  #text(text: string, lengthBytes: 1 | 4): void {
    const bytes = utf8Bytes(text);
    if (bytes.includes(0)) throw malformed("string with a zero byte");
    const at = this.#reserve(lengthBytes);
    if (lengthBytes === 4) this.#view.setUint32(at, bytes.length, true);
    else this.#buffer[at] = bytes.length;
    this.raw(bytes);
    this.#reserve(1);
  }

  #array(type: string, values: readonly Value[] | Uint8Array): void {
    const at = this.#reserve(4);
    // The length leaves out the padding before the first element.
    this.align(alignmentOf(type));
    const start = this.#length;
    if (values instanceof Uint8Array) this.raw(values);
    else for (const value of values) this.#value(type, value);
    this.#view.setUint32(at, this.#length - start, true);
  }

  /** Zero bytes at the end. @returns where they begin */
  #reserve(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#buffer.length) {
      const larger = new Uint8Array(this.#length * 2);
      larger.set(this.#buffer);
      this.#buffer = larger;
      this.#view = viewOf(larger);
    }
    return at;
  }
}

class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #order: boolean;
  #at = 0;

  constructor(bytes: Uint8Array, littleEndian: boolean) {
    this.#bytes = bytes;
    this.#view = viewOf(bytes);
    this.#order = littleEndian;
  }

  align(to: number): void {
    this.#take(Math.ceil(this.#at / to) * to - this.#at);
  }

  all(signature: string): Value[] {
    return typesOf(signature).map((type) => this.#value(type));
  }

  #value(type: string): Value {
    this.align(alignmentOf(type));
    switch (type[0]) {
      case "y":
        return this.#bytes[this.#take(1)] as number;
      case "n":
        return this.#view.getInt16(this.#take(2), this.#order);
      case "q":
        return this.#view.getUint16(this.#take(2), this.#order);
      case "b":
        return this.#view.getUint32(this.#take(4), this.#order) !== 0;
      case "i":
        return this.#view.getInt32(this.#take(4), this.#order);
      case "u":
      case "h":
        return this.#view.getUint32(this.#take(4), this.#order);
      case "x":
        return this.#view.getBigInt64(this.#take(8), this.#order);
      case "t":
        return this.#view.getBigUint64(this.#take(8), this.#order);
      case "d":
        return this.#view.getFloat64(this.#take(8), this.#order);
      case "s":
      case "o":
        return this.#text(this.#view.getUint32(this.#take(4), this.#order));
      case "g":
        return this.#text(this.#bytes[this.#take(1)] as number);
      case "v": {
        const signature = this.#text(this.#bytes[this.#take(1)] as number);
        if (typeEnd(signature, 0) !== signature.length) throw malformed(`variant ${signature}`);
        return { signature, value: this.#value(signature) };
      }
      case "a":
        return this.#array(type.slice(1));
      default:
        return this.all(type.slice(1, -1));
    }
  }

  #text(length: number): string {
    const at = this.#take(length + 1);
    return utf8Text(this.#bytes.subarray(at, at + length));
  }

  #array(type: string): Value {
    const length = this.#view.getUint32(this.#take(4), this.#order);
    this.align(alignmentOf(type));
    const end = this.#at + length;
    if (end > this.#bytes.length) throw malformed("array");
    if (type === "y") return this.#bytes.slice(this.#take(length), end);
    const values: Value[] = [];
    while (this.#at < end) values.push(this.#value(type));
    return values;
  }

  /** @returns where the bytes are that were taken */
  #take(count: number): number {
    const at = this.#at;
    this.#at += count;
    if (this.#at > this.#bytes.length) throw malformed("end");
    return at;
  }
}

function malformed(what: string): TsrunError {
  return new TsrunError(`D-Bus: malformed message: ${what}`);
}
