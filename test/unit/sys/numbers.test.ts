import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type SYS, TABLES } from "../../../src/sys/numbers.ts";

const HEADERS = {
  x64: ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"],
  arm64: ["/usr/include/asm-generic/unistd.h"],
};

describe("sys/numbers", () => {
  for (const machine of ["x64", "arm64"] as const) {
    const header = HEADERS[machine].find((path) => existsSync(path));
    test.skipIf(header === undefined)(`the numbers of ${machine} are those of the kernel's header`, () => {
      const text = readFileSync(header as string, "utf8");
      const known = new Map<string, number>();
      // asm-generic calls those with a 32-bit variant __NR3264_.
      for (const [, name, number] of text.matchAll(/^#define __NR(?:3264)?_(\w+)\s+(\d+)\s*$/gm)) {
        if (name !== undefined) known.set(name, Number(number));
      }
      for (const [name, number] of Object.entries(TABLES[machine])) {
        // A header may be older than a call; from 424 on, numbers are the same everywhere.
        if (known.has(name) || number < 424) expect([name, number]).toEqual([name, known.get(name)]);
      }
    });
  }

  test("calls from 424 on have one number on every machine", () => {
    for (const [name, number] of Object.entries(TABLES.x64)) {
      if (number >= 424) expect([name, TABLES.arm64[name as keyof typeof SYS]]).toEqual([name, number]);
    }
  });
});
