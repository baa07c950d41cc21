/** --log journald: reaches whoever listens where journald does, and says so when nobody listens. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { describe, expect } from "vitest";
import { closeQuiet } from "../../../src/sys/file.ts";
import { recvData, unixReceive } from "../../../src/sys/socket.ts";
import { needs } from "../../helpers/needs.ts";
import { newId, run, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const SOCKET = "/run/systemd/journal/socket";
const own = needs({ root: true, tsrun: true });
const failing = (...flags: string[]) => run(["--root", scratch("root"), ...flags, "state", "nothing"]);

describe("the journal", () => {
  own("has the error that standard error has, with priority and identifier", async () => {
    const identifier = newId("log");
    if (existsSync(SOCKET)) {
      expect(failing("--log", `journald:${identifier}`).code).toBe(1);
      const journal = () => spawnSync("journalctl", ["-t", identifier, "-p", "err", "-o", "cat"], { encoding: "utf8" });
      await until(() => journal().stdout.includes("container nothing does not exist"), "the journal has the error");
      return;
    }
    mkdirSync(dirname(SOCKET), { recursive: true });
    const socket = unixReceive(SOCKET);
    try {
      const { code, stderr } = failing("--log", `journald:${identifier}`);
      expect(code).toBe(1);
      expect(stderr).toContain("container nothing does not exist");
      const fields = new TextDecoder().decode(recvData(socket, 65536)).split("\n");
      expect(fields[0]).toMatch(/^MESSAGE=.*container nothing does not exist/);
      expect(fields).toContain("PRIORITY=3");
      expect(fields).toContain(`SYSLOG_IDENTIFIER=${identifier}`);
      failing("--systemd-log");
      expect(new TextDecoder().decode(recvData(socket, 65536))).toContain("SYSLOG_IDENTIFIER=tsrun\n");
    } finally {
      closeQuiet(socket);
    }
    // Its file is there, and nobody listens: as while the daemon is restarted.
    const list = run(["--root", scratch("root"), "--log", "journald:x", "list", "-q"]);
    expect(list).toMatchObject({ code: 0, stdout: "", stderr: expect.stringContaining(`${SOCKET}: ECONNREFUSED`) });
    rmSync(SOCKET);
    const { code, stderr } = failing("--log", "journald:x");
    expect(code).toBe(1);
    expect(stderr).toContain(`write the log to ${SOCKET}: ENOENT`);
    expect(stderr).toContain("is systemd-journald running?");
  });
});
