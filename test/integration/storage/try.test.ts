/** `try`: nothing of what a command writes is in the tree, until it is applied. */
import { spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { basename, join } from "node:path";
import { beforeEach, expect, test } from "vitest";
import { O_DIRECTORY, O_PATH } from "../../../src/sys/constants.ts";
import { Fd, open } from "../../../src/sys/file.ts";
import { listXattrsAt, setXattrAt } from "../../../src/sys/xattr.ts";
import { busyboxRootfs } from "../../helpers/bundle.ts";
import { describeNeeds, missing } from "../../helpers/needs.ts";
import { hostMounts, RUNTIME, run, runOk, stateOf, until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const WANTED = { root: true, tsrun: true, kernel: [6, 8] } as const;

let base: string;
let store: string;

beforeEach(() => {
  if (missing(WANTED) !== undefined) return;
  base = scratch("base");
  store = scratch("store");
  busyboxRootfs(base);
  writeFileSync(join(base, "etc/a"), "a\n");
  writeFileSync(join(base, "etc/b"), "b\n");
  mkdirSync(join(base, "etc/d"));
  writeFileSync(join(base, "etc/d/1"), "1\n");
});

const tryOver = (...args: string[]) => run(["try", "--base", base, "--store", store, ...args]);
const CHANGE =
  "echo A > /etc/a; rm -r /etc/b /etc/d; mkdir /etc/d; echo 2 > /etc/d/2; ln /etc/d/2 /etc/d/3; chown 7:8 /etc/d; chmod 4755 /etc/d/2; ln -s a /etc/link";
const CHANGES = "C /etc\nC /etc/a\nD /etc/b\nC /etc/d\nD /etc/d/1\nA /etc/d/2\nA /etc/d/3\nA /etc/link\n";

describeNeeds(WANTED)("try", () => {
  test("shows what a command changed, has its exit code, and leaves nothing behind", () => {
    const before = hostMounts();
    const result = tryOver("--diff", "--", "/bin/sh", "-c", `${CHANGE}; exit 3`);
    expect([result.stdout, result.stderr, result.code]).toEqual([CHANGES, "", 3]);
    expect(readFileSync(join(base, "etc/a"), "utf8")).toBe("a\n");
    expect(readdirSync(join(base, "etc/d"))).toEqual(["1"]);
    expect(readdirSync(join(store, "try"))).toEqual([]);
    expect(hostMounts()).toEqual(before);
  });

  test("applies the changes, and only those, when the command succeeds", () => {
    const inode = statSync(join(base, "bin/busybox")).ino;
    const result = tryOver("--apply", "--", "/bin/sh", "-c", CHANGE);
    expect([result.stderr, result.code]).toEqual(["applied 8 changes\n", 0]);
    expect(readFileSync(join(base, "etc/a"), "utf8")).toBe("A\n");
    expect(existsSync(join(base, "etc/b"))).toBe(false);
    expect(readdirSync(join(base, "etc/d")).sort()).toEqual(["2", "3"]);
    expect(statSync(join(base, "etc/d/2")).ino).toBe(statSync(join(base, "etc/d/3")).ino);
    expect(statSync(join(base, "etc/d/2")).mode & 0o7777).toBe(0o4755);
    expect([statSync(join(base, "etc/d")).uid, statSync(join(base, "etc/d")).gid]).toEqual([7, 8]);
    expect(statSync(join(base, "bin/busybox")).ino).toBe(inode);
    expect(readdirSync(base).filter((name) => name.startsWith(".tsrun"))).toEqual([]);
  });

  test("what is applied has the ACLs that the command saw, not those that the tree would give it", () => {
    using parent = new Fd(open(join(base, ".."), O_PATH | O_DIRECTORY));
    const bytes = (text: string) => new TextEncoder().encode(text);
    const acl = Uint32Array.from([2, 0x70001, -1, 0x70002, 7, 0x70004, -1, 0x70010, -1, 0x70020, -1]);
    const set = setXattrAt(
      parent.fd,
      bytes(basename(base)),
      bytes("system.posix_acl_default"),
      new Uint8Array(acl.buffer),
    );
    expect(set).toBe(0);
    expect(tryOver("--apply", "--", "/bin/sh", "-c", "echo x > /new; mkdir /dir").code).toBe(0);
    using top = new Fd(open(base, O_PATH | O_DIRECTORY));
    for (const name of ["new", "dir"]) expect(listXattrsAt(top.fd, bytes(name))).toEqual([]);
    expect(statSync(join(base, "new")).mode & 0o777).toBe(0o644);
  });

  test("applies nothing when the command fails", () => {
    const result = tryOver("--apply", "--", "/bin/sh", "-c", `${CHANGE}; exit 1`);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("nothing is applied");
    expect(readFileSync(join(base, "etc/a"), "utf8")).toBe("a\n");
  });

  test("keeps the changes under a name, goes on with them, and applies them later", () => {
    tryOver("--keep", "later", "--", "/bin/sh", "-c", "echo 1 > /etc/one");
    const again = tryOver("--keep", "later", "--", "/bin/sh", "-c", "cat /etc/one; echo 2 > /etc/two");
    expect(again.stdout).toBe("1\nC /etc\nA /etc/one\nA /etc/two\n");
    expect(existsSync(join(base, "etc/one"))).toBe(false);
    expect(tryOver("--keep", "later", "--diff").stdout).toBe("C /etc\nA /etc/one\nA /etc/two\n");
    expect(tryOver("--keep", "later", "--apply").code).toBe(0);
    expect(readFileSync(join(base, "etc/two"), "utf8")).toBe("2\n");
    expect(tryOver("--keep", "later", "--apply").stderr).toContain("there is no trial later");
    tryOver("--keep", "gone", "--", "/bin/true");
    expect(tryOver("--keep", "gone", "--drop").code).toBe(0);
    expect(readdirSync(join(store, "try"))).toEqual([]);
  });

  /** A `try` that was killed while its command ran, and the container of that. */
  async function killedTry(...flags: string[]): Promise<string> {
    const before = new Set(listed());
    const child = spawn(RUNTIME, ["try", "--base", base, "--store", store, ...flags, "--", "/bin/sleep", "1000"], {
      stdio: "ignore",
    });
    const ended = new Promise((resolve) => child.on("close", resolve));
    const own = () => listed().find((id) => !before.has(id) && stateOf(id)?.status === "running");
    await until(() => own() !== undefined, "its command runs");
    const id = own() as string;
    child.kill("SIGKILL");
    await ended;
    return id;
  }
  const listed = () => runOk(["list", "-q"]).split("\n").filter(Boolean);

  test("of a killed one nothing is left after the next, whose command it does not see", async () => {
    const before = hostMounts();
    const id = await killedTry();
    expect(hostMounts()).not.toEqual(before);
    // The command still runs over the view: that is not for `gc` to end.
    runOk(["layer", "gc", "--store", store]);
    expect(stateOf(id)?.status).toBe("running");
    expect(tryOver("--", "/bin/true").code).toBe(0);
    expect(stateOf(id)).toBeUndefined();
    expect(hostMounts()).toEqual(before);
    expect(readdirSync(join(store, "try"))).toEqual([]);
  });

  test("of a killed one whose container is gone `layer gc` takes the rest away, but for what has a name", async () => {
    const before = hostMounts();
    for (const flags of [[], ["--keep", "mine"]]) {
      runOk(["delete", "--force", await killedTry(...flags)]);
      expect(runOk(["layer", "gc", "--store", store])).toBe("deleted 1 leftover\n");
    }
    expect(hostMounts()).toEqual(before);
    expect(readdirSync(join(store, "try"))).toEqual(["mine"]);
    const again = tryOver("--keep", "mine", "--", "/bin/sh", "-c", "echo x > /etc/x");
    expect([again.stdout, again.stderr]).toEqual(["C /etc\nA /etc/x\n", ""]);
  });

  test("what cannot be applied is told with its name", () => {
    tryOver("--keep", "refused", "--", "/bin/sh", "-c", "chown 7 /etc/d");
    expect(spawnSync("mount", ["--bind", "-o", "ro", base, base]).status).toBe(0);
    try {
      expect(tryOver("--keep", "refused", "--apply").stderr).toMatch(/^tsrun: \/etc(\/d)?: chown: EROFS /);
    } finally {
      spawnSync("umount", [base]);
    }
  });

  test("never follows a link of the tree while it applies", () => {
    const outside = scratch("outside");
    writeFileSync(join(outside, "victim"), "safe");
    tryOver("--keep", "evil", "--", "/bin/sh", "-c", "echo hit > /etc/d/victim; chmod 777 /etc/d");
    // Somebody puts a link there between the trial and its application.
    renameSync(join(base, "etc/d"), join(base, "etc/moved"));
    symlinkSync(outside, join(base, "etc/d"));
    chmodSync(outside, 0o755);
    tryOver("--keep", "evil", "--apply");
    expect(readFileSync(join(outside, "victim"), "utf8")).toBe("safe");
    expect(statSync(outside).mode & 0o777).toBe(0o755);
  });

  test("over the running system reads it, and writes to none of it", () => {
    const result = run([
      "try",
      "--diff",
      "--store",
      store,
      "--",
      "sh",
      "-c",
      "id -u; echo x > /etc/tsrun-was-here; rm /etc/passwd; echo kept",
    ]);
    expect(result.stderr).toBe("");
    expect(result.stdout).toBe("0\nkept\nC /etc\nD /etc/passwd\nA /etc/tsrun-was-here\n");
    expect(existsSync("/etc/tsrun-was-here")).toBe(false);
    expect(existsSync("/etc/passwd")).toBe(true);
  });
});
