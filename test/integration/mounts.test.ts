/** Mounts of config.json as the process finds them: binds, file systems, options, devices, masks, propagation. */
import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import type { Mount } from "../../src/spec/types.ts";
import { type Bundle, type BundleRequest, type FullSpec, makeBundle } from "../helpers/bundle.ts";
import { startContainer } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  hostMounts,
  inventory,
  type Leftovers,
  newId,
  type Result,
  RUNTIME,
  runBundle,
  runOk,
} from "../helpers/runtime.ts";
import { scratch } from "../helpers/scratch.ts";

const root = needs({ root: true });
const own = needs({ root: true, tsrun: true });

let before: Leftovers;
let mountsBefore: string[];
beforeAll(() => {
  before = inventory();
  mountsBefore = hostMounts();
});
afterAll(() => {
  deleteContainers();
  expectNothingLeft(before);
  expect(hostMounts()).toEqual(mountsBefore);
});

function bundleOf(script: string, mounts: Mount[], request: BundleRequest = {}): Bundle {
  return makeBundle({ args: ["sh", "-c", script], mounts, ...request });
}

/** What a shell script in the container writes; the test fails unless the container ran. */
function sh(script: string, mounts: Mount[], request: BundleRequest = {}): string {
  const result = runBundle(bundleOf(script, mounts, request));
  if (result.code !== 0) throw new Error(`exit code ${result.code}: ${result.stderr}`);
  return result.stdout;
}

/** The options that mountinfo shows for a place in the container: of the mount, then of its file system. */
function optionsOf(place: string, mounts: Mount[], request: BundleRequest = {}): string[] {
  const line = sh(`awk '$5 == "${place}"' /proc/self/mountinfo | tail -n 1`, mounts, request).trim();
  const [left = "", right = ""] = line.split(" - ");
  return [...(left.split(" ")[5] ?? "").split(","), ...(right.split(" ")[2] ?? "").split(",")];
}

/** A directory of the host with a file in it. */
function source(): string {
  const dir = scratch("source");
  chmodSync(dir, 0o755);
  writeFileSync(join(dir, "file"), "of the host\n");
  return dir;
}

describe("bind mounts", () => {
  root("a directory is there, and what is written to it is on the host", () => {
    const dir = source();
    const mount = { destination: "/data", source: dir, options: ["bind"] };
    expect(sh("cat /data/file; echo new > /data/new", [mount])).toBe("of the host\n");
    expect(readFileSync(join(dir, "new"), "utf8")).toBe("new\n");
  });

  root("a file is bound on a file, which is made when it is missing", () => {
    const file = join(source(), "file");
    const mounts = [
      { destination: "/etc/passwd", source: file, options: ["bind"] },
      { destination: "/deep/er/name", source: file, options: ["bind"] },
    ];
    expect(sh("cat /etc/passwd /deep/er/name", mounts)).toBe("of the host\nof the host\n");
  });

  root("a read-only one cannot be written through, and stays writable on the host", () => {
    const dir = source();
    const result = runBundle(
      bundleOf("echo x > /data/file", [{ destination: "/data", source: dir, options: ["bind", "ro"] }]),
    );
    expect(result.code).not.toBe(0);
    expect(result.stderr).toContain("Read-only file system");
    writeFileSync(join(dir, "file"), "still\n");
  });

  root("rbind brings the mounts below it, bind does not", () => {
    const top = scratch("top");
    mkdirSync(join(top, "sub"));
    const script = `mount -t tmpfs inner ${top}/sub && echo inner > ${top}/sub/file && exec "$@"`;
    for (const [word, seen] of [
      ["rbind", "inner\n"],
      ["bind", ""],
    ] as const) {
      const bundle = bundleOf("cat /data/sub/file 2>/dev/null || true", [
        { destination: "/data", source: top, options: [word] },
      ]);
      expect(inNewMounts(script, runArgs(bundle)).stdout, word).toBe(seen);
    }
  });

  root("the options of a bind are those it names, the others those of its source", () => {
    const dir = source();
    const mount = (...options: string[]) => [{ destination: "/data", source: dir, options: ["bind", ...options] }];
    const own = optionsOf("/data", mount());
    expect(optionsOf("/data", mount("nosuid", "nodev", "noexec"))).toEqual(
      expect.arrayContaining(["rw", "nosuid", "nodev", "noexec"]),
    );
    expect(own).not.toContain("noexec");
    expect(optionsOf("/data", mount("noatime"))).toContain("noatime");
    expect(optionsOf("/data", mount("ro", "rw"))).toContain("rw");
  });

  root("an executable in a noexec mount is not executed", () => {
    const dir = scratch();
    writeFileSync(join(dir, "tool"), "#!/bin/sh\necho ran\n", { mode: 0o755 });
    const script = "/data/tool && echo yes || echo no";
    expect(sh(script, [{ destination: "/data", source: dir, options: ["bind"] }])).toBe("ran\nyes\n");
    expect(sh(script, [{ destination: "/data", source: dir, options: ["bind", "noexec"] }])).toBe("no\n");
  });

  needs({ root: true, tsrun: true, kernel: [5, 12] })("rro makes the mounts below it read-only too", () => {
    const top = scratch("top");
    mkdirSync(join(top, "sub"));
    const bundle = bundleOf("echo x > /data/sub/new && echo written || echo refused", [
      { destination: "/data", source: top, options: ["rbind", "rro"] },
    ]);
    const result = inNewMounts(`mount -t tmpfs inner ${top}/sub && exec "$@"`, runArgs(bundle));
    expect(result.stdout).toBe("refused\n");
  });

  root("type bind without an option is a bind as well", () => {
    expect(sh("cat /data/file", [{ destination: "/data", type: "bind", source: source(), options: ["rbind"] }])).toBe(
      "of the host\n",
    );
  });

  root("a source relative to the bundle is found there", () => {
    const bundle = bundleOf("cat /data/file", [{ destination: "/data", source: "beside", options: ["bind"] }]);
    mkdirSync(join(bundle.path, "beside"));
    writeFileSync(join(bundle.path, "beside/file"), "beside the rootfs\n");
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "beside the rootfs\n" });
  });

  root("a relative destination is below the root", () => {
    expect(sh("cat /data/file", [{ destination: "data", source: source(), options: ["bind"] }])).toBe("of the host\n");
  });

  root("a source that is missing fails with its name", () => {
    const result = runBundle(bundleOf("true", [{ destination: "/x", source: "/no/such", options: ["bind"] }]));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("/no/such");
    expect(result.stderr).toContain("no such file or directory");
  });

  own("a directory on a file fails in the words that docker looks for", () => {
    const mount = { destination: "/etc/passwd", source: source(), options: ["bind"] };
    const result = runBundle(bundleOf("true", [mount]));
    expect(result.code).toBe(1);
    expect(result.stderr.toLowerCase()).toContain("not a directory");
    expect(result.stderr).toContain("mounts[7] /etc/passwd");
  });
});

/** The command that runs a bundle. */
function runArgs(bundle: Bundle): string[] {
  return ["run", "-b", bundle.path, `${bundle.path.split("/").at(-2)}-${bundle.path.split("/").at(-1)}`];
}

/** Runs the runtime after a shell script in a mount namespace of its own, so that what it mounts goes with it. */
function inNewMounts(
  script: string,
  args: string[],
  propagation = "private",
): { stdout: string; stderr: string; status: number | null } {
  const runtime = process.env.TSRUN ?? join(process.cwd(), "dist/tsrun");
  return spawnSync("unshare", ["--mount", "--propagation", propagation, "sh", "-c", script, "sh", runtime, ...args], {
    encoding: "utf8",
    input: "",
  });
}

describe("file systems", () => {
  root("a tmpfs has the size, mode and flags that its options say", () => {
    const mount = {
      destination: "/t",
      type: "tmpfs",
      source: "named",
      options: ["size=64k", "mode=1751", "nosuid", "noexec"],
    };
    expect(sh("stat -c %a /t; df -k /t | tail -n 1 | awk '{print $1, $2}'", [mount])).toBe("1751\nnamed 64\n");
    expect(optionsOf("/t", [mount])).toEqual(expect.arrayContaining(["nosuid", "noexec", "size=64k", "mode=1751"]));
  });

  own("a tmpfs without a mode has that of the directory it covers", () => {
    const bundle = bundleOf("stat -c %a /t", [{ destination: "/t", type: "tmpfs" }]);
    mkdirSync(join(bundle.rootfs, "t"));
    chmodSync(join(bundle.rootfs, "t"), 0o2710);
    expect(runBundle(bundle).stdout).toMatch(/^2?710\n$/);
  });

  root("a read-only tmpfs cannot be written to", () => {
    expect(
      sh("echo x > /t/x 2>/dev/null || echo refused", [{ destination: "/t", type: "tmpfs", options: ["ro"] }]),
    ).toBe("refused\n");
  });

  root("mounts are made in the order of the list", () => {
    const mounts = [
      { destination: "/t", type: "tmpfs" },
      { destination: "/t/below", source: source(), options: ["bind"] },
      { destination: "/t/below/over", type: "tmpfs" },
    ];
    expect(sh("ls /t/below; awk '{print $5}' /proc/self/mountinfo | grep -c '^/t'", mounts)).toBe("file\nover\n3\n");
  });

  own("an unknown file system type fails with its name", () => {
    const result = runBundle(bundleOf("true", [{ destination: "/t", type: "nosuchfs", source: "x" }]));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("nosuchfs");
  });

  own("an option that the file system does not know fails with the kernel's own word", () => {
    const result = runBundle(bundleOf("true", [{ destination: "/t", type: "tmpfs", options: ["nosuchoption=1"] }]));
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("nosuchoption");
  });

  root("an overlay whose options are longer than 255 bytes is mounted", () => {
    const layers = Array.from({ length: 6 }, (_, i) => {
      const dir = join(scratch("lower"), "l".repeat(60));
      mkdirSync(dir);
      writeFileSync(join(dir, `from-${i}`), "");
      return dir;
    });
    const [upper, work] = [scratch("upper"), scratch("work")];
    const options = [`lowerdir=${layers.join(":")}`, `upperdir=${upper}`, `workdir=${work}`];
    expect(options[0]?.length).toBeGreaterThan(255);
    const mount = { destination: "/o", type: "overlay", source: "overlay", options };
    expect(sh("ls /o; echo x > /o/written", [mount])).toBe(layers.map((_, i) => `from-${i}\n`).join(""));
    expect(readdirSync(upper)).toEqual(["written"]);
  });

  root("proc, sysfs, devpts, mqueue and cgroup of the default config are there", () => {
    const types = sh("cut -d' ' -f2,3 /proc/mounts", []).split("\n");
    for (const expected of [
      "/proc proc",
      "/dev tmpfs",
      "/dev/pts devpts",
      "/dev/shm tmpfs",
      "/dev/mqueue mqueue",
      "/sys sysfs",
    ]) {
      expect(types).toContain(expected);
    }
    expect(types.some((line) => line.startsWith("/sys/fs/cgroup "))).toBe(true);
  });

  root("a remount changes the options of a mount that is there", () => {
    const mounts = [
      { destination: "/t", type: "tmpfs" },
      { destination: "/t", type: "tmpfs", source: "none", options: ["remount", "ro"] },
    ];
    expect(sh("echo x > /t/x 2>/dev/null || echo refused", mounts)).toBe("refused\n");
  });

  root("a remount changes the file system, too", () => {
    const mounts = [
      { destination: "/t", type: "tmpfs", options: ["size=8m"] },
      { destination: "/t", type: "tmpfs", source: "none", options: ["remount", "nosuid", "size=1m"] },
    ];
    expect(sh("grep ' /t ' /proc/self/mounts", mounts)).toMatch(/ \/t tmpfs rw,nosuid.*size=1024k/);
  });
});

describe("a hostile image", () => {
  root("a symbolic link as the target of a mount stays inside the root", () => {
    const outside = scratch("outside");
    const bundle = bundleOf(`ls ${outside} | wc -l; cat ${outside}/file`, [
      { destination: "/link", source: source(), options: ["bind"] },
    ]);
    symlinkSync(outside, join(bundle.rootfs, "link"));
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "1\nof the host\n" });
    expect(readdirSync(outside)).toEqual([]);
  });

  root("a link of dots does not lead out either", () => {
    const bundle = bundleOf("cat /tmp/marker/file", [
      { destination: "/link/marker", source: source(), options: ["bind"] },
    ]);
    symlinkSync("../../../../../../../../tmp", join(bundle.rootfs, "link"));
    const before = readdirSync("/tmp");
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "of the host\n" });
    expect(readdirSync("/tmp").filter((name) => !before.includes(name) && name === "marker")).toEqual([]);
  });

  own("a /proc that is a symbolic link is refused", () => {
    const bundle = makeBundle();
    spawnSync("rmdir", [join(bundle.rootfs, "proc")]);
    mkdirSync(join(bundle.rootfs, "elsewhere"));
    symlinkSync("elsewhere", join(bundle.rootfs, "proc"));
    const result = runBundle(bundle);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("mounts[0] /proc");
    expect(result.stderr).toContain("symbolic link");
  });

  own("a /dev/null of the image's own is not what masks paths", () => {
    const bundle = bundleOf("cat /proc/kcore | head -c 5; cat /proc/keys", []);
    bundle.edit((spec) => {
      spec.mounts = spec.mounts.filter(({ destination }) => !destination.startsWith("/dev"));
      spec.linux.maskedPaths = ["/proc/kcore", "/proc/keys"];
    });
    writeFileSync(join(bundle.rootfs, "dev/null"), "of the image\n");
    const result = runBundle(bundle);
    expect(result.stdout).toBe("");
  });

  root("a device's place that is a link to the host changes nothing there", () => {
    const outside = join(scratch("outside"), "victim");
    writeFileSync(outside, "untouched\n");
    const bundle = makeBundle({ args: ["true"] });
    bundle.edit((spec) => {
      spec.linux.devices = [{ path: "/image/fuse", type: "c", major: 10, minor: 229 }];
    });
    mkdirSync(join(bundle.rootfs, "image"));
    symlinkSync(outside, join(bundle.rootfs, "image/fuse"));
    runBundle(bundle);
    expect(readFileSync(outside, "utf8")).toBe("untouched\n");
  });
});

describe("devices and links of /dev", () => {
  root("the default devices are character devices that everybody may use", () => {
    expect(sh("cd /dev; for d in null zero full random urandom tty; do stat -c '%n %F %a %t:%T' $d; done", [])).toBe(
      [
        "null character special file 666 1:3",
        "zero character special file 666 1:5",
        "full character special file 666 1:7",
        "random character special file 666 1:8",
        "urandom character special file 666 1:9",
        "tty character special file 666 5:0",
        "",
      ].join("\n"),
    );
  });

  root("a read-only /dev has all that belongs there, and takes no more", () => {
    const bundle = makeBundle({
      args: ["sh", "-c", "echo x > /dev/null && ls /dev/pts/ptmx /dev/shm -d && touch /dev/new || echo refused"],
      edit: (spec) => {
        for (const mount of spec.mounts) if (mount.destination === "/dev") mount.options?.push("ro");
      },
    });
    const result = runBundle(bundle);
    expect(result.stdout).toBe("/dev/pts/ptmx\n/dev/shm\nrefused\n");
    expect(result.stderr).toContain("Read-only file system");
  });

  root("the links of /dev lead where the spec says", () => {
    expect(sh("cd /dev; for link in fd stdin stdout stderr ptmx; do readlink $link; done", [])).toBe(
      "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n",
    );
  });

  root("linux.devices are made with their mode and owner, block devices and pipes too", () => {
    const edit: BundleRequest["edit"] = (spec) => {
      spec.linux.devices = [
        { path: "/dev/sub/fuse", type: "c", major: 10, minor: 229, fileMode: 0o640, uid: 7, gid: 8 },
        { path: "/dev/block", type: "b", major: 7, minor: 300 },
        { path: "/dev/pipe", type: "p", fileMode: 0o600 },
      ];
    };
    expect(sh("cd /dev; stat -c '%F %a %u:%g %t:%T' sub/fuse block pipe", [], { edit })).toBe(
      "character special file 640 7:8 a:e5\nblock special file 666 0:0 7:12c\nfifo 600 0:0 0:0\n",
    );
  });

  own("a /dev that is bound from the host gets nothing made in it", () => {
    const dir = scratch("dev");
    const bundle = makeBundle({ args: ["ls", "/dev"] });
    bundle.edit((spec) => {
      spec.mounts = spec.mounts.filter(({ destination }) => !destination.startsWith("/dev"));
      spec.mounts.push({ destination: "/dev", source: dir, options: ["bind"] });
    });
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "" });
    expect(readdirSync(dir)).toEqual([]);
  });
});

describe("masked and read-only paths", () => {
  const edit =
    (masked: string[], readonly: string[] = []) =>
    (spec: FullSpec) => {
      spec.linux.maskedPaths = masked;
      spec.linux.readonlyPaths = readonly;
    };

  root("a masked file reads as empty and a masked directory is empty and read-only", () => {
    const bundle = bundleOf("cat /etc/passwd; ls /home; touch /home/x 2>/dev/null || echo refused", []);
    writeFileSync(join(bundle.rootfs, "home/secret"), "");
    bundle.edit((spec) => edit(["/etc/passwd", "/home", "/not/there"])(spec));
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "refused\n" });
  });

  root("what is written to a masked file goes nowhere", () => {
    const bundle = bundleOf("echo gone > /etc/passwd; cat /etc/passwd", []);
    bundle.edit((spec) => edit(["/etc/passwd"])(spec));
    expect(runBundle(bundle)).toMatchObject({ code: 0, stdout: "" });
    expect(readFileSync(join(bundle.rootfs, "etc/passwd"), "utf8")).toContain("root");
  });

  root("a read-only path can be read and not written, all the way down", () => {
    const script = "cat /etc/group | head -n 1; echo x > /etc/group || echo refused; mkdir /etc/new || echo refused";
    expect(sh(`${script} 2>/dev/null`, [], { edit: edit([], ["/etc", "/not/there"]) })).toBe(
      "root:x:0:\nrefused\nrefused\n",
    );
  });

  root("/proc/sys of the default config is read-only", () => {
    expect(sh("echo 1 > /proc/sys/net/ipv4/ip_forward || echo refused", [])).toBe("refused\n");
  });

  root("a mask covers what a mount of the list brings", () => {
    const mounts = [{ destination: "/data", source: source(), options: ["bind"] }];
    expect(sh("cat /data/file", mounts, { edit: edit(["/data/file"]) })).toBe("");
  });
});

describe("the root", () => {
  root("a read-only one refuses writes, but not below a mount", () => {
    const edit: BundleRequest["edit"] = (spec) => {
      spec.root.readonly = true;
    };
    const script = "echo x > /x 2>/dev/null || echo refused; echo y > /t/y && cat /t/y";
    expect(sh(script, [{ destination: "/t", type: "tmpfs" }], { edit })).toBe("refused\ny\n");
  });

  root("the host's root is nowhere in reach", () => {
    expect(sh("cd ..; cd ../../..; ls -d /bin /rootfs /work 2>/dev/null; ls /proc/1/root/ | grep -c .", [])).toMatch(
      /^\/bin\n\d+\n$/,
    );
    const marker = scratch("marker");
    expect(sh(`ls -d ${marker} 2>/dev/null || echo hidden; grep -c ${marker} /proc/self/mountinfo || true`, [])).toBe(
      "hidden\n0\n",
    );
  });

  root("--no-pivot gives the same root by another way", () => {
    const bundle = makeBundle({ args: ["sh", "-c", "ls /etc; cd ../..; pwd; cat /proc/self/mountinfo | wc -l"] });
    const result = runBundle(bundle, ["--no-pivot"]);
    expect(result).toMatchObject({ code: 0 });
    expect(result.stdout.split("\n").slice(0, 3)).toEqual(["group", "passwd", "/"]);
  });

  own("--no-pivot goes by a procfs that another mount covers, unless the container could make use of it", () => {
    const dir = scratch("covered");
    const proc = join(dir, "proc");
    const withUser = makeBundle({
      args: ["true"],
      edit: (spec) => {
        spec.linux.namespaces?.push({ type: "user" });
        spec.linux.uidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
        spec.linux.gidMappings = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
      },
    });
    const script = `mount -t tmpfs none '${dir}' && mkdir '${proc}' && mount -t proc none '${proc}' && mount -t tmpfs none '${dir}' && exec "$@"`;
    const under = (path: string) => {
      const command = [RUNTIME, "run", "--no-pivot", "-b", path, newId()];
      return spawnSync("unshare", ["--mount", "sh", "-c", script, "sh", ...command], { encoding: "utf8" });
    };
    expect(under(makeBundle({ args: ["true"] }).path)).toMatchObject({ status: 0, stderr: "" });
    const refused = under(withUser.path);
    expect(refused.status).toBe(1);
    expect(refused.stderr).toContain(`the proc at ${proc} is covered by another mount`);
  });

  root("a missing working directory is made in it", () => {
    expect(
      sh("pwd", [], {
        edit: (spec) => {
          spec.process.cwd = "/made/for/this";
        },
      }),
    ).toBe("/made/for/this\n");
  });
});

describe("propagation", () => {
  /** The optional fields that mountinfo shows for a place. */
  const fieldsOf = (place: string, mounts: Mount[], request: BundleRequest = {}) =>
    sh(`awk '$5 == "${place}"' /proc/self/mountinfo | tail -n 1`, mounts, request)
      .split(" - ")[0]
      ?.split(" ")
      .slice(6)
      .map((word) => word.replace(/:\d+/, ""));

  for (const [word, fields] of [
    ["private", []],
    ["rprivate", []],
    ["shared", ["shared"]],
    ["rshared", ["shared"]],
    ["unbindable", ["unbindable"]],
  ] as const) {
    root(`a mount that asks for ${word} is that`, () => {
      const mount = { destination: "/t", type: "tmpfs", source: "t", options: [word] };
      expect(fieldsOf("/t", [mount])).toEqual(fields);
    });
  }

  root("a bind that asks for rslave sees what the host mounts later, and the host nothing of it", async () => {
    const top = scratch("top");
    mkdirSync(join(top, "sub"));
    // The source must be shared for anything to propagate; in a mount namespace that goes with the script.
    const bundle = bundleOf(
      "mkdir /data/x; mount -t tmpfs own /data/x; echo ready > /data/ready; until [ -e /data/sub/inner ]; do sleep 0.05; done; echo seen",
      [{ destination: "/data", source: top, options: ["rbind", "rslave"] }],
      {
        edit: (spec) => {
          for (const set of ["bounding", "effective", "permitted"] as const)
            spec.process.capabilities?.[set]?.push("CAP_SYS_ADMIN");
          delete spec.linux.seccomp;
        },
      },
    );
    const script = `mount --bind ${top} ${top}; mount --make-shared ${top}
      "$@" & until [ -e ${top}/ready ]; do sleep 0.05; done
      mount -t tmpfs later ${top}/sub; : > ${top}/sub/inner
      wait; grep -c ' ${top}/x ' /proc/self/mountinfo`;
    const result = inNewMounts(script, runArgs(bundle));
    expect(result.stdout).toBe("seen\n0\n");
  });

  for (const [word, fields] of [
    ["private", []],
    ["rslave", []],
    ["shared", ["shared"]],
    ["rshared", ["shared"]],
  ] as const) {
    own(`rootfsPropagation ${word} is what the root has`, () => {
      const request: BundleRequest = {
        edit: (spec) => {
          spec.linux.rootfsPropagation = word;
        },
      };
      const found = fieldsOf("/", [], request)?.filter((field) => field !== "master");
      expect(found).toEqual(fields);
    });
  }

  for (const [word, seen] of [
    ["slave", "inner"],
    ["rslave", "inner"],
    ["private", "nothing"],
  ] as const) {
    // Of a slave that is not recursive runc makes the mount that holds the root private before it is a slave.
    (word === "slave" ? own : root)(
      `rootfsPropagation ${word}: of what the host mounts below the root later it sees ${seen}`,
      () => {
        const bundle = makeBundle({
          args: [
            "sh",
            "-c",
            ": > /ready; until [ -e /mounted ]; do sleep 0.05; done; ls /late | grep . || echo nothing",
          ],
          edit: (spec) => (spec.linux.rootfsPropagation = word),
        });
        mkdirSync(join(bundle.rootfs, "late"));
        const top = bundle.rootfs;
        const script = `mount --bind ${top} ${top}; mount --make-shared ${top}
        "$@" & until [ -e ${top}/ready ]; do sleep 0.05; done
        mount -t tmpfs later ${top}/late; : > ${top}/late/inner; : > ${top}/mounted; wait`;
        expect(inNewMounts(script, runArgs(bundle)).stdout).toBe(`${seen}\n`);
      },
    );
  }

  root("nothing that a container mounts shows up on a host whose mounts are shared", () => {
    const bundle = bundleOf("grep -c ' /t ' /proc/self/mountinfo", [{ destination: "/t", type: "tmpfs" }]);
    for (const propagation of [undefined, "rshared", "rslave", "rprivate"]) {
      bundle.edit((spec) => {
        if (propagation === undefined) delete spec.linux.rootfsPropagation;
        else spec.linux.rootfsPropagation = propagation;
      });
      const script = 'cat /proc/self/mountinfo | wc -l; "$@"; cat /proc/self/mountinfo | wc -l';
      const [first, , last] = inNewMounts(script, runArgs(bundle), "shared").stdout.split("\n");
      expect(last, propagation).toBe(first);
    }
  });
});

root("a mount below a mount of a running container goes with the container", () => {
  const { id } = startContainer(bundleOf("sleep 3600", [{ destination: "/t", type: "tmpfs" }]));
  expect(runOk(["exec", id, "sh", "-c", "echo x > /t/x; cat /t/x"])).toBe("x\n");
  runOk(["delete", "--force", id]);
});

own("all problems of the mounts are told at once", () => {
  const result: Result = runBundle(
    bundleOf("true", [
      { destination: "", type: "tmpfs" },
      { destination: "/x", type: "tmpfs", options: ["reead-only"] },
      { destination: "/y", options: ["bind"] },
    ]),
  );
  expect(result.code).toBe(1);
  for (const path of ["mounts[7]", "mounts[9]"]) expect(result.stderr).toContain(path);
  expect(existsSync("/x")).toBe(false);
});
