/**
 * The door of the small engine that dist/tsrun carries (native/engine/host.c), and what it lacks of the globals that
 * Node and Bun have. Only there is it used; under Node and Bun `host` is undefined.
 */
import type { NativeFunction } from "./ffi.ts";

export interface EngineHost {
  /** syscall(2): the result, or -1, and `errno()` says why. */
  syscall(...args: (number | bigint)[]): number;
  errno(): number;
  /** The address of a view's first byte. */
  address(view: Uint8Array): number;
  posix_spawn: NativeFunction;
  posix_spawn_file_actions_adddup2: NativeFunction;
  posix_spawn_file_actions_addchdir_np: NativeFunction;
  posix_spawn_file_actions_destroy: NativeFunction;
  encode(text: string): Uint8Array;
  decode(bytes: Uint8Array): string;
  /** Milliseconds of the monotonic clock. */
  now(): number;
  /** Address and length of the native init, which is part of the program. */
  initBinary(): [number, number];
  /** `start` is called when the program starts; the modules are loaded when it is built. */
  onStart(start: (argv: string[], pid: number) => void): void;
  /** A variable of the environment. */
  getenv(name: string): string | undefined;
  /** All of them, as "NAME=value". */
  environ(): string[];
  /** Of globals.ts: what `process` is from now on. To be called first when the program starts. */
  readonly startProcess: (argv: string[], pid: number) => void;
  readonly arch: "x64" | "arm64";
}

export const host = (globalThis as { tsrunHost?: EngineHost }).tsrunHost;
