/**
 * Protocol Buffers, as far as criu's messages need them: whole numbers, truth values, texts and messages in messages.
 * Rules: protobuf.dev "Encoding".
 */
import { TsrunError } from "../errors.ts";
import { utf8Bytes, utf8Text } from "../sys/call.ts";

export type FieldKind = "number" | "bool" | "text" | Shape;

export interface Field {
  /** The number that a .proto file gives it. */
  readonly id: number;
  readonly kind: FieldKind;
  readonly repeated?: true;
}

/** A message as a table of its fields; they are written in its order. */
export interface Shape {
  readonly [name: string]: Field;
}

type Single<K> = K extends "number"
  ? number
  : K extends "bool"
    ? boolean
    : K extends "text"
      ? string
      : K extends Shape
        ? Message<K>
        : never;

/** What a message of this shape holds. A field that is not there is undefined. */
export type Message<S extends Shape> = {
  [N in keyof S]?: (S[N] extends { repeated: true } ? Single<S[N]["kind"]>[] : Single<S[N]["kind"]>) | undefined;
};

const VARINT = 0;
const FIXED_64 = 1;
const BYTES = 2;
const FIXED_32 = 5;

export function encode<S extends Shape>(shape: S, message: Message<S>): Uint8Array {
  const out: number[] = [];
  for (const [name, field] of Object.entries(shape)) {
    const value: unknown = message[name];
    if (value === undefined) continue;
    for (const one of field.repeated ? (value as unknown[]) : [value]) putField(out, field, one);
  }
  return Uint8Array.from(out);
}

function putField(out: number[], { id, kind }: Field, value: unknown): void {
  if (kind === "number" || kind === "bool") {
    putVarint(out, id * 8 + VARINT);
    putVarint(out, Number(value));
    return;
  }
  const bytes = kind === "text" ? utf8Bytes(value as string) : encode(kind, value as Message<Shape>);
  putVarint(out, id * 8 + BYTES);
  putVarint(out, bytes.length);
  for (const byte of bytes) out.push(byte);
}

/** Numbers from 0 on: what tsrun sends has no others. */
function putVarint(out: number[], value: number): void {
  let rest = value;
  while (rest >= 0x80) {
    out.push((rest % 0x80) + 0x80);
    rest = Math.floor(rest / 0x80);
  }
  out.push(rest);
}

/** Fields that the shape does not know are passed over. @throws TsrunError for what is cut off */
export function decode<S extends Shape>(shape: S, bytes: Uint8Array): Message<S> {
  const fields = new Map(Object.entries(shape).map(([name, field]) => [field.id, { name, ...field }]));
  const message: Record<string, unknown> = {};
  const cursor = { bytes, at: 0 };
  while (cursor.at < bytes.length) {
    const key = takeVarint(cursor);
    const raw = takeRaw(cursor, key % 8);
    const field = fields.get(Math.floor(key / 8));
    if (field === undefined || raw === undefined) continue;
    const value = toValue(field.kind, raw);
    if (value === undefined) continue;
    if (!field.repeated) message[field.name] = value;
    else if (message[field.name] === undefined) message[field.name] = [value];
    else (message[field.name] as unknown[]).push(value);
  }
  return message as Message<S>;
}

interface Cursor {
  readonly bytes: Uint8Array;
  at: number;
}

/** undefined for what no field of ours is written as. */
function takeRaw(cursor: Cursor, wire: number): number | Uint8Array | undefined {
  if (wire === VARINT) return takeVarint(cursor);
  const length = wire === BYTES ? takeVarint(cursor) : wire === FIXED_64 ? 8 : wire === FIXED_32 ? 4 : undefined;
  if (length === undefined || cursor.at + length > cursor.bytes.length) throw cutOff();
  const bytes = cursor.bytes.subarray(cursor.at, cursor.at + length);
  cursor.at += length;
  return wire === BYTES ? bytes : undefined;
}

/** As an int32 where it does not fit: negative numbers are written with 64 bits. */
function takeVarint(cursor: Cursor): number {
  let value = 0n;
  for (let shift = 0n; shift < 70n; shift += 7n) {
    const byte = cursor.bytes[cursor.at++];
    if (byte === undefined) break;
    value |= BigInt(byte & 0x7f) << shift;
    if (byte < 0x80) return Number(value > 0xffff_ffffn ? BigInt.asIntN(32, value) : value);
  }
  throw cutOff();
}

function toValue(kind: FieldKind, raw: number | Uint8Array): unknown {
  if (typeof raw === "number") return kind === "bool" ? raw !== 0 : kind === "number" ? raw : undefined;
  if (kind === "text") return utf8Text(raw);
  return typeof kind === "object" ? decode(kind, raw) : undefined;
}

function cutOff(): TsrunError {
  return new TsrunError("a message of criu is cut off");
}
