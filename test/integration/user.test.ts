/** A process that is not root: what it can reach of what it was given. */
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { sleepingBundle, startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  RUNTIME,
  run,
  runBundle,
} from "../helpers/runtime.ts";

const root = needs({ root: true });

let before: Leftovers;
beforeAll(() => {
  before = inventory();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
});

function asApp(spec: FullSpec): void {
  spec.process.user = { uid: 1000, gid: 1000 };
}

describe("exec", () => {
  const keyring = (flags: string[]) => {
    const bundle = sleepingBundle({ edit: (spec) => delete spec.linux.maskedPaths });
    const { id } = startContainer(bundle, flags);
    return run(["exec", id, "sh", "-c", `grep -c '_ses.${id}' /proc/keys`]).stdout;
  };

  needs({ root: true, files: ["/proc/keys"] })(
    "joins the session keyring of the container, not that of its caller",
    () => {
      expect(keyring([])).toBe("1\n");
    },
  );

  needs({ root: true, files: ["/proc/keys"] })("stays in that of its caller where the container does", () => {
    expect(keyring(["--no-new-keyring"])).toBe("0\n");
  });
});

describe("run.oci.keep_original_groups", () => {
  needs({ root: true, tsrun: true, commands: ["setpriv"] })(
    "the groups are the caller's, in exec those of its own",
    () => {
      const groups = (gids: string, args: string[]) =>
        run(["--groups", gids, RUNTIME, ...args], { runtime: "setpriv" })
          .stdout.trim()
          .split(" ")
          .map(Number);
      const bundle = (annotations: Record<string, string>) =>
        makeBundle({
          args: ["sh", "-c", "id -G; exec sleep 3600 > /dev/null 2>&1"],
          edit: (spec) => {
            spec.process.user = { uid: 1000, gid: 1000, additionalGids: [55] };
            spec.annotations = annotations;
          },
        });
      const kept = newId();
      const keeping = bundle({ "run.oci.keep_original_groups": "1" }).path;
      expect(groups("7001,7002", ["run", "-d", "-b", keeping, kept])).toEqual([1000, 7001, 7002]);
      expect(groups("7003", ["exec", kept, "id", "-G"])).toEqual([1000, 7003]);
      expect(groups("7001,7002", ["run", "-d", "-b", bundle({}).path, newId()])).toEqual([1000, 55]);
    },
  );
});

describe("a user who is not root", () => {
  root("starts in a directory that only root may enter", () => {
    const bundle = makeBundle({
      args: ["pwd"],
      edit: (spec) => {
        asApp(spec);
        spec.process.cwd = "/root/work";
      },
    });
    mkdirSync(join(bundle.rootfs, "root/work"));
    chmodSync(join(bundle.rootfs, "root"), 0o700);
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "/root/work\n" });
  });

  root("opens /dev/stdout and /dev/stderr again when they are pipes", () => {
    const bundle = makeBundle({ args: ["sh", "-c", "echo one > /dev/stdout; echo two > /dev/stderr"], edit: asApp });
    // Of a shell, because Node gives its children sockets, which nobody can open by path.
    const result = run(["-c", `"$0" run -b "$1" "$2" 2>&1 | cat`, RUNTIME, bundle.path, newId()], { runtime: "sh" });
    expect(result.stdout).toBe("one\ntwo\n");
  });

  root("can be the only one of its user namespace", () => {
    const mapping = { containerID: 1000, hostID: 100000, size: 1 };
    const bundle = makeBundle({
      args: ["sh", "-c", "id -u; cat /proc/self/uid_map"],
      edit: (spec) => {
        asApp(spec);
        spec.linux.namespaces?.push({ type: "user" });
        Object.assign(spec.linux, { uidMappings: [mapping], gidMappings: [mapping] });
        // Group 5 means nothing there.
        const pts = spec.mounts.find(({ destination }) => destination === "/dev/pts");
        if (pts) pts.options = ["newinstance", "ptmxmode=0666"];
      },
    });
    for (const dir of [bundle.path, bundle.rootfs]) chmodSync(dir, 0o755);
    const result = runBundle(bundle);
    expect(result.stderr).toBe("");
    expect(result.stdout).toMatch(/^1000\n\s+1000\s+100000\s+1\n$/);
  });

  root("opens /dev/stdout of an exec again", () => {
    const { id } = startContainer(sleepingBundle());
    const script = `"$0" exec -u 1000:1000 "$1" sh -c 'echo one > /dev/stdout' 2>&1 | cat`;
    expect(run(["-c", script, RUNTIME, id], { runtime: "sh" }).stdout).toBe("one\n");
  });
});
