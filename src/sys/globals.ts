/**
 * The globals that Node and Bun have and the small engine lacks, as far as this program uses them. Not imported by
 * anything: the build loads it into that engine before all else, because modules use them while they are loaded.
 */
import type { EngineHost } from "./engine.ts";

const { tsrunHost: host } = globalThis as unknown as {
  tsrunHost: { -readonly [K in keyof EngineHost]: EngineHost[K] };
};

class Encoder {
  encode(text: string): Uint8Array {
    return host.encode(text);
  }
}

class Decoder {
  decode(bytes: Uint8Array): string {
    return host.decode(bytes);
  }
}

/** Numbers of the system calls that are needed here, before sys/ is there. */
const { getcwd, getuid, geteuid, getegid } = {
  x64: { getcwd: 79, getuid: 102, geteuid: 107, getegid: 108 },
  arm64: { getcwd: 17, getuid: 174, geteuid: 175, getegid: 177 },
}[host.arch];

const processGlobal = {
  arch: host.arch,
  argv: [] as string[],
  /** As it was called. */
  get argv0(): string {
    return this.argv[0] ?? "";
  },
  env: environment(),
  pid: 0,
  getuid: () => host.syscall(getuid),
  geteuid: () => host.syscall(geteuid),
  getegid: () => host.syscall(getegid),
  cwd: currentDirectory,
};

/** @throws Error with code ENOENT, as Node's, when it has been removed */
function currentDirectory(): string {
  const buffer = new Uint8Array(4096);
  const length = host.syscall(getcwd, host.address(buffer), buffer.length);
  if (length < 0) throw Object.assign(new Error("getcwd"), { code: "ENOENT", syscall: "getcwd" });
  return host.decode(buffer.subarray(0, length - 1));
}

const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** Text of characters below 256 as base64. */
function btoa(text: string): string {
  let result = "";
  for (let i = 0; i < text.length; i += 3) {
    const byte = (offset: number) => (i + offset < text.length ? text.charCodeAt(i + offset) : 0);
    const group = (byte(0) << 16) | (byte(1) << 8) | byte(2);
    for (let j = 0; j < 4; j++) result += i + j > text.length ? "=" : BASE64.charAt((group >> (18 - 6 * j)) & 63);
  }
  return result;
}

/**
 * The environment, asked for variable by variable: an object of forty members would be half a millisecond of each start.
 * One that is spread or changed becomes such an object.
 */
function environment(): Record<string, string | undefined> {
  let whole: Record<string, string> | undefined;
  const all = () => {
    if (whole !== undefined) return whole;
    whole = {};
    for (const entry of host.environ()) {
      const equals = entry.indexOf("=");
      if (equals > 0) whole[entry.slice(0, equals)] = entry.slice(equals + 1);
    }
    return whole;
  };
  const get = (name: string | symbol) =>
    typeof name !== "string" ? undefined : whole === undefined ? host.getenv(name) : whole[name];
  return new Proxy<Record<string, string | undefined>>(
    {},
    {
      get: (_, name) => get(name),
      has: (_, name) => get(name) !== undefined,
      ownKeys: () => Object.keys(all()),
      getOwnPropertyDescriptor(_, name) {
        const value = get(name);
        return value === undefined ? undefined : { value, enumerable: true, configurable: true, writable: true };
      },
      set(_, name, value) {
        all()[name as string] = String(value);
        return true;
      },
      deleteProperty: (_, name) => delete all()[name as string],
    },
  );
}

let began = 0;

function startProcess(argv: string[], pid: number): void {
  processGlobal.argv = argv;
  processGlobal.pid = pid;
  began = host.now();
}

host.startProcess = startProcess;

const globals = {
  TextEncoder: Encoder,
  TextDecoder: Decoder,
  btoa,
  process: processGlobal,
  performance: {
    now: () => host.now() - began,
    get timeOrigin() {
      return Date.now() - (host.now() - began);
    },
  },
};

for (const [name, value] of Object.entries(globals)) {
  Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
}
for (const name of ["dispose", "asyncDispose"]) {
  // What the bundler writes for `using` falls back to these.
  Object.defineProperty(Symbol, name, { value: Symbol.for(`Symbol.${name}`) });
}
