/**
 * The one door to native code: bun:ffi under Bun, koffi under Node, and in dist/tsrun what its own engine has.
 *
 * Nearly everything goes through one symbol, syscall(2), with pointers passed as addresses. Its
 * errno is read through __errno_location(3) directly after the call, with nothing in between
 * that allocates (test/unit/sys/errno.test.ts hammers it under garbage collection).
 */

import { type EngineHost, host } from "./engine.ts";

/** The address of a view is taken at the call; the view is kept alive until the call is over. */
export type NativeArg = number | bigint | Uint8Array | null;

/** "int" is the C int, "long" any 64-bit number or pointer, as an argument or a result. */
export type NativeType = "int" | "long";

export interface Signature {
  readonly args: readonly NativeType[];
  readonly returns: NativeType;
}

export type NativeFunction = (...args: NativeArg[]) => number;

type RawFunction = (...args: (number | bigint)[]) => number;

interface Engine {
  /** Binds the symbols of one library. Costs about 0.02 ms a symbol and 0.05 ms a call. */
  bind(library: string, signatures: Readonly<Record<string, Signature>>): Record<string, RawFunction>;
  /** The address of the first byte of a view. */
  address(view: Uint8Array): number;
  /** Makes the function that reads errno, from what bind gave for __errno_location. */
  errnoReader(location: RawFunction): () => number;
}

const CORE = {
  syscall: { args: ["long", "long", "long", "long", "long", "long", "long"], returns: "long" },
  __errno_location: { args: [], returns: "long" },
} as const satisfies Record<string, Signature>;

/** What a call in progress points at: a view whose address is all that native code has must not be collected. */
const held: { value: unknown } = { value: undefined };

let engine: Engine | undefined;
let libc = "libc.so.6";
let rawSyscall: RawFunction | undefined;
let readErrno: (() => number) | undefined;

function currentEngine(): Engine {
  if (engine === undefined && host !== undefined) engine = smallEngine(host);
  if (engine === undefined) {
    const { Bun: bun } = globalThis as { Bun?: { FFI?: BunNative } };
    engine = bun === undefined ? koffiEngine() : bunEngine(bun.FFI ?? bunModule());
  }
  return engine;
}

/** The C library that this process has loaded already. */
export function libcName(): string {
  if (rawSyscall === undefined) openCore();
  return libc;
}

function openCore(): RawFunction {
  const { bind, errnoReader } = currentEngine();
  let symbols: Record<string, RawFunction>;
  try {
    symbols = bind(libc, CORE);
  } catch (error) {
    const musl = `libc.musl-${process.arch === "arm64" ? "aarch64" : "x86_64"}.so.1`;
    try {
      symbols = bind(musl, CORE);
    } catch {
      throw error;
    }
    libc = musl;
  }
  readErrno = errnoReader(symbols.__errno_location as RawFunction);
  rawSyscall = symbols.syscall as RawFunction;
  return rawSyscall;
}

/**
 * syscall(2): the result, or -errno. Does not throw and does not retry.
 *
 * Views are passed by address; memory that they in turn point at is the caller's to keep alive.
 */
export function syscall(
  number: number,
  a: NativeArg = 0,
  b: NativeArg = 0,
  c: NativeArg = 0,
  d: NativeArg = 0,
  e: NativeArg = 0,
  f: NativeArg = 0,
): number {
  const raw = rawSyscall ?? openCore();
  held.value = [a, b, c, d, e, f];
  // Asked here for numbers, which most are: a thousand calls less in a start that no compiler has seen, 0.15 ms.
  const result = raw(
    number,
    typeof a === "number" ? a : word(a),
    typeof b === "number" ? b : word(b),
    typeof c === "number" ? c : word(c),
    typeof d === "number" ? d : word(d),
    typeof e === "number" ? e : word(e),
    typeof f === "number" ? f : word(f),
  );
  // -1 always is an error: libc's syscall(2) turns the kernel's -errno into it.
  const errno = result === -1 ? lastErrno() : 0;
  held.value = undefined;
  return errno === 0 ? result : -errno;
}

/** errno as the last native call left it. Only true directly after that call. */
function lastErrno(): number {
  return readErrno === undefined ? 0 : readErrno();
}

/** The address of a view's first byte, valid as long as the view is alive. */
export function addressOf(view: Uint8Array): number {
  return currentEngine().address(view);
}

function word(arg: NativeArg): number | bigint {
  if (typeof arg === "number") return arg;
  if (arg === null) return 0;
  if (typeof arg === "bigint") return BigInt.asIntN(64, arg);
  return arg.byteLength === 0 ? 0 : (engine ?? currentEngine()).address(arg);
}

/**
 * Functions of a shared library, bound now: call it where they are used first.
 *
 * @throws when the library or a symbol is missing
 */
export function load<Name extends string>(
  library: string,
  signatures: Readonly<Record<Name, Signature>>,
): Record<Name, NativeFunction> {
  const symbols = currentEngine().bind(library, signatures);
  const functions = {} as Record<Name, NativeFunction>;
  for (const name in signatures) {
    const symbol = symbols[name] as RawFunction;
    functions[name] = (...args) => {
      held.value = args;
      const result = symbol(...args.map(word));
      held.value = undefined;
      return result;
    };
  }
  return functions;
}

/** What bun:ffi is made of: the module itself costs 0.3 ms to load and adds only conversions. */
interface BunNative {
  dlopen(
    library: string,
    symbols: Record<string, { args: number[]; returns: number }>,
  ): { symbols: Record<string, RawFunction> } | Error;
  ptr(view: Uint8Array): number;
  read: { i32(address: number, offset: number): number };
}

// FFIType of bun:ffi: i32, and i64_fast, which is a number as long as it is a safe integer.
const BUN_TYPES: Readonly<Record<NativeType, number>> = { int: 5, long: 15 };

function bunEngine(native: BunNative): Engine {
  return {
    bind(library, signatures) {
      const symbols: Record<string, { args: number[]; returns: number }> = {};
      for (const name in signatures) {
        const { args, returns } = signatures[name] as Signature;
        symbols[name] = { args: args.map((type) => BUN_TYPES[type]), returns: BUN_TYPES[returns] };
      }
      const opened = native.dlopen(library, symbols);
      if (opened instanceof Error) throw opened;
      return opened.symbols;
    },
    address: native.ptr,
    errnoReader(location) {
      // The address is the same as long as the thread lives, and the engine's thread is ours.
      const address = location();
      const { i32 } = native.read;
      return () => i32(address, 0);
    },
  };
}

function bunModule(): BunNative {
  const { getBuiltinModule } = process as unknown as { getBuiltinModule(name: string): unknown };
  return getBuiltinModule("bun:ffi") as BunNative;
}

/** The engine of dist/tsrun has one C library, which is part of the program. */
function smallEngine(native: EngineHost): Engine {
  const functions = native as unknown as Record<string, RawFunction>;
  return {
    bind(_library, signatures) {
      const symbols: Record<string, RawFunction> = {};
      // Its errno is that of the last call, wherever it lies.
      for (const name in signatures) symbols[name] = functions[name] ?? (() => 0);
      return symbols;
    },
    address: (view) => native.address(view),
    errnoReader: () => () => native.errno(),
  };
}

interface Koffi {
  load(library: string): { func(name: string, returns: string, args: string[]): RawFunction };
  address(view: Uint8Array): bigint;
  errno(): number;
}

const KOFFI_TYPES: Readonly<Record<NativeType, string>> = { int: "int", long: "int64" };

function koffiEngine(): Engine {
  // Not a plain import: Bun's build of the CLI must not carry koffi, and Bun must not load it.
  const { createRequire } = process.getBuiltinModule("node:module");
  const requireHere = createRequire(import.meta.url);
  const koffi = requireHere("koffi") as Koffi;
  return {
    bind(library, signatures) {
      const handle = koffi.load(library);
      const symbols: Record<string, RawFunction> = {};
      for (const name in signatures) {
        const { args, returns } = signatures[name] as Signature;
        symbols[name] = handle.func(
          name,
          KOFFI_TYPES[returns],
          args.map((type) => KOFFI_TYPES[type]),
        );
      }
      return symbols;
    },
    address: (view) => Number(koffi.address(view)),
    errnoReader: () => koffi.errno,
  };
}
