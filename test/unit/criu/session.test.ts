import { afterEach, describe, expect, test } from "vitest";
import { type CriuResponse, REQUEST, RESPONSE, TYPE } from "../../../src/criu/messages.ts";
import { decode, encode } from "../../../src/criu/protobuf.ts";
import { callCriu, type Notice } from "../../../src/criu/session.ts";
import { closeQuiet } from "../../../src/sys/file.ts";
import { pipe, recvData, sendMsg, socketpair } from "../../../src/sys/socket.ts";

const open: number[] = [];
afterEach(() => {
  for (const fd of open.splice(0)) closeQuiet(fd);
});

/** A criu that has written all it will say before it is asked. */
function scripted(answers: readonly CriuResponse[], fds: readonly number[] = []) {
  const [ours, theirs] = socketpair();
  open.push(ours, theirs);
  answers.forEach((answer, i) => {
    sendMsg(theirs, encode(RESPONSE, answer), i === 0 ? fds : []);
  });
  return { ours, theirs, heard: () => decode(REQUEST, recvData(theirs)) };
}

const REQUESTED = { type: TYPE.RESTORE, options: { imagesDirFd: 3 } };
const DONE = { type: TYPE.RESTORE, success: true, restore: { pid: 7 } };
const notice = (script: string, pid = 0) => ({ type: TYPE.NOTIFY, success: true, notify: { script, pid } });

describe("criu/session", () => {
  test("criu is answered at every point it reports, and its last word is returned", () => {
    const criu = scripted([notice("setup-namespaces", 7), notice("post-restore", 7), DONE]);
    const heard: string[] = [];
    expect(callCriu(criu.ours, REQUESTED, ({ script, pid }) => heard.push(`${script} ${pid}`))).toMatchObject(DONE);
    expect(heard).toEqual(["setup-namespaces 7", "post-restore 7"]);
    expect(criu.heard()).toEqual(REQUESTED);
    expect(criu.heard()).toEqual({ type: TYPE.NOTIFY, notifySuccess: true });
    expect(criu.heard()).toEqual({ type: TYPE.NOTIFY, notifySuccess: true });
  });

  test("descriptors come along", () => {
    const [readEnd, writeEnd] = pipe();
    open.push(readEnd, writeEnd);
    const criu = scripted([notice("orphan-pts-master"), DONE], [writeEnd]);
    const received: Notice["fds"][] = [];
    callCriu(criu.ours, REQUESTED, ({ fds }) => received.push(fds));
    expect(received[0]).toHaveLength(1);
    open.push(...(received[0] ?? []));
  });

  test("what fails at a point makes criu give up, and is what the caller hears of", () => {
    const criu = scripted([notice("setup-namespaces"), { type: TYPE.RESTORE, success: false }]);
    expect(() =>
      callCriu(criu.ours, REQUESTED, () => {
        throw new Error("a hook failed");
      }),
    ).toThrow("a hook failed");
    criu.heard();
    expect(criu.heard()).toEqual({ type: TYPE.NOTIFY, notifySuccess: false });
  });

  test("a criu that ends without an answer is told from one that says no", () => {
    const no = scripted([{ type: TYPE.DUMP, success: false }]);
    expect(callCriu(no.ours, REQUESTED, () => {})).toMatchObject({ success: false });
    const dies = scripted([notice("pre-dump")]);
    expect(callCriu(dies.ours, REQUESTED, () => closeQuiet(open.splice(open.indexOf(dies.theirs), 1)[0]))).toBe(
      undefined,
    );
  });

  test("a criu that says nothing is told of, again and again, and its end is an end", () => {
    const { ours, theirs } = scripted([notice("setup-namespaces", 7)]);
    let silences = 0;
    const act = () => {
      silences++;
      if (silences === 3) closeQuiet(open.splice(open.indexOf(theirs), 1)[0]);
    };
    expect(callCriu(ours, REQUESTED, () => {}, { afterMs: 5, act })).toBeUndefined();
    expect(silences).toBe(3);
  });
});
