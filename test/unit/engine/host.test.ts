/** The engine that dist/tsrun carries (native/engine): what its host functions and its globals do. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hasSmallEngine, inSmallEngine } from "../../helpers/small-engine.ts";

function lines(body: string, imports = ""): string[] {
  const { stdout, stderr, status } = inSmallEngine(body, imports);
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return stdout.trimEnd().split("\n");
}

describe.skipIf(!hasSmallEngine)("the small engine (needs build/engine)", () => {
  test("text becomes the same bytes as in Node, halves of surrogate pairs too", () => {
    const texts = [
      "",
      "grüße",
      "\0",
      "\ud83d\ude00",
      "\ud83d",
      "a\udc00b",
      "\ufeffx",
      ...fc.sample(fc.string({ unit: "binary" }), { numRuns: 200, seed: 1 }),
    ];
    const printed = lines(
      `for (const text of ${JSON.stringify(texts)}) print([...new TextEncoder().encode(text)].join());`,
    );
    const encoder = new TextEncoder();
    expect(printed).toEqual(texts.map((text) => [...encoder.encode(text)].join()));
  });

  test("bytes become the same text as in Node, whatever they are", () => {
    const hostile = [
      [],
      [0xff],
      [0xc0, 0x80],
      [0xed, 0xa0, 0x80],
      [0xe0, 0x9f, 0x80],
      [0xf0, 0x8f, 0x80, 0x80],
      [0xf4, 0x90, 0x80, 0x80],
      [0xf0, 0x9f, 0x98],
      [0xe2, 0x82, 0x41],
      [0xef, 0xbb, 0xbf, 0x41],
      [0x41, 0, 0x42],
    ];
    const random = fc.sample(fc.uint8Array({ maxLength: 24 }), { numRuns: 300, seed: 2 }).map((bytes) => [...bytes]);
    const high = fc.sample(fc.array(fc.integer({ min: 0x7f, max: 0xff }), { maxLength: 12 }), {
      numRuns: 300,
      seed: 3,
    });
    const all = [...hostile, ...random, ...high];
    const printed = lines(
      `for (const bytes of ${JSON.stringify(all)})
         print(JSON.stringify([...new TextDecoder().decode(Uint8Array.from(bytes))].map((c) => c.codePointAt(0))));`,
    );
    const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
    const expected = all.map((bytes) =>
      JSON.stringify([...decoder.decode(Uint8Array.from(bytes))].map((character) => character.codePointAt(0))),
    );
    expect(printed).toEqual(expected);
  });

  test("a system call gives its result or -errno, and takes 64-bit numbers", () => {
    const printed = lines(
      `print(String(syscall(SYS.close, -1)));
       const fd = syscall(SYS.memfd_create, cString("large", "memfd_create"), 0);
       print(String(syscall(SYS.ftruncate, fd, 2 ** 40 + 1)));
       print(String(syscall(SYS.lseek, fd, 0, 2)));
       print(String(syscall(SYS.lseek, fd, -1n, 2)));
       print(String(syscall(SYS.lseek, fd, 0xffffffffffffffffn, 0)));`,
      `import { syscall } from "src/sys/ffi.ts"; import { SYS } from "src/sys/numbers.ts";
       import { cString } from "src/sys/call.ts";`,
    );
    expect(printed).toEqual(["-9", "0", String(2 ** 40 + 1), String(2 ** 40), "-22"]);
  });

  test("memory that a view shows is where its address says, also of a part of a buffer", () => {
    const printed = lines(
      `const [read, write] = pipe();
       const bytes = Uint8Array.of(1, 2, 3, 4, 5, 6);
       syscall(SYS.write, write, bytes.subarray(2, 5), 3);
       const got = new Uint8Array(8);
       print(syscall(SYS.read, read, got.subarray(4), 4) + ":" + got.join());`,
      `import { syscall } from "src/sys/ffi.ts"; import { SYS } from "src/sys/numbers.ts";
       function pipe() { const fds = new Uint8Array(8); syscall(SYS.pipe2, fds, 0);
         const view = new DataView(fds.buffer); return [view.getInt32(0, true), view.getInt32(4, true)]; }`,
    );
    expect(printed).toEqual(["3:0,0,0,0,3,4,5,0"]);
  });

  test("programs are spawned, with descriptors and a working directory, and waited for", () => {
    const printed = lines(
      `const pid = posixSpawn({ path: "/bin/sh", argv: ["sh", "-c", "pwd; echo $A; exit 7"], envp: ["A=b"], cwd: "/usr" });
       print("ended with " + waitid({ pid }).exitCode);`,
      'import { posixSpawn } from "src/sys/spawn.ts"; import { waitid } from "src/sys/process.ts";',
    );
    expect(printed).toEqual(["/usr", "b", "ended with 7"]);
  });

  test("the environment, the pid and the current directory are the process's", () => {
    const printed = lines(
      `print(JSON.stringify([process.env.EQUALS, process.env.EMPTY, process.env.NONE, "HOME" in process.env]));
       print(String(process.pid)); print(process.cwd()); print(typeof process.arch);
       print(JSON.stringify({ ...process.env }));
       process.env.NEW = "n"; delete process.env.HOME; print(Object.keys(process.env).sort().join());`,
    );
    expect(JSON.parse(printed[0] ?? "")).toEqual(["a=b", "", null, true]);
    expect(JSON.parse(printed[4] ?? "")).toEqual({ HOME: "/root", EMPTY: "", EQUALS: "a=b" });
    expect(printed[5]).toBe("EMPTY,EQUALS,NEW");
    expect(printed[1]).toBe("42");
    expect(printed[2]).toMatch(/\/modules$/);
    expect(printed[3]).toBe("string");
  });

  test("base64 is read and written as everywhere", () => {
    const samples = fc.sample(fc.uint8Array({ maxLength: 40 }), { numRuns: 60, seed: 4 });
    const texts = samples.map((bytes) => Buffer.from(bytes).toString("base64"));
    const printed = lines(
      `for (const text of ${JSON.stringify(texts)}) {
         const bytes = base64Bytes(text);
         print(bytes.join() + " " + btoa(String.fromCharCode(...bytes)));
       }`,
      'import { base64Bytes } from "src/sys/call.ts";',
    );
    expect(printed).toEqual(samples.map((bytes, i) => `${bytes.join()} ${texts[i]}`));
  });

  test("to wait takes as long as it was told, and a resource is given back at the end of its block", () => {
    const printed = lines(
      `const before = performance.now();
       sleepMs(30);
       print(String(performance.now() - before >= 29));
       { using held = { [Symbol.dispose]() { print("given back"); } }; print("held"); }
       print(String(Math.abs(performance.timeOrigin + performance.now() - Date.now()) < 1000));`,
      'import { sleepMs } from "src/sys/wait.ts";',
    );
    expect(printed).toEqual(["true", "held", "given back", "true"]);
  });

  test("memory is given back and taken again: a gigabyte passes through a small arena", () => {
    const printed = lines(
      `let sum = 0;
       for (let i = 0; i < 1000; i++) { const part = new Uint8Array(1 << 20); part[i] = 1; sum += part.length; }
       const texts = [];
       for (let i = 0; i < 20000; i++) { texts.push("text " + i); if (texts.length > 100) texts.shift(); }
       let grown = "";
       for (let i = 0; i < 5000; i++) grown += String.fromCharCode(65 + (i % 26));
       print(sum + " " + texts[0] + " " + grown.length);`,
    );
    expect(printed).toEqual([`${1000 * (1 << 20)} text 19900 5000`]);
  });

  test("a recursion without end, and more memory than there may be, are errors that can be caught", () => {
    const printed = lines(
      `function deep(n) { return deep(n + 1) + 1; }
       try { deep(0); print("no end"); } catch (error) { print("caught " + (error instanceof Error)); }
       try { JSON.parse("[".repeat(1e6)); print("no end"); } catch (error) { print("caught " + (error instanceof Error)); }
       try { new Uint8Array(8 * 2 ** 30); print("granted"); } catch (error) { print("caught " + (error instanceof Error)); }`,
    );
    expect(printed).toEqual(["caught true", "caught true", "caught true"]);
  });

  test("what nobody catches while the program is built ends the build", () => {
    for (const body of ['throw new Error("top");', 'Promise.reject(new Error("later")); throw new Error("top");']) {
      const { stderr, status } = inSmallEngine(body);
      expect(status).toBe(1);
      expect(stderr).toContain("top");
    }
  });
});
