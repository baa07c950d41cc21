/** RLIMIT_NPROC of config.json: it is the user's, for all of whose processes, and setuid(2) and execve(2) look at it. */
import { spawn as nodeSpawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type Bundle, type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import { expectNothingLeft, inventory, type Leftovers, run, runBundle, runOk } from "../helpers/runtime.ts";

const root = needs({ root: true });
const own = needs({ root: true, tsrun: true });

/** Users who run nothing else here: one with processes outside of the container, one without. */
const BUSY = 61_234;
const IDLE = 61_235;

let before: Leftovers;
const others: ReturnType<typeof nodeSpawn>[] = [];
beforeAll(() => {
  before = inventory();
  for (let i = 0; i < 3; i++) others.push(nodeSpawn("sleep", ["3600"], { uid: BUSY, gid: BUSY, stdio: "ignore" }));
});
afterAll(() => {
  for (const other of others) other.kill("SIGKILL");
  expectNothingLeft(before);
});

function limitedTo(processes: number, uid: number, script: string, edit?: (spec: FullSpec) => void): Bundle {
  return makeBundle({
    args: ["sh", "-c", script],
    edit: (spec) => {
      spec.process.rlimits = [{ type: "RLIMIT_NPROC", soft: processes, hard: processes }];
      spec.process.user = { uid, gid: uid };
      edit?.(spec);
    },
  });
}

function inUserNamespace(spec: FullSpec): void {
  spec.linux.namespaces?.push({ type: "user" });
  spec.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
  spec.linux.gidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
}

describe("RLIMIT_NPROC", () => {
  const forks = "echo began; /bin/busybox true && echo forked";

  root("holds a user to as many processes, and begins with the container's own", () => {
    for (const [processes, stdout] of [
      [0, "began\n"],
      [1, "began\n"],
      [2, "began\nforked\n"],
    ] as const) {
      expect(runBundle(limitedTo(processes, IDLE, forks)).stdout, `${processes}`).toBe(stdout);
    }
  });

  root("does not hold root, of whom the kernel asks nothing", () => {
    expect(runBundle(limitedTo(0, 0, forks)).stdout).toBe("began\nforked\n");
  });

  root("holds root of a user namespace, whose processes are counted there", () => {
    expect(runBundle(limitedTo(1, 0, forks, inUserNamespace)).stdout).toBe("began\n");
    expect(runBundle(limitedTo(2, 0, forks, inUserNamespace)).stdout).toBe("began\nforked\n");
    expect(runBundle(limitedTo(2, BUSY, forks, inUserNamespace)).stdout).toBe("began\nforked\n");
  });

  own("of a user who has more elsewhere: execve(2) is refused, which is said with the reason, by exec, too", () => {
    const says = /: exec "sh": EAGAIN \(Resource temporarily unavailable\)\n {2}fix: is RLIMIT_NPROC reached\?/;
    const { code, stdout, stderr } = runBundle(limitedTo(2, BUSY, forks));
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(says);
    const { id } = startContainer(limitedTo(2, 0, "exec sleep 3600"));
    const refused = run(["exec", "--user", String(BUSY), id, "sh", "-c", forks]);
    expect(refused).toMatchObject({ code: 255, stdout: "", stderr: expect.stringMatching(says) });
    expect(runOk(["exec", "--user", String(IDLE), id, "sh", "-c", forks])).toBe("began\nforked\n");
    runOk(["delete", "--force", id]);
  });
});
