import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isErrno } from "../../../src/errors.ts";
import { mkdirAllBeneath, resolveInRoot } from "../../../src/sys/confined.ts";
import { O_PATH, O_RDONLY } from "../../../src/sys/constants.ts";
import { Fd, open, readText } from "../../../src/sys/file.ts";

const failsWith = (body: () => unknown, ...codes: string[]) =>
  assert.throws(body, (error: unknown) => isErrno(error, ...codes) || assert.fail(`${codes} was due, not ${error}`));

/** A root with an outside beside it. */
function withRoot(body: (root: number, directory: string) => void): () => void {
  return () => {
    const directory = mkdtempSync(join(tmpdir(), "tsrun-confined-"));
    try {
      mkdirSync(join(directory, "root/etc"), { recursive: true });
      mkdirSync(join(directory, "outside"));
      writeFileSync(join(directory, "root/etc/passwd"), "inside");
      writeFileSync(join(directory, "outside/passwd"), "outside");
      using root = new Fd(open(join(directory, "root"), O_PATH));
      body(root.fd, directory);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
}

const contents = (root: number, path: string) => {
  using file = new Fd(resolveInRoot(root, path, O_RDONLY));
  return readText(file.fd);
};
const pathOf = (fd: number) => readlinkSync(`/proc/self/fd/${fd}`);

export const checks = {
  "links and .. stay inside the root": withRoot((root, directory) => {
    symlinkSync("/etc/passwd", join(directory, "root/absolute"));
    symlinkSync("../../../../../etc/passwd", join(directory, "root/up"));
    symlinkSync("/etc", join(directory, "root/dir"));
    for (const path of [
      "etc/passwd",
      "/etc/passwd",
      "absolute",
      "up",
      "dir/passwd",
      "../../etc/passwd",
      "dir/../etc/passwd",
    ]) {
      assert.equal(contents(root, path), "inside", path);
    }
    failsWith(() => contents(root, "/outside/passwd"), "ENOENT");
    failsWith(() => contents(root, join(directory, "outside/passwd")), "ENOENT");
  }),

  "the root itself is a path too": withRoot((root, directory) => {
    for (const path of ["", "/", ".", ".."]) {
      using fd = new Fd(resolveInRoot(root, path));
      assert.equal(pathOf(fd.fd), join(directory, "root"));
    }
  }),

  "magic links are refused": () => {
    using proc = new Fd(open("/proc", O_PATH));
    failsWith(() => resolveInRoot(proc.fd, "self/root"), "ELOOP");
    failsWith(() => resolveInRoot(proc.fd, "self/exe"), "ELOOP");
  },

  "directories are made with their parents, and what is there is kept": withRoot((root, directory) => {
    using made = new Fd(mkdirAllBeneath(root, "/var/lib//x/./y", 0o711));
    assert.equal(pathOf(made.fd), join(directory, "root/var/lib/x/y"));
    assert.equal(statSync(join(directory, "root/var/lib")).mode & 0o777, 0o711);
    using again = new Fd(mkdirAllBeneath(root, "var/lib/x/y"));
    assert.equal(pathOf(again.fd), pathOf(made.fd));
    using top = new Fd(mkdirAllBeneath(root, "/"));
    assert.equal(pathOf(top.fd), join(directory, "root"));
  }),

  "a link on the way is followed inside the root": withRoot((root, directory) => {
    symlinkSync(join(directory, "outside"), join(directory, "root/out"));
    symlinkSync("/etc", join(directory, "root/in"));
    using inside = new Fd(mkdirAllBeneath(root, "in/made/here"));
    assert.equal(pathOf(inside.fd), join(directory, "root/etc/made/here"));
    failsWith(() => mkdirAllBeneath(root, "out/made"), "ENOTDIR", "ELOOP");
    assert.deepEqual(readdirSync(join(directory, "outside")), ["passwd"]);
  }),

  "nothing is made through .. or over a file": withRoot((root, directory) => {
    failsWith(() => mkdirAllBeneath(root, "missing/../../escape"), "EINVAL");
    failsWith(() => mkdirAllBeneath(root, "etc/passwd/x"), "ENOTDIR");
    failsWith(() => mkdirAllBeneath(root, "etc/passwd"), "ENOTDIR");
    failsWith(() => mkdirAllBeneath(root, "a\0b"), "EINVAL");
    assert.equal(existsSync(join(directory, "escape")), false);
    using up = new Fd(mkdirAllBeneath(root, "../../up"));
    assert.equal(pathOf(up.fd), join(directory, "root/up"));
  }),
};
