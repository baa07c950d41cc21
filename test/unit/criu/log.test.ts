import { describe, expect, test } from "vitest";
import { lastErrors } from "../../../src/criu/log.ts";

describe("criu/log", () => {
  test("of a log the last errors are told, without time and place", () => {
    const log = `(00.000100) Version: 3.17.1
(00.003928) Error (criu/a.c:1): zero
(00.003928) Error (criu/files-reg.c:1710): Can't lookup mount=163 for fd=1
(00.003929) Error (criu/cr-dump.c:1635):      18: Dump files failed
(00.345192)      1: Error (criu/files.c:1213): Unable to open fd=1 id=0x3
(00.317902) Writing stats
`;
    expect(lastErrors(log)).toEqual([
      "Can't lookup mount=163 for fd=1",
      "18: Dump files failed",
      "Unable to open fd=1 id=0x3",
    ]);
  });

  test("errors that come with every failure are told only where there are no others", () => {
    const beside = `(00.1) Error (criu/util.c:1): rlimit: Can't setup RLIMIT_NOFILE for self: Operation not permitted
(00.4) Error (criu/cr-restore.c:1): Restoring FAILED.
(00.5) Error (criu/cgroup.c:1): cg: cgroupd: recv req error: No such file or directory
`;
    expect(lastErrors(`${beside}(00.2) Error (criu/tty.c:1): tty: No task found with sid 0\n`)).toEqual([
      "tty: No task found with sid 0",
    ]);
    expect(lastErrors(beside)).toEqual(["cg: cgroupd: recv req error: No such file or directory"]);
  });

  test("a log without an error gives its last line, an empty one nothing", () => {
    expect(lastErrors("(00.1) one\n(00.2) two\n")).toEqual(["two"]);
    expect(lastErrors("\n")).toEqual([]);
  });
});
