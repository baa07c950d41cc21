/** Symbolic links as source and as destination of a mount: copy-symlink, src-nofollow, dest-nofollow, as crun has them. */
import { readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { busyboxRootfs, makeBundle } from "../helpers/bundle.ts";
import { needs } from "../helpers/needs.ts";
import { deleteContainers, expectNothingLeft, inventory, type Leftovers, runBundle } from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

// runc knows none of these words.
const root = needs({ root: true, tsrun: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

/** A file of the host, and a link to it by its name alone. */
function fileAndLink(): { dir: string; link: string } {
  const dir = scratch("links");
  writeFileSync(join(dir, "file"), "of the host\n");
  symlinkSync("file", join(dir, "link"));
  return { dir, link: join(dir, "link") };
}

function bound(script: string, source: string, destination: string, word: string, image: (rootfs: string) => void) {
  const rootfs = (path: string) => {
    busyboxRootfs(path);
    image(path);
  };
  const mounts = [{ destination, source, options: ["bind", word] }];
  const bundle = makeBundle({ args: ["sh", "-c", script], mounts, rootfs });
  return { ...runBundle(bundle), bundle };
}

const asItIs = () => {};

describe("copy-symlink", () => {
  root("a link is made anew in the container, and nothing is mounted", () => {
    const { link } = fileAndLink();
    const result = bound(
      "readlink /etc/new/link; grep -c /etc/new /proc/self/mountinfo",
      link,
      "/etc/new/link",
      "copy-symlink",
      asItIs,
    );
    expect(result).toMatchObject({ stdout: "file\n0\n", stderr: "" });
    expect(readlinkSync(join(result.bundle.rootfs, "etc/new/link"))).toBe("file");
  });

  root("the same link may be there already, and nothing else", () => {
    const { link } = fileAndLink();
    const same = bound("readlink /here", link, "/here", "copy-symlink", (rootfs) =>
      symlinkSync("file", join(rootfs, "here")),
    );
    expect(same).toMatchObject({ stdout: "file\n", stderr: "" });
    const other = bound("true", link, "/here", "copy-symlink", (rootfs) => symlinkSync("files", join(rootfs, "here")));
    expect(other.code).toBe(1);
    expect(other.stderr).toContain("something else than this link is there already");
  });

  root("what is no link is bound as without the word", () => {
    const { dir } = fileAndLink();
    expect(bound("cat /here", join(dir, "file"), "/here", "copy-symlink", asItIs)).toMatchObject({
      stdout: "of the host\n",
      stderr: "",
    });
  });
});

describe("src-nofollow", () => {
  root("the link itself is mounted, on a file that is made for it", () => {
    const { link } = fileAndLink();
    const result = bound("readlink /here; cat /here; cat /file", link, "/here", "src-nofollow", (rootfs) =>
      writeFileSync(join(rootfs, "file"), "of the image\n"),
    );
    expect(result).toMatchObject({ stdout: "file\nof the image\nof the image\n", stderr: "" });
    expect(readFileSync(join(result.bundle.rootfs, "here"), "utf8")).toBe("");
  });
});

describe("dest-nofollow", () => {
  root("a link as destination is mounted on, and where it points stays as it was", () => {
    const { dir } = fileAndLink();
    const result = bound("cat /link /target", join(dir, "file"), "/link", "dest-nofollow", (rootfs) => {
      writeFileSync(join(rootfs, "target"), "of the image\n");
      symlinkSync("target", join(rootfs, "link"));
    });
    expect(result).toMatchObject({ stdout: "of the host\nof the image\n", stderr: "" });
    expect(readlinkSync(join(result.bundle.rootfs, "link"))).toBe("target");
  });

  root("a directory does not go onto a link", () => {
    const { dir } = fileAndLink();
    const result = bound("true", dir, "/link", "dest-nofollow", (rootfs) => symlinkSync("etc", join(rootfs, "link")));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("ENOTDIR");
  });
});
