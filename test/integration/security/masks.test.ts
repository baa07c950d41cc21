/** Masked and read-only paths: what hides them is ours, and lies where the path leads in the root (CVE-2025-31133). */
import { mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { type FullSpec, makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { expectNothingLeft, inventory, newId, RUNTIME, run, runBundle } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

describe("masked paths", () => {
  const root = needs({ root: true });
  const tsrun = needs({ root: true, tsrun: true });

  tsrun("are refused where the host's /dev/null is no null device", () => {
    const before = inventory();
    const bundle = makeBundle({ args: ["cat", "/proc/keys"] });
    const file = join(scratch("fake"), "null");
    writeFileSync(file, "fake");
    for (const fake of [file, "/dev/zero", "/dev/full"]) {
      // In a mount namespace of the caller's own.
      const script = `mount --bind "$1" /dev/null && exec "$0" run -b "$2" "$3"`;
      const result = run(["-m", "sh", "-c", script, RUNTIME, fake, bundle.path, newId()], { runtime: "unshare" });
      expect({ fake, code: result.code, stdout: result.stdout }).toEqual({ fake, code: 1, stdout: "" });
      expect(result.stderr).toMatch(/^tsrun: .*(maskedPaths|\/dev\/null)/);
    }
    expectNothingLeft(before);
  });

  root("take nothing in: a directory that hides others is empty for good, a file has no room", () => {
    const bundle = makeBundle({
      args: ["sh", "-c", "mkdir /a/x; echo > /a/y; ln -s x /b/z; chmod 777 /a; touch /a; echo x > /f; wc -c < /f"],
      edit: (spec) => {
        spec.linux.maskedPaths = ["/a", "/b", "/f"];
      },
    });
    for (const name of ["a", "b"]) mkdirSync(join(bundle.rootfs, name));
    writeFileSync(join(bundle.rootfs, "f"), "secret");
    const { stdout, stderr } = runBundle(bundle);
    expect(stdout).toBe("0\n");
    expect(stderr.match(/Read-only file system/g)).toHaveLength(5);
    expect(readdirSync(join(bundle.rootfs, "a"))).toEqual([]);
    expect(readFileSync(join(bundle.rootfs, "f"), "utf8")).toBe("secret");
  });

  root("that are links hide what they lead to in the root, and nothing outside", () => {
    const outside = scratch("outside");
    writeFileSync(join(outside, "file"), "outside");
    const script = `cat /secret/file /etc/secret-file; ls /secret; echo x > /srv/y; cat ${outside}/file; echo end`;
    const bundle = makeBundle({
      args: ["sh", "-c", script],
      edit: (spec) => {
        spec.linux.maskedPaths = ["/to-directory", "/to-file", "/out", "/up/file", "/nowhere", "/loop"];
        spec.linux.readonlyPaths = ["/to-srv", "/out", "/nowhere"];
      },
    });
    const at = (name: string) => join(bundle.rootfs, name);
    for (const dir of ["secret", "srv"]) mkdirSync(at(dir));
    for (const file of ["secret/file", "etc/secret-file"]) writeFileSync(at(file), "secret\n");
    const links = { "to-directory": "secret", "to-file": "../../etc/secret-file", "to-srv": "/srv", nowhere: "/none" };
    for (const [name, to] of Object.entries({ ...links, out: outside, up: `../../../../../..${outside}` })) {
      symlinkSync(to, at(name));
    }
    const { stdout, stderr, code } = runBundle(bundle);
    expect({ stdout, code }).toEqual({ stdout: "end\n", code: 0 });
    expect(stderr).toMatch(/srv\/y: Read-only file system/);
    expect(readFileSync(join(outside, "file"), "utf8")).toBe("outside");
  });

  root("are hidden however they are spelled", () => {
    const names = ["/secret/", "//secret2", "/./secret3", "/mnt/../secret4"];
    const bundle = makeBundle({
      args: ["sh", "-c", "cat /secret*/file; ls /secret*/"],
      edit: (spec: FullSpec) => spec.linux.maskedPaths?.push(...names),
    });
    for (const name of ["secret", "secret2", "secret3", "secret4"]) {
      mkdirSync(join(bundle.rootfs, name));
      writeFileSync(join(bundle.rootfs, name, "file"), "secret\n");
    }
    const { stdout } = runBundle(bundle);
    expect(stdout.split("\n").filter((line) => line !== "" && !/^\/secret\d?\/:$/.test(line))).toEqual([]);
  });
});
