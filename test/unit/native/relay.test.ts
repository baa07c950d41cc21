/** The child that waits for descriptors in the place of a program's event loop. */
import { spawn, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterEach, describe, expect, test } from "vitest";
import { waitForAny } from "../../../src/init/relay.ts";
import { POLLIN } from "../../../src/sys/constants.ts";
import { closeQuiet, read, write } from "../../../src/sys/file.ts";
import { pipe } from "../../../src/sys/socket.ts";
import { initBinary } from "../../helpers/native.ts";

const opened: number[] = [];
afterEach(() => {
  for (const fd of opened.splice(0)) closeQuiet(fd);
});

function newPipe(): { end: { fd: number; events: number }; say(): void; hear(): void } {
  const [readEnd, writeEnd] = pipe();
  opened.push(readEnd, writeEnd);
  const byte = new Uint8Array(1);
  return {
    end: { fd: readEnd, events: POLLIN },
    say: () => write(writeEnd, byte),
    hear: () => void read(readEnd, byte),
  };
}

describe("native/relay", () => {
  test("it tells which descriptors are ready, and again for as long as they are", async () => {
    const [a, b] = [newPipe(), newPipe()];
    const watched = [a.end, b.end];
    const waiting = waitForAny(undefined);
    b.say();
    expect(await waiting.next(watched, -1)).toEqual([0, POLLIN]);
    expect(await waiting.next(watched, -1)).toEqual([0, POLLIN]);
    b.hear();
    a.say();
    expect(await waiting.next(watched, -1)).toEqual([POLLIN, 0]);
    b.say();
    expect(await waiting.next(watched, -1)).toEqual([POLLIN, POLLIN]);
    waiting.end();
  });

  test("when the time is over nothing has happened, and what comes later is not lost", async () => {
    const a = newPipe();
    const waiting = waitForAny(undefined);
    expect(await waiting.next([a.end], 0)).toEqual([0]);
    expect(await waiting.next([a.end], 20)).toEqual([0]);
    a.say();
    expect(await waiting.next([a.end], -1)).toEqual([POLLIN]);
    waiting.end();
  });

  test("other descriptors, though of the same numbers, are waited for anew", async () => {
    const a = newPipe();
    const waiting = waitForAny(undefined);
    expect(await waiting.next([a.end], 20)).toEqual([0]);
    for (const fd of opened.splice(0)) closeQuiet(fd);
    const b = newPipe();
    expect(b.end).toEqual(a.end);
    b.say();
    expect(await waiting.next([b.end], -1)).toEqual([POLLIN]);
    waiting.end();
  });

  test("a signal ends the wait", async () => {
    const abort = new AbortController();
    const waiting = waitForAny(abort.signal);
    const next = waiting.next([newPipe().end], -1);
    setImmediate(() => abort.abort());
    expect(await next).toBeUndefined();
    waiting.end();
  });

  test("it ends with the program, whatever signals the terminal sends", async () => {
    const a = newPipe();
    const stdio = ["pipe", "pipe", "inherit", a.end.fd] as const;
    const child = spawn(initBinary(), [String(POLLIN)], { argv0: "tsrun-relay", stdio: [...stdio] });
    const ended = new Promise((resolve) => child.on("exit", resolve));
    a.say();
    await new Promise((resolve) => child.stdout?.once("data", resolve));
    const ignored = /^SigBlk:\s*(\w+)/m.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"))?.[1];
    expect(BigInt(`0x${ignored}`) & 2n).toBe(2n);
    child.stdin?.end();
    expect(await ended).toBe(0);
  });

  test("what it cannot read it refuses", () => {
    const refused = (...args: string[]) => spawnSync(initBinary(), args, { argv0: "tsrun-relay", input: "" }).status;
    expect(refused("x")).toBe(2);
    expect(refused(...Array.from({ length: 257 }, () => "1"))).toBe(2);
  });
});
