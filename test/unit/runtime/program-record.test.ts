import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, test, vi } from "vitest";
import { SyscallError } from "../../../src/errors.ts";
import { endProgram, programRecord } from "../../../src/runtime/program-record.ts";
import { pidfdSendSignal } from "../../../src/sys/process.ts";

vi.mock("../../../src/sys/process.ts", async (original) => {
  const real = await original<typeof import("../../../src/sys/process.ts")>();
  return { ...real, pidfdSendSignal: vi.fn(real.pidfdSendSignal) };
});

test("a program that ends just before it is ended has ended", async () => {
  const child = spawn("sleep", ["60"]);
  await once(child, "spawn");
  const record = programRecord("sleep", child.pid as number);
  // As of one that was waited for between the look at it and the signal.
  vi.mocked(pidfdSendSignal).mockImplementationOnce(() => {
    child.kill("SIGKILL");
    throw new SyscallError("pidfd_send_signal", "ESRCH");
  });
  expect(() => endProgram(record)).not.toThrow();
  endProgram(record);
});
