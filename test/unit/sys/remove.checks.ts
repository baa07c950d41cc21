import assert from "node:assert/strict";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isErrno } from "../../../src/errors.ts";
import * as k from "../../../src/sys/constants.ts";
import { close, Fd, mkdirat, mknodat, open, openat } from "../../../src/sys/file.ts";
import { removePath, removeTree } from "../../../src/sys/remove.ts";

const failsWith = (code: string, body: () => unknown) =>
  assert.throws(body, (error: unknown) => isErrno(error, code) || assert.fail(`${code} was due, not ${error}`));

// In memory where that is to be had: a thousand directories on a busy disk take seconds.
const SCRATCH = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

function inScratch(body: (directory: string) => void): () => void {
  return () => {
    const directory = mkdtempSync(join(SCRATCH, "tsrun-remove-"));
    try {
      body(directory);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
}

export const checks = {
  "a tree with every kind of entry goes": inScratch((directory) => {
    const tree = join(directory, "tree");
    mkdirSync(join(tree, "a/b/c"), { recursive: true });
    mkdirSync(join(tree, "empty"));
    writeFileSync(join(tree, "a/file"), "x");
    linkSync(join(tree, "a/file"), join(tree, "a/b/hard"));
    symlinkSync("nowhere", join(tree, "dangling"));
    using at = new Fd(open(tree, k.O_PATH));
    mknodat(at.fd, "fifo", k.S_IFIFO | 0o600);
    removeTree(directory, "tree");
    assert.deepEqual(readdirSync(directory), []);
  }),

  "links are removed, never followed": inScratch((directory) => {
    mkdirSync(join(directory, "outside/sub"), { recursive: true });
    writeFileSync(join(directory, "outside/file"), "kept");
    mkdirSync(join(directory, "tree/deep"), { recursive: true });
    symlinkSync(join(directory, "outside"), join(directory, "tree/absolute"));
    symlinkSync("../../outside", join(directory, "tree/deep/relative"));
    symlinkSync("..", join(directory, "tree/up"));
    removeTree(directory, "tree");
    assert.deepEqual(readdirSync(directory), ["outside"]);
    assert.deepEqual(readdirSync(join(directory, "outside")).sort(), ["file", "sub"]);
    symlinkSync("outside", join(directory, "link"));
    removeTree(directory, "link");
    assert.deepEqual(readdirSync(directory), ["outside"]);
  }),

  "a single file goes, and nothing at all is fine": inScratch((directory) => {
    writeFileSync(join(directory, "file"), "x");
    removePath(join(directory, "file"));
    removePath(join(directory, "file"));
    removePath(join(directory, "no/such/parent"));
    assert.deepEqual(readdirSync(directory), []);
  }),

  "what is not one name of an entry is refused": inScratch((directory) => {
    writeFileSync(join(directory, "file"), "x");
    for (const name of ["", ".", "..", "/", "a/b", "../x", "file/"]) {
      failsWith("EINVAL", () => removeTree(directory, name));
    }
    failsWith("EINVAL", () => removePath("/"));
    failsWith("EINVAL", () => removePath(`${directory}/`));
    failsWith("EINVAL", () => removePath(`${directory}/..`));
    failsWith("EINVAL", () => removeTree(directory, "file\0"));
    assert.deepEqual(readdirSync(directory), ["file"]);
  }),

  "a tree of a thousand levels goes with few descriptors": inScratch((directory) => {
    mkdirSync(join(directory, "deep"));
    let at = open(join(directory, "deep"), k.O_PATH);
    for (let level = 0; level < 1000; level++) {
      mkdirat(at, "subdirectory", 0o755);
      mkdirat(at, "beside", 0o755);
      mknodat(at, "file", k.S_IFREG | 0o644);
      const next = openat(at, "subdirectory", k.O_PATH);
      close(at);
      at = next;
    }
    close(at);
    const before = readdirSync("/proc/self/fd").length;
    removeTree(directory, "deep");
    assert.equal(existsSync(join(directory, "deep")), false);
    assert.equal(readdirSync("/proc/self/fd").length, before);
  }),

  "a directory with thousands of entries goes": inScratch((directory) => {
    mkdirSync(join(directory, "wide"));
    using at = new Fd(open(join(directory, "wide"), k.O_PATH));
    for (let entry = 0; entry < 5000; entry++) {
      const name = `a-rather-long-name-for-an-entry-${entry}`;
      if (entry % 5 === 0) mkdirat(at.fd, name, 0o755);
      else mknodat(at.fd, name, k.S_IFREG | 0o644);
    }
    removeTree(directory, "wide");
    assert.deepEqual(readdirSync(directory), []);
  }),

  "names that are no UTF-8 go": inScratch((directory) => {
    mkdirSync(join(directory, "bytes"));
    using at = new Fd(open(join(directory, "bytes"), k.O_PATH));
    mkdirat(at.fd, Uint8Array.of(0xff, 0xfe, 0x0a), 0o755);
    using inner = new Fd(openat(at.fd, Uint8Array.of(0xff, 0xfe, 0x0a), k.O_PATH));
    mknodat(inner.fd, Uint8Array.of(0x80), k.S_IFREG | 0o644);
    removeTree(directory, "bytes");
    assert.deepEqual(readdirSync(directory), []);
  }),

  "directories without permissions go": inScratch((directory) => {
    mkdirSync(join(directory, "tree", "work", "work"), { recursive: true });
    writeFileSync(join(directory, "tree", "work", "file"), "x");
    chmodSync(join(directory, "tree", "work", "work"), 0);
    chmodSync(join(directory, "tree/work"), 0o500);
    chmodSync(join(directory, "tree"), 0);
    removeTree(directory, "tree");
    assert.deepEqual(readdirSync(directory), []);
  }),

  "the parent by descriptor works as by path": inScratch((directory) => {
    mkdirSync(join(directory, "tree/x"), { recursive: true });
    using at = new Fd(open(directory, k.O_PATH | k.O_DIRECTORY));
    removeTree(at.fd, "tree");
    removeTree(at.fd, "tree");
    assert.deepEqual(readdirSync(directory), []);
  }),

  "a mount at the name itself is refused": () => {
    assert.throws(
      () => removeTree("/", "proc"),
      (error: unknown) => isErrno(error, "EXDEV") && String(error).includes("/proc"),
    );
    assert.ok(readFileSync("/proc/self/status", "utf8").length > 0);
  },
};
