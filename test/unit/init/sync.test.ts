import { describe, expect, test } from "vitest";
import { SyncSocket } from "../../../src/init/sync.ts";
import { MESSAGE } from "../../../src/plan/step.ts";
import { closeQuiet } from "../../../src/sys/file.ts";
import { sendMsg, socketpair } from "../../../src/sys/socket.ts";

const message = (...values: number[]) => new Uint8Array(Int32Array.from(values).buffer);

describe("init/sync", () => {
  test("an init that has died before it read the answer has ended, as one that died after", () => {
    const [ours, theirs] = socketpair();
    using sync = new SyncSocket(ours);
    sendMsg(theirs, message(MESSAGE.AWAIT, 7, 2, 0));
    expect(sync.next()).toEqual({ type: "await", tag: 2, step: 7 });
    sync.answer();
    // With the answer unread: the kernel resets the connection.
    closeQuiet(theirs);
    expect(sync.next()).toEqual({ type: "eof" });
    expect(sync.next()).toEqual({ type: "eof" });
  });
});
