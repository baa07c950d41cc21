import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { multiplexed, syscalls } from "../../../src/seccomp/syscalls.ts";

const HEADERS = "/usr/include/x86_64-linux-gnu/asm";
const isX86 = existsSync(`${HEADERS}/unistd_64.h`);

describe("seccomp/syscalls", () => {
  test("some numbers that everybody knows", () => {
    const table = (name: "x86_64" | "i386" | "x32" | "aarch64" | "arm") => new Map(syscalls(name));
    expect(table("x86_64").get("execve")).toBe(59);
    expect(table("i386").get("execve")).toBe(11);
    expect(table("x32").get("execve")).toBe(520);
    expect(table("x32").get("read")).toBe(0);
    expect(table("aarch64").get("execve")).toBe(221);
    expect(table("arm").get("execve")).toBe(11);
    expect(table("arm").get("set_tls")).toBe(0xf0005);
    for (const name of ["x86_64", "i386", "x32", "aarch64", "arm"] as const) {
      expect(table(name).get("openat2")).toBe(437);
      expect(table(name).get("rseq_slice_yield")).toBe(471);
    }
    expect(table("x86_64").get("uretprobe")).toBe(335);
    expect(table("x32").has("uretprobe")).toBe(false);
  });

  test.each(["x86_64", "i386", "x32", "aarch64", "arm"] as const)(
    "%s: numbers rise and no name comes twice",
    (name) => {
      const all = [...syscalls(name)];
      for (let i = 1; i < all.length; i++) expect(all[i]?.[1]).toBeGreaterThan(all[i - 1]?.[1] ?? -1);
      expect(new Set(all.map(([word]) => word)).size).toBe(all.length);
      for (const [word] of all) expect(word).toMatch(/^[a-z_][a-z0-9_]*$/);
    },
  );

  test.skipIf(!isX86).each([
    ["x86_64", "unistd_64.h"],
    ["i386", "unistd_32.h"],
    ["x32", "unistd_x32.h"],
  ] as const)("%s has every number of the kernel header %s", (name, file) => {
    const ours = new Map(syscalls(name));
    const header = readFileSync(`${HEADERS}/${file}`, "utf8");
    const lines = [...header.matchAll(/^#define __NR_(\w+) (?:\(__X32_SYSCALL_BIT \+ )?(\d+)\)?$/gm)];
    expect(lines.length).toBeGreaterThan(300);
    const differing = lines.filter(([, word = "", number]) => ours.get(word) !== Number(number));
    expect(differing.map(([line]) => line)).toEqual([]);
  });

  test("what socketcall and ipc carry", () => {
    const { socketcall, ipc } = multiplexed();
    expect(socketcall.slice(0, 3)).toEqual(["1", "socket", "bind"]);
    expect(ipc.slice(-3)).toEqual(["shmdt", "shmget", "shmctl"]);
  });
});
