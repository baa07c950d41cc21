/**
 * Swapping a directory for a link while mounts are made gains nothing (CVE-2021-30465): the attacker is another
 * process that can write to the rootfs, as one of a second container on it can.
 */
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { exchange, runTripped, swapping } from "../../helpers/attacker.ts";
import { type Bundle, makeBundle } from "../../helpers/bundle.ts";
import { needs } from "../../helpers/needs.ts";
import { hostMounts, runBundle } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const CONTAINERS = process.env.TSRUN_VM === "1" ? 20 : 150;
/** Of some hundreds of calls, all of the first, where /proc is mounted, and then one of so many. */
const STRIDE = process.env.TSRUN_VM === "1" && process.env.TSRUN_SLOW !== "1" ? 6 : 1;

/** Everything below a directory. */
function tree(path: string): string[] {
  return (readdirSync(path, { recursive: true }) as string[]).sort();
}

const withCompiler = needs({ root: true, compiled: "attacker" });
const everywhere = needs({ root: true, tsrun: true, compiled: "attacker" });

describe("an attacker who swaps directories for links while containers start", () => {
  withCompiler(
    "nothing is mounted or created outside the rootfs",
    async () => {
      const { bundle, outside } = swappedBundle();
      const before = hostMounts();
      for (const link of linksTo(outside)) {
        const [a, b] = reset(bundle, link);
        const attack = await swapping(a, b);
        const codes = new Set<number>();
        for (let i = 0; i < CONTAINERS / 2; i++) codes.add(runBundle(bundle).code);
        expect(await attack.stop()).toBeGreaterThan(CONTAINERS);
        // Each either ran or was refused.
        for (const code of codes) expect([0, 1]).toContain(code);
        expect(tree(outside)).toEqual(["deep"]);
      }
      expect(hostMounts()).toEqual(before);
    },
    300_000,
  );

  withCompiler(
    "a container never has a procfs without its masks",
    async () => {
      const { bundle, decoy, usual } = decoyBundle();
      const attack = await swapping(join(bundle.rootfs, "proc"), decoy);
      const seen = new Set<string>();
      for (let i = 0; i < CONTAINERS; i++) {
        const { code, stdout } = runBundle(bundle);
        if (code === 0) seen.add(masksOf(stdout).join(" "));
      }
      await attack.stop();
      expect([...seen]).toEqual([usual]);
    },
    300_000,
  );
});

describe("an attacker who wins that race, at each call in which a name is used", () => {
  /** Tries one call after the other until there are no more. */
  function atEachCall(attempt: (nth: number) => { reached: boolean }): void {
    let nth = 1;
    while (attempt(nth).reached) nth += nth < 20 ? 1 : STRIDE;
    expect(nth).toBeGreaterThan(50);
  }

  everywhere(
    "nothing is mounted or created outside the rootfs",
    () => {
      const { bundle, outside } = swappedBundle();
      const [link = ""] = linksTo(outside);
      const before = hostMounts();
      atEachCall((nth) => {
        const result = runTripped(bundle, nth, ...reset(bundle, link));
        expect([0, 1], `call ${nth}: ${result.stderr}`).toContain(result.code);
        expect(tree(outside), `call ${nth}`).toEqual(["deep"]);
        return result;
      });
      expect(hostMounts()).toEqual(before);
    },
    300_000,
  );

  everywhere(
    "a container has a procfs with all its masks, or is refused where it would lie elsewhere",
    () => {
      const { bundle, decoy, usual } = decoyBundle();
      const refusals: string[] = [];
      atEachCall((nth) => {
        const result = runTripped(bundle, nth, join(bundle.rootfs, "proc"), decoy);
        if (result.reached) exchange(join(bundle.rootfs, "proc"), decoy);
        if (result.code === 0) expect(masksOf(result.stdout).join(" "), `call ${nth}`).toBe(usual);
        else refusals.push(result.stderr);
        return result;
      });
      // While it is not attached, and until that is looked at.
      expect(refusals.length).toBeGreaterThan(1);
      for (const text of refusals) expect(text).toContain("ESTALE");
    },
    300_000,
  );
});

/** A directory of the image that much is put into, and another outside of the image that has to stay as it is. */
function swappedBundle(): { bundle: Bundle; outside: string } {
  const outside = scratch("outside");
  mkdirSync(join(outside, "deep"));
  const source = join(scratch("source"), "file");
  writeFileSync(source, "bound");
  const bundle = makeBundle({
    args: ["true"],
    mounts: [
      { destination: "/mnt/a/tmpfs", type: "tmpfs", source: "tmpfs" },
      { destination: "/mnt/a/deep/tmpfs", type: "tmpfs", source: "tmpfs" },
      { destination: "/mnt/a/proc", type: "proc", source: "proc" },
      { destination: "/mnt/a/file", source, options: ["bind"] },
    ],
    edit(spec) {
      spec.linux.maskedPaths = ["/mnt/a/deep", "/mnt/a/file"];
      spec.linux.readonlyPaths = ["/mnt/a"];
      spec.linux.devices = [{ path: "/mnt/a/null", type: "c", major: 1, minor: 3 }];
      spec.process.cwd = "/mnt/a/cwd";
    },
  });
  return { bundle, outside };
}

function linksTo(path: string): string[] {
  return [path, `../../../../../../../../../..${path}`];
}

/** The directory and the link that takes its place, as they are before an attack. */
function reset({ rootfs }: Bundle, link: string): [directory: string, link: string] {
  const [a, b] = [join(rootfs, "mnt/a"), join(rootfs, "mnt/b")];
  rmSync(join(rootfs, "mnt"), { recursive: true });
  mkdirSync(join(a, "deep"), { recursive: true });
  symlinkSync(link, b);
  return [a, b];
}

/** A directory that takes the place of /proc: it has the names that are masked, and the link to its own mounts. */
function decoyBundle(): { bundle: Bundle; decoy: string; usual: string } {
  const bundle = makeBundle({ args: ["cat", "/proc/self/mountinfo"] });
  const [usual = 0] = masksOf(runBundle(bundle).stdout);
  expect(usual).toBeGreaterThan(3);
  const decoy = join(bundle.rootfs, "decoy");
  for (const name of ["acpi", "scsi", "bus", "fs", "irq", "sys"]) mkdirSync(join(decoy, name), { recursive: true });
  for (const name of ["kcore", "keys", "timer_list", "sysrq-trigger"]) writeFileSync(join(decoy, name), "");
  bundle.edit((spec) => {
    spec.process.args = ["sh", "-c", LOOK];
  });
  return { bundle, decoy, usual: String(usual) };
}

/** How many mounts lie on each procfs. By the id of the mount: its path changes with every exchange. */
function masksOf(mountinfo: string): number[] {
  const byId = new Map(mountinfo.split("\n").map((line) => [line.split(" ")[0], line.split(" ")]));
  const lines = [...byId.values()];
  return lines
    .filter((fields) => fields.includes("proc") && fields[3] === "/")
    .map((proc) => lines.filter((fields) => fields[1] === proc[0]).length);
}

/** Whichever of the two is the procfs at that moment. */
const LOOK = "for i in 1 2 3 4 5 6 7 8; do cat /proc/self/mountinfo || cat /decoy/self/mountinfo; done 2>/dev/null";
