import { expect, test } from "vitest";
import { SyncSocket } from "../../../src/init/sync.ts";
import { MESSAGE } from "../../../src/plan/step.ts";
import { closeQuiet } from "../../../src/sys/file.ts";
import { sendMsg, socketpair } from "../../../src/sys/socket.ts";

const CLONE_STEP = 3;

/** The messages a runtime hears when the init sends these, `{type, step, value}`. */
function heard(sent: [number, number, number][], cloneStep = CLONE_STEP) {
  const [ours, theirs] = socketpair();
  using sync = new SyncSocket(ours, cloneStep);
  for (const [type, step, value] of sent)
    sendMsg(theirs, new Uint8Array(new Int32Array([type, step, value, 0]).buffer));
  closeQuiet(theirs);
  const messages: unknown[] = [];
  for (;;) {
    const message = sync.next();
    messages.push(message);
    if (message.type === "eof") return messages;
  }
}

test("the pid comes first, though the new process may speak before the old one", () => {
  expect(
    heard([
      [MESSAGE.AWAIT, 5, 1],
      [MESSAGE.PID, CLONE_STEP, 42],
      [MESSAGE.AWAIT, 9, 2],
    ]),
  ).toEqual([
    { type: "pid", pid: 42 },
    { type: "await", tag: 1, step: 5 },
    { type: "await", tag: 2, step: 9 },
    { type: "eof" },
  ]);
});

test("a failure before the clone is told at once: no pid will come", () => {
  expect(heard([[MESSAGE.FAIL, CLONE_STEP, 11]])).toEqual([{ type: "fail", step: 3, code: "EAGAIN" }, { type: "eof" }]);
});

test("a failure after the clone waits for the pid, so that the process can be collected", () => {
  const messages = heard([
    [MESSAGE.FAIL, CLONE_STEP + 1, 2],
    [MESSAGE.PID, CLONE_STEP, 42],
  ]);
  expect(messages).toEqual([{ type: "pid", pid: 42 }, { type: "fail", step: 4, code: "ENOENT" }, { type: "eof" }]);
});

test("on the socket of start there is no pid to wait for", () => {
  expect(heard([[MESSAGE.FAIL, 80, 8]], -1)).toEqual([{ type: "fail", step: 80, code: "ENOEXEC" }, { type: "eof" }]);
});
