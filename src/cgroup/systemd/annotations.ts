/**
 * `org.systemd.property.NAME` annotations: properties of the unit that the bundle asks for, in GVariant's text form.
 * Rules: runc's docs/systemd.md; GLib "GVariant Text Format"; crun(1). Touches no file.
 */
import { type Problem, SpecError } from "../../errors.ts";
import type { Value, Variant } from "./message.ts";
import type { UnitProperty } from "./properties.ts";

const PREFIX = "org.systemd.property.";

/** @throws SpecError naming each annotation that is wrong */
export function readAnnotated(annotations: Readonly<Record<string, string>> | undefined): UnitProperty[] {
  const properties: UnitProperty[] = [];
  const problems: Problem[] = [];
  for (const [key, value] of Object.entries(annotations ?? {})) {
    if (!key.startsWith(PREFIX)) continue;
    const name = key.slice(PREFIX.length);
    try {
      if (!/^[A-Za-z][A-Za-z0-9]{2,}$/.test(name)) throw new Error(`${JSON.stringify(name)} is no name of a property`);
      properties.push(inMicroseconds(name, new GVariantText(value).parse()));
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      problems.push({ path: `annotations[${JSON.stringify(key)}]`, message });
    }
  }
  if (problems.length > 0) throw new SpecError(problems);
  return properties;
}

/** A time may be given in seconds under the name that unit files have: D-Bus knows microseconds alone. */
function inMicroseconds(name: string, { signature, value }: Variant): UnitProperty {
  if (!name.endsWith("Sec") || name.endsWith("USec")) return [name, { signature, value }];
  if (typeof value !== "number" && typeof value !== "bigint") throw new Error("must be a number of seconds");
  const us = typeof value === "bigint" ? value * 1_000_000n : BigInt(Math.round(value * 1e6));
  if (us < 0n) throw new Error("must not be negative");
  return [`${name.slice(0, -3)}USec`, { signature: "t", value: us }];
}

/** Words that give the type of what follows. */
const TYPE_WORDS: Record<string, string> = {
  boolean: "b",
  byte: "y",
  int16: "n",
  uint16: "q",
  int32: "i",
  uint32: "u",
  handle: "h",
  int64: "x",
  uint64: "t",
  double: "d",
  string: "s",
  objectpath: "o",
  signature: "g",
};

/** Ranges of the whole numbers. */
const RANGES: Record<string, [bigint, bigint]> = {
  y: [0n, 255n],
  n: [-32768n, 32767n],
  q: [0n, 65535n],
  i: [-(2n ** 31n), 2n ** 31n - 1n],
  u: [0n, 2n ** 32n - 1n],
  x: [-(2n ** 63n), 2n ** 63n - 1n],
  t: [0n, 2n ** 64n - 1n],
};

/** Booleans, numbers, strings, and arrays of these: what properties of units are made of. */
class GVariantText {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  parse(): Variant {
    const value = this.#value(undefined);
    this.#space();
    if (this.#at < this.#text.length) throw this.#unexpected();
    return value;
  }

  #value(type: string | undefined): Variant {
    this.#space();
    const rest = this.#text.slice(this.#at);
    if (rest[0] === "@") return this.#typed(/^@([a-z]+)/.exec(rest)?.[1], 1);
    const word = /^[a-z][a-z0-9]*/.exec(rest)?.[0];
    if (word === "true" || word === "false") {
      this.#at += word.length;
      return this.#checked({ signature: "b", value: word === "true" }, type);
    }
    if (word !== undefined) return this.#typed(TYPE_WORDS[word], word.length - (TYPE_WORDS[word]?.length ?? 0));
    if (rest[0] === "[") return this.#array(type);
    if (rest[0] === "'" || rest[0] === '"') {
      const signature = type === "o" || type === "g" ? type : "s";
      return this.#checked({ signature, value: this.#string(rest[0]) }, type);
    }
    return this.#number(type);
  }

  /** @param extra characters before the type, or more that a word has than its code */
  #typed(type: string | undefined, extra: number): Variant {
    if (type === undefined) throw this.#unexpected();
    this.#at += extra + type.length;
    return this.#value(type);
  }

  #array(type: string | undefined): Variant {
    if (type !== undefined && type[0] !== "a") throw new Error(`an array is not of type ${type}`);
    let element = type?.slice(1);
    const values: Value[] = [];
    this.#at++;
    for (;;) {
      this.#space();
      if (this.#text[this.#at] === "]") break;
      if (values.length > 0) {
        if (this.#text[this.#at] !== ",") throw this.#unexpected();
        this.#at++;
      }
      const { signature, value } = this.#value(element);
      element ??= signature;
      values.push(value);
    }
    this.#at++;
    if (element === undefined) throw new Error("an empty array needs its type, as in: @as []");
    return {
      signature: `a${element}`,
      value: element === "y" ? new Uint8Array(values.map(Number)) : values,
    };
  }

  #string(quote: string): string {
    let value = "";
    for (let i = this.#at + 1; i < this.#text.length; i++) {
      const c = this.#text[i] as string;
      if (c === quote) {
        this.#at = i + 1;
        return value;
      }
      if (c !== "\\") value += c;
      else {
        i++;
        const escaped = this.#text[i] ?? "";
        value += ({ n: "\n", t: "\t", r: "\r" } as Record<string, string>)[escaped] ?? escaped;
      }
    }
    throw new Error("a string without an end");
  }

  #number(type: string | undefined): Variant {
    const match = /^[+-]?(?:0[xX][0-9a-fA-F]+|\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)/.exec(this.#text.slice(this.#at))?.[0];
    if (match === undefined) throw this.#unexpected();
    this.#at += match.length;
    const isWhole = /^[+-]?(?:0[xX][0-9a-fA-F]+|\d+)$/.test(match);
    const signature = type ?? (isWhole ? "i" : "d");
    if (signature === "d") return { signature, value: Number(match) };
    const range = RANGES[signature];
    if (!isWhole || range === undefined) throw new Error(`${match} is not of type ${signature}`);
    const digits = BigInt(match.replace(/^[+-]/, ""));
    const value = match.startsWith("-") ? -digits : digits;
    if (value < range[0] || value > range[1]) throw new Error(`${match} is out of the range of type ${signature}`);
    return { signature, value: signature === "x" || signature === "t" ? value : Number(value) };
  }

  #checked(value: Variant, type: string | undefined): Variant {
    if (type !== undefined && type !== value.signature) throw new Error(`type ${type} does not fit ${value.signature}`);
    return value;
  }

  #space(): void {
    while (/\s/.test(this.#text[this.#at] ?? "")) this.#at++;
  }

  #unexpected(): Error {
    const rest = this.#text.slice(this.#at, this.#at + 20);
    return new Error(rest === "" ? "ends too early" : `cannot be read from ${JSON.stringify(rest)} on`);
  }
}
