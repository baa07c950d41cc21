/** Removal never follows a link and never crosses a mount (invariant 8). */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { makeBundle } from "../../helpers/bundle.ts";
import { startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { expectNothingLeft, inventory, newId, run, runBundle, runOk, spawn } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const STORE = "/var/lib/tsrun/overlay2";

function layered(args: string[]) {
  return makeBundle({
    args,
    edit: (spec) => {
      spec.annotations = { "org.tsrun.overlay": "true" };
    },
  });
}

/** The container's read-write layer. */
function rwLayer(id: string): string {
  const mountId = readFileSync(`/var/lib/tsrun/image/overlay2/layerdb/mounts/${id}/mount-id`, "utf8");
  return join(STORE, mountId);
}

/** A directory that is mounted elsewhere with `--bind`. */
function precious(): string {
  const dir = scratch("precious");
  mkdirSync(join(dir, "deep"));
  writeFileSync(join(dir, "deep/file"), "kept");
  return dir;
}

function mount(source: string, at: string): void {
  expect(spawnSync("mount", ["--bind", source, at], { encoding: "utf8" }).stderr).toBe("");
}

function umount(at: string): void {
  expect(spawnSync("umount", [at], { encoding: "utf8" }).stderr).toBe("");
}

describe("delete", () => {
  const tsrun = needs({ root: true, tsrun: true });

  tsrun("it refuses to go through a mount in the read-write layer, says so, and works once it is unmounted", () => {
    const before = inventory();
    const { id } = startContainer(layered(["sh", "-c", "mkdir -p /a/b /c; echo 1 > /a/x; exec sleep 1000"]));
    const dir = precious();
    const at = join(rwLayer(id), "diff/a/mounted");
    mkdirSync(at, { recursive: true });
    mount(dir, at);
    try {
      for (let i = 0; i < 2; i++) {
        const result = run(["delete", "--force", id]);
        expect(result.code).toBe(1);
        expect(result.stderr).toContain(at);
        expect(readFileSync(join(dir, "deep/file"), "utf8")).toBe("kept");
        // Found by its state still.
        expect(run(["state", id]).code).toBe(0);
      }
    } finally {
      umount(at);
    }
    runOk(["delete", id]);
    expect(readFileSync(join(dir, "deep/file"), "utf8")).toBe("kept");
    expectNothingLeft(before);
  });

  tsrun("it refuses to go through a mount in the state's directory, says so, and works once it is unmounted", () => {
    const before = inventory();
    const { id } = startContainer(makeBundle({ args: ["sleep", "1000"] }));
    const dir = precious();
    const at = `/run/tsrun/${id}/mounted`;
    mkdirSync(at);
    mount(dir, at);
    try {
      for (let i = 0; i < 2; i++) {
        const result = run(["delete", "--force", id]);
        expect(result.code).toBe(1);
        expect(result.stderr).toContain(`/run/tsrun/${id}`);
        expect(readFileSync(join(dir, "deep/file"), "utf8")).toBe("kept");
        expect(run(["state", id]).code).toBe(0);
      }
    } finally {
      umount(at);
    }
    spawnSync("rmdir", [at]);
    runOk(["delete", id]);
    expectNothingLeft(before);
  });

  tsrun("nor does the monitor, when a container in the foreground ends", async () => {
    const dir = precious();
    const id = newId();
    const foreground = spawn(["run", "-b", layered(["sh", "-c", "echo ready; read x"]).path, id]);
    await foreground.waitFor("ready");
    const layer = rwLayer(id);
    const at = join(layer, "diff/mounted");
    mkdirSync(at);
    mount(dir, at);
    foreground.child.stdin?.end("\n");
    expect((await foreground.exit).code).toBe(0);
    expect(readFileSync(join(dir, "deep/file"), "utf8")).toBe("kept");
    umount(at);
    run(["delete", "--force", id]);
    expect(existsSync(layer)).toBe(false);
  });

  tsrun("links of the container are removed, and what they name is not", () => {
    const before = inventory();
    const dir = precious();
    const script = [
      `ln -s ${dir} /absolute`,
      `ln -s ../../../../../../../../../..${dir} /relative`,
      `ln -s / /etc/root`,
      `rm -rf /mnt; ln -s ${dir} /mnt`,
      "mkdir -p /d/e; ln -s /d/e /d/loop; ln -s loop /d/loop2",
      "chmod 000 /d/e; chmod 555 /d",
    ].join("; ");
    expect(runBundle(layered(["sh", "-c", script]))).toMatchObject({ code: 0, stderr: "" });
    const { id } = startContainer(layered(["sh", "-c", `${script}; sleep 1000`]));
    symlinkSync(dir, join(rwLayer(id), "diff/by-the-host"));
    // In the file system of the layers, where no other mount would keep it.
    const near = "/var/lib/tsrun/precious";
    mkdirSync(join(near, "deep"), { recursive: true });
    for (const [name, to] of Object.entries({ near, "near-by": "../../../precious", "near-below": `${near}/deep` })) {
      symlinkSync(to, join(rwLayer(id), "diff", name));
    }
    runOk(["delete", "--force", id]);
    expect(readdirSync(near)).toEqual(["deep"]);
    rmSync(near, { recursive: true });
    expect(readdirSync(dir)).toEqual(["deep"]);
    expect(readFileSync(join(dir, "deep/file"), "utf8")).toBe("kept");
    expectNothingLeft(before);
  });
});
