/** The Vagrantfile, as far as it can be checked without a box or a provider. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { needs } from "../helpers/needs.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

describe("Vagrantfile", () => {
  needs({ commands: ["vagrant"] })(
    "vagrant validate passes",
    () => {
      const home = mkdtempSync(join(tmpdir(), "tsrun-vagrant-"));
      try {
        const result = spawnSync("vagrant", ["validate", "--ignore-provider"], {
          cwd: ROOT,
          encoding: "utf8",
          env: {
            ...process.env,
            VAGRANT_CHECKPOINT_DISABLE: "1",
            VAGRANT_HOME: join(home, "home"),
            VAGRANT_DOTFILE_PATH: join(home, "dot"),
          },
        });
        expect(result.stderr).toBe("");
        expect(result.stdout).toContain("validated successfully");
        expect(result.status).toBe(0);
      } finally {
        rmSync(home, { recursive: true, force: true });
      }
    },
    60_000,
  );

  test("its machines are provisioned by the script that npm test provisions its VM with", () => {
    const scripts = [...readFileSync(join(ROOT, "Vagrantfile"), "utf8").matchAll(/path: "([^"]+)"/g)].map((m) => m[1]);
    expect(scripts).toEqual(["vagrant/provision.sh", "vagrant/provision.sh"]);
    expect(readFileSync(join(ROOT, "scripts/test.mjs"), "utf8")).toContain('"vagrant/provision.sh"');
  });
});
