/** Many containers leave what one leaves: nothing. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { type Bundle, makeBundle } from "../helpers/bundle.ts";
import { needs } from "../helpers/needs.ts";
import { expectNothingLeft, inventory, type Leftovers, newId, run, runBundle, spawn } from "../helpers/runtime.ts";

let before: Leftovers;
beforeEach(() => {
  before = inventory();
});
afterEach(() => expectNothingLeft(before));

/** A root filesystem of three layers, with everything a container can have made for it. */
function layeredBundle(args: string[]): Bundle {
  const bundle = makeBundle({ args });
  for (const name of ["app", "top"]) mkdirSync(join(bundle.path, name, "etc"), { recursive: true });
  writeFileSync(join(bundle.path, "app/etc/motd"), "app\n");
  bundle.edit((spec) => {
    spec.annotations = { "org.tsrun.layers": '["rootfs", "app", "top"]' };
  });
  return bundle;
}

const count = process.env.TSRUN_VM === "1" ? { serial: 20, parallel: 10 } : { serial: 300, parallel: 100 };

needs({ root: true, tsrun: true })(
  `${count.serial} containers one after another`,
  () => {
    const bundle = layeredBundle(["sh", "-c", "echo $$ > /etc/written; exit 3"]);
    for (let i = 0; i < count.serial; i++) expect(runBundle(bundle).code).toBe(3);
  },
  600_000,
);

needs({ root: true, tsrun: true })(
  `${count.parallel} containers side by side`,
  async () => {
    const bundle = layeredBundle(["sh", "-c", "echo running; cat; exit 4"]);
    const started = Array.from({ length: count.parallel }, () => spawn(["run", "-b", bundle.path, newId()]));
    await Promise.all(started.map((one) => one.waitFor("running")));
    expect(run(["list", "-q"]).stdout.trim().split("\n")).toHaveLength(count.parallel);
    for (const one of started) one.child.stdin?.end();
    const ends = await Promise.all(started.map((one) => one.exit));
    expect(new Set(ends.map((end) => `${end.code}${end.stderr}`))).toEqual(new Set(["4"]));
  },
  600_000,
);

needs({ root: true })("a create that fails leaves nothing, wherever it failed", () => {
  const failures: [string, (bundle: Bundle) => void][] = [
    ["no such command", (bundle) => bundle.edit(({ process }) => Object.assign(process, { args: ["nosuch"] }))],
    ["not executable", (bundle) => bundle.edit(({ process }) => Object.assign(process, { args: ["/etc/passwd"] }))],
    [
      "no source to bind",
      (bundle) =>
        bundle.edit((spec) => {
          spec.mounts.push({ destination: "/x", source: "/nonexistent/source", options: ["bind"] });
        }),
    ],
    [
      "a limit that the kernel refuses",
      (bundle) =>
        bundle.edit((spec) => {
          spec.linux.resources = { cpu: { cpus: "4000" } };
        }),
    ],
    [
      "a sysctl that the kernel refuses",
      (bundle) =>
        bundle.edit((spec) => {
          spec.linux.sysctl = { "net.ipv4.ip_forward": "many" };
        }),
    ],
    [
      "a rootfs that is not there",
      (bundle) =>
        bundle.edit((spec) => {
          spec.root.path = "/nonexistent/rootfs";
        }),
    ],
  ];
  for (const [name, damage] of failures) {
    const bundle = makeBundle();
    damage(bundle);
    for (const verb of ["create", "run"]) {
      const id = newId();
      const result = run([verb, "-b", bundle.path, id]);
      expect(result.code, `${verb}: ${name}`).toBe(1);
      expect(result.stderr.trim(), `${verb}: ${name}`).not.toBe("");
      expect(run(["state", id]).code, `${verb}: ${name}`).not.toBe(0);
    }
  }
});
