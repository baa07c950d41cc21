/** Containers without a mount namespace: what is mounted for them is mounted here, and goes with them. */
import { existsSync, mkdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type Bundle, type BundleRequest, type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { createContainer, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  hostMounts,
  inventory,
  type Leftovers,
  newId,
  RUNTIME,
  run,
  runBundle,
  runOk,
  stateOf,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const own = needs({ root: true, tsrun: true });
const OURS = readlinkSync("/proc/self/ns/mnt");

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

function shared(request: BundleRequest = {}): Bundle {
  return makeBundle({
    ...request,
    edit: (spec: FullSpec) => {
      spec.linux.namespaces = spec.linux.namespaces?.filter(({ type }) => type !== "mount") ?? [];
      delete spec.linux.maskedPaths;
      delete spec.linux.readonlyPaths;
      request.edit?.(spec);
    },
  });
}

describe("without a mount namespace", () => {
  own("the process is in that of the caller, with its own root and mounts", () => {
    const script = "readlink /proc/self/ns/mnt; ls -d /bin /proc/self /boot; grep -c ' /proc ' /proc/self/mounts";
    const { code, stdout, stderr } = runBundle(shared({ args: ["sh", "-c", script] }));
    expect(code).toBe(0);
    expect(stdout.trim().split("\n")).toEqual([OURS, "/bin", "/proc/self", "1"]);
    expect(stderr).toContain("warning: linux.namespaces: lack a mount namespace");
    expectNothingLeft(before);
  });

  own("its mounts are seen here until it is deleted, and none of the bundle", () => {
    const bundle = shared({ args: ["sleep", "1000"] });
    const { id } = startContainer(bundle);
    const added = hostMounts().filter((line) => !before.mounts.includes(line));
    expect(added.length).toBeGreaterThan(1);
    expect(added.filter((line) => !line.includes(`/${id}/rootfs`))).toEqual([]);
    expect(existsSync(join(bundle.rootfs, "proc/self"))).toBe(false);
    runOk(["delete", "--force", id]);
    expectNothingLeft(before);
  });

  own("where the host's are shared, other mount namespaces see its root and nothing that is mounted below", () => {
    const script = `
      mount --make-rshared / && mkfifo "$3" &&
      { unshare -m --propagation unchanged sh -c ': > "$0"; exec sleep 1000' "$3" & } && other=$! && : < "$3" &&
      "$0" run -d -b "$1" "$2" < /dev/null > /dev/null 2>&1 && grep -F "/$2/rootfs" "/proc/$other/mountinfo" &&
      echo = && grep -c -F "/$2/rootfs" /proc/self/mountinfo
      kill "$other"; "$0" delete --force "$2"`;
    const bundle = shared({ args: ["sleep", "1000"] });
    const fifo = join(scratch("fifo"), "fifo");
    const result = run(["-m", "sh", "-c", script, RUNTIME, bundle.path, newId(), fifo], { runtime: "unshare" });
    expect(result).toMatchObject({ code: 0, stderr: "" });
    const [seen = "", own] = result.stdout.split("=\n");
    expect(seen.trim().split("\n")).toHaveLength(1);
    expect(Number(own)).toBeGreaterThan(3);
  });

  own("exec has the root of the container", () => {
    const { id } = startContainer(shared({ args: ["sleep", "1000"] }));
    const script = "readlink /proc/self/ns/mnt; pwd; ls -d /bin/busybox /boot";
    expect(run(["exec", id, "sh", "-c", script]).stdout).toBe(`${OURS}\n/\n/bin/busybox\n`);
    runOk(["delete", "--force", id]);
  });

  own("hooks inside have its root when it has it", () => {
    const out = join(scratch("hooks"), "out");
    const bundle = shared({
      args: ["cat", "/started"],
      edit: (spec) => {
        const create = `pwd > ${out}; test -e ./proc/self && echo mounted >> ${out}`;
        const start = "pwd > /started; ls -d /bin/busybox >> /started";
        spec.hooks = {
          createContainer: [{ path: "/bin/sh", args: ["sh", "-c", create], env: ["PATH=/usr/bin:/bin"] }],
          startContainer: [{ path: "/bin/sh", args: ["sh", "-c", start], env: ["PATH=/bin"] }],
        };
      },
    });
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "/\n/bin/busybox\n" });
    expect(readFileSync(out, "utf8")).toMatch(/^\/.*\/rootfs\nmounted\n$/);
  });

  own("what the container mounts over its root, and leaves, goes as well", async () => {
    const edit = (spec: FullSpec) => {
      const may = ["CAP_SYS_ADMIN"];
      spec.process.capabilities = { bounding: may, effective: may, permitted: may };
    };
    const args = ["sh", "-c", "mount -t tmpfs none / && mount -t tmpfs none /dev/shm && echo mounted; sleep 1000"];
    const { id, waitFor } = startContainer(shared({ args, edit }));
    await waitFor("mounted");
    const roots = hostMounts().filter((line) => line.split(" ")[0]?.endsWith(`/${id}/rootfs`));
    expect(roots).toHaveLength(2);
    runOk(["delete", "--force", id]);
    expectNothingLeft(before);
  });

  own("one that cannot be made leaves no mount behind", () => {
    const result = runBundle(shared({ args: ["/no/such/program"] }));
    expect(result.code).toBe(1);
    const destination = "/bin/busybox/below";
    const mount = { destination, type: "tmpfs", source: "tmpfs" };
    expect(runBundle(shared({ edit: (spec) => void spec.mounts.push(mount) })).code).toBe(1);
    expectNothingLeft(before);
  });

  own("--no-pivot leaves procfs and sysfs of the host alone", () => {
    const { id } = createContainer(shared(), ["--no-pivot"]);
    expect(stateOf(id)?.status).toBe("created");
    expect(before.mounts.filter((line) => !hostMounts().includes(line))).toEqual([]);
    runOk(["delete", "--force", id]);
  });

  own("it can be neither checkpointed nor given mounts", () => {
    const { id } = startContainer(shared({ args: ["sleep", "1000"] }));
    const images = scratch("images");
    mkdirSync(images, { recursive: true });
    const result = run(["checkpoint", "--image-path", images, id]);
    expect(result.code).toBe(1);
    expect(result.stderr).toMatch(/without a mount namespace|criu/);
    expect(stateOf(id)?.status).toBe("running");
    runOk(["delete", "--force", id]);
  });

  own("layers and a user namespace are refused", () => {
    expect(run(["run", "--overlay", "--bundle", shared().path, newId()]).stderr).toContain("for the layers");
    const bundle = shared({
      edit: (spec) => {
        spec.linux.namespaces?.push({ type: "user" });
        spec.linux.uidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
        spec.linux.gidMappings = [{ containerID: 0, hostID: 100000, size: 65536 }];
      },
    });
    expect(runBundle(bundle).stderr).toContain("a user namespace may not mount in another's");
  });
});
