/**
 * Swapping a directory for a link while mounts are made gains nothing (CVE-2021-30465): the attacker is another
 * process that can write to the rootfs, as one of a second container on it can.
 */
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { swapping } from "../../helpers/attacker.ts";
import { type Bundle, makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { hostMounts, runBundle } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const CONTAINERS = process.env.TSRUN_VM === "1" ? 20 : 150;

/** Everything below a directory. */
function tree(path: string): string[] {
  return (readdirSync(path, { recursive: true }) as string[]).sort();
}

describe("an attacker who swaps directories for links while containers start", () => {
  const withCompiler = needs({ root: true, commands: ["gcc"] });

  withCompiler(
    "nothing is mounted or created outside the rootfs",
    async () => {
      const outside = scratch("outside");
      mkdirSync(join(outside, "deep"));
      const source = join(scratch("source"), "file");
      writeFileSync(source, "bound");
      const bundle = makeBundle({ args: ["true"] });
      for (const [destination, type] of [
        ["/mnt/a/tmpfs", "tmpfs"],
        ["/mnt/a/deep/tmpfs", "tmpfs"],
        ["/mnt/a/proc", "proc"],
      ] as const) {
        bundle.edit((spec) => spec.mounts.push({ destination, type, source: type }));
      }
      bundle.edit((spec) => {
        spec.mounts.push({ destination: "/mnt/a/file", source, options: ["bind"] });
        spec.linux.maskedPaths = ["/mnt/a/deep", "/mnt/a/file"];
        spec.linux.readonlyPaths = ["/mnt/a"];
        spec.linux.devices = [{ path: "/mnt/a/null", type: "c", major: 1, minor: 3 }];
        spec.process.cwd = "/mnt/a/cwd";
      });
      const before = hostMounts();
      for (const link of [outside, `../../../../../../../../../..${outside}`]) {
        mkdirSync(join(bundle.rootfs, `mnt/a/deep`), { recursive: true });
        symlinkSync(link, join(bundle.rootfs, "mnt/b"));
        const attack = await swapping(join(bundle.rootfs, "mnt/a"), join(bundle.rootfs, "mnt/b"));
        const codes = new Set<number>();
        for (let i = 0; i < CONTAINERS / 2; i++) codes.add(runBundle(bundle).code);
        expect(await attack.stop()).toBeGreaterThan(CONTAINERS);
        // Each either ran or was refused.
        for (const code of codes) expect([0, 1]).toContain(code);
        expect(tree(outside)).toEqual(["deep"]);
        reset(bundle);
      }
      expect(hostMounts()).toEqual(before);
    },
    300_000,
  );

  withCompiler(
    "a container never has a procfs without its masks",
    async () => {
      const bundle = makeBundle({ args: ["cat", "/proc/self/mountinfo"] });
      const masksOf = (mountinfo: string): number[] => {
        // A mount by its id: its path changes with every exchange.
        const byId = new Map(mountinfo.split("\n").map((line) => [line.split(" ")[0], line.split(" ")]));
        const lines = [...byId.values()];
        return lines
          .filter((fields) => fields.includes("proc") && fields[3] === "/")
          .map((proc) => lines.filter((fields) => fields[1] === proc[0]).length);
      };
      const [usual = 0] = masksOf(runBundle(bundle).stdout);
      expect(usual).toBeGreaterThan(3);
      // The directory that takes its place has the names that are masked, and the link to its own mounts.
      const decoy = join(bundle.rootfs, "decoy");
      for (const name of ["acpi", "scsi", "bus", "fs", "irq", "sys"]) mkdirSync(join(decoy, name), { recursive: true });
      for (const name of ["kcore", "keys", "timer_list", "sysrq-trigger"]) writeFileSync(join(decoy, name), "");
      bundle.edit((spec) => {
        spec.process.args = ["sh", "-c", LOOK];
      });
      const attack = await swapping(join(bundle.rootfs, "proc"), decoy);
      const seen = new Set<string>();
      for (let i = 0; i < CONTAINERS; i++) {
        const { code, stdout } = runBundle(bundle);
        if (code === 0) seen.add(masksOf(stdout).join(" "));
      }
      await attack.stop();
      expect([...seen]).toEqual([String(usual)]);
    },
    300_000,
  );
});

/** Whichever of the two is the procfs at that moment. */
const LOOK = "for i in 1 2 3 4 5 6 7 8; do cat /proc/self/mountinfo || cat /decoy/self/mountinfo; done 2>/dev/null";

/** As it was before the attack: whichever of the two names is the directory. */
function reset({ rootfs }: Bundle): void {
  rmSync(join(rootfs, "mnt"), { recursive: true });
  mkdirSync(join(rootfs, "mnt"));
}
