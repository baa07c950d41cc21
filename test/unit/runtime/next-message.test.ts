/** Waiting for an init that somebody stops, as a process of a pid namespace that it joins can. */
import { readFileSync } from "node:fs";
import { afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { SyncSocket } from "../../../src/init/sync.ts";
import { nextMessage } from "../../../src/runtime/next-message.ts";
import { closeQuiet, memfdCreate, write } from "../../../src/sys/file.ts";
import { waitid } from "../../../src/sys/process.ts";
import { socketpair } from "../../../src/sys/socket.ts";
import { posixSpawn } from "../../../src/sys/spawn.ts";
import { until } from "../../helpers/monitor.ts";
import { initBinary, wire } from "../../helpers/native.ts";

let pid: number;
let sync: SyncSocket;

const held = () => {
  throw new Error("it holds who waits for it");
};

beforeAll(() => void initBinary(), 60_000);

beforeEach(async () => {
  const [ours, theirs] = socketpair();
  const plan = memfdCreate("test-plan");
  write(
    plan,
    wire([
      ["await", 1],
      ["await", 2],
    ]),
  );
  const argv = ["tsrun-init", "90", "91"];
  const fds = [
    { from: theirs, to: 90 },
    { from: plan, to: 91 },
  ];
  pid = posixSpawn({ path: initBinary(), argv, envp: [], fds });
  for (const fd of [theirs, plan]) closeQuiet(fd);
  sync = new SyncSocket(ours);
  expect(nextMessage(sync, { pid, stops: 0 }, held)).toMatchObject({ type: "await", tag: 1 });
  process.kill(pid, "SIGSTOP");
  await until(() => /\) T/.test(readFileSync(`/proc/${pid}/stat`, "utf8")));
  sync.answer();
});

afterEach(() => {
  sync[Symbol.dispose]();
  process.kill(pid, "SIGKILL");
  waitid({ pid });
});

describe("runtime/next-message", () => {
  test("who was stopped is let go on", () => {
    let silences = 0;
    const speaker = { pid, stops: 0 };
    const message = nextMessage(sync, speaker, () => ++silences > 3 && held());
    expect(message).toMatchObject({ type: "await", tag: 2 });
    expect(speaker.stops).toBe(1);
  });

  test("who is stopped ever again holds nobody for ever", () => {
    expect(() => nextMessage(sync, { pid, stops: 10 }, held)).toThrow("stopped again and again (SIGSTOP)");
  });
});
