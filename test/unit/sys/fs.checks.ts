import assert from "node:assert/strict";
import * as node from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isErrno } from "../../../src/errors.ts";
import * as fs from "../../../src/sys/fs.ts";

function inScratch(body: (directory: string) => void): () => void {
  return () => {
    const directory = node.mkdtempSync(join(tmpdir(), "tsrun-fs-"));
    try {
      body(directory);
    } finally {
      node.rmSync(directory, { recursive: true, force: true });
    }
  };
}

const failsWith = (code: string, body: () => unknown) =>
  assert.throws(body, (error: unknown) => isErrno(error, code) || assert.fail(`${code} was due, not ${error}`));

export const checks = {
  "text is read as it was written, however long, with its byte order mark": inScratch((directory) => {
    for (const text of ["", "ü\n", "\uFEFF{}", "x".repeat(4096), "é".repeat(100_000)]) {
      fs.writeFileSync(`${directory}/text`, text);
      assert.equal(node.readFileSync(`${directory}/text`, "utf8"), text);
      assert.equal(fs.readFileSync(`${directory}/text`), text);
    }
    assert.match(fs.readFileSync("/proc/self/stat"), /^\d+ \(/);
  }),

  "what is not there is ENOENT, as node:fs has it": () => {
    for (const act of [
      fs.readFileSync,
      fs.readdirSync,
      fs.rmdirSync,
      fs.unlinkSync,
      fs.readlinkSync,
      fs.realpathSync,
    ]) {
      failsWith("ENOENT", () => act("/nonexistent/file"));
    }
    failsWith("ENOENT", () => fs.writeFileSync("/nonexistent/file", ""));
    failsWith("ENOENT", () => fs.mkdirSync("/nonexistent/directory"));
    failsWith("ENOENT", () => fs.renameSync("/nonexistent/a", "/nonexistent/b"));
    assert.equal(fs.existsSync("/nonexistent"), false);
    assert.equal(fs.statSync("/nonexistent"), undefined);
    assert.equal(fs.lstatSync("/nonexistent"), undefined);
    failsWith("ENOTDIR", () => fs.statSync("/proc/version/below"));
  },

  "a file is replaced, appended to, or must be new": inScratch((directory) => {
    const path = `${directory}/file`;
    fs.writeFileSync(path, "long before", { mode: 0o600 });
    fs.writeFileSync(path, "now");
    fs.appendFileSync(path, " and more");
    assert.equal(node.readFileSync(path, "utf8"), "now and more");
    assert.equal(node.statSync(path).mode & 0o777, 0o600);
    failsWith("EEXIST", () => fs.writeFileSync(path, "", { exclusive: true }));
    assert.equal(node.readFileSync(path, "utf8"), "now and more");
  }),

  "directories are made with their parents, twice, but not through a file": inScratch((directory) => {
    fs.mkdirSync(`${directory}/a/b/c`, { recursive: true, mode: 0o711 });
    fs.mkdirSync(`${directory}/a/b/c/`, { recursive: true });
    assert.equal(node.statSync(`${directory}/a/b`).mode & 0o777, 0o711);
    failsWith("EEXIST", () => fs.mkdirSync(`${directory}/a`));
    fs.writeFileSync(`${directory}/file`, "");
    failsWith("EEXIST", () => fs.mkdirSync(`${directory}/file`, { recursive: true }));
    failsWith("ENOTDIR", () => fs.mkdirSync(`${directory}/file/below`, { recursive: true }));
  }),

  "a directory lists all its names, and which of them are directories": inScratch((directory) => {
    const names = Array.from({ length: 3000 }, (_, i) => `a rather long name to need more than one read ${i}`);
    for (const name of names) node.writeFileSync(`${directory}/${name}`, "");
    node.mkdirSync(`${directory}/ü`);
    node.symlinkSync("ü", `${directory}/link`);
    assert.deepEqual(fs.readdirSync(directory).sort(), [...names, "link", "ü"].sort());
  }),

  "stat follows a link and lstat does not": inScratch((directory) => {
    fs.symlinkSync("/dev/null", `${directory}/link`);
    fs.symlinkSync("nowhere", `${directory}/dangling`);
    assert.equal(fs.statSync(`${directory}/link`)?.isCharacterDevice(), true);
    assert.equal(fs.lstatSync(`${directory}/link`)?.isSymbolicLink(), true);
    assert.equal(fs.existsSync(`${directory}/dangling`), false);
    assert.equal(fs.statSync(`${directory}/dangling`), undefined);
    assert.equal(fs.readlinkSync(`${directory}/link`), "/dev/null");
    assert.equal(fs.realpathSync(`${directory}/link`), "/dev/null");
    const [ours, theirs] = [fs.statSync(directory), node.statSync(directory)];
    for (const field of ["mode", "uid", "gid", "size", "ino"] as const) assert.equal(ours?.[field], theirs[field]);
    assert.equal(ours?.isDirectory(), true);
    assert.equal(ours?.isFile(), false);
  }),

  "modes are set whatever the umask is": inScratch((directory) => {
    const before = process.umask(0o077);
    try {
      fs.mkdirSync(`${directory}/d`, { mode: 0o755 });
      assert.equal(fs.statSync(`${directory}/d`)?.mode, 0o040700);
      fs.chmodSync(`${directory}/d`, 0o1755);
      assert.equal(fs.statSync(`${directory}/d`)?.mode, 0o041755);
    } finally {
      process.umask(before);
    }
    fs.chownSync(`${directory}/d`, -1, -1);
  }),

  "no descriptor is left open": inScratch((directory) => {
    const before = node.readdirSync("/proc/self/fd").length;
    fs.writeFileSync(`${directory}/f`, "text");
    fs.appendFileSync(`${directory}/f`, "text");
    fs.readFileSync(`${directory}/f`);
    fs.readdirSync(directory);
    fs.realpathSync(directory);
    failsWith("EISDIR", () => fs.readFileSync(directory));
    assert.equal(node.readdirSync("/proc/self/fd").length, before);
  }),

  "a path with a NUL byte is refused": () => {
    failsWith("EINVAL", () => fs.readFileSync("/etc/passwd\0.txt"));
    failsWith("EINVAL", () => fs.existsSync("/etc\0"));
  },
};
