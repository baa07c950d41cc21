import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { isErrno } from "../../../src/errors.ts";
import { StdioPipes } from "../../../src/io/stdio.ts";
import { waitid } from "../../../src/sys/process.ts";
import { posixSpawn } from "../../../src/sys/spawn.ts";

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function start(script: string, pipes: StdioPipes): number {
  const fds = pipes.child.map((from, to) => ({ from, to }));
  const pid = posixSpawn({ path: "/bin/sh", argv: ["sh", "-c", script], envp: ["PATH=/bin:/usr/bin"], fds });
  pipes.closeChild();
  return pid;
}

export const checks = {
  "input goes in, and both outputs come out apart": () => {
    using pipes = new StdioPipes();
    const pid = start("cat; echo error >&2", pipes);
    pipes.giveInput("given\n");
    const { stdout, stderr } = pipes.collect();
    assert.equal(text(stdout), "given\n");
    assert.equal(text(stderr), "error\n");
    assert.equal(waitid({ pid }).exitCode, 0);
  },

  "much of both outputs at once blocks nobody": () => {
    using pipes = new StdioPipes();
    const script =
      "i=0; while [ $i -lt 40 ]; do head -c 10000 /dev/zero; head -c 10000 /dev/zero >&2; i=$((i+1)); done";
    const pid = start(script, pipes);
    const { stdout, stderr } = pipes.collect();
    assert.deepEqual([stdout.length, stderr.length], [400_000, 400_000]);
    assert.equal(waitid({ pid }).exitCode, 0);
  },

  "a program that reads nothing gives EPIPE, not a signal": () => {
    using pipes = new StdioPipes();
    waitid({ pid: start("exec 0<&-", pipes) });
    assert.throws(
      () => pipes.giveInput("x"),
      (error: unknown) => isErrno(error, "EPIPE"),
    );
  },

  "no descriptor is left, whatever was closed before": () => {
    const before = readdirSync("/proc/self/fd").length;
    {
      using pipes = new StdioPipes();
      waitid({ pid: start("echo x", pipes) });
      assert.equal(text(pipes.collect().stdout), "x\n");
      assert.equal(pipes.collect().stdout.length, 0);
    }
    {
      using _unused = new StdioPipes();
    }
    assert.equal(readdirSync("/proc/self/fd").length, before);
  },
};
