/** Options of the overlay, and layers in a container's user namespace. */
import { spawn } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { busyboxRootfs, makeBundle } from "../../helpers/bundle.ts";
import { createContainer, runDetached } from "../../helpers/container.ts";
import { tool } from "../../helpers/images.ts";
import { describeNeeds, isKernel, missing, needs } from "../../helpers/needs.ts";
import { deleteContainers, newId, processesNamed, RUNTIME, run, runOk, stateOf, until } from "../../helpers/runtime.ts";
import { scratch, TEST_PREFIX } from "../../helpers/scratch.ts";

const WANTED = { root: true, tsrun: true } as const;
const MAPS = [{ containerID: 0, hostID: 200_000, size: 65_536 }];

let chainId: string;
let rootfs: string;

beforeAll(() => {
  if (missing(WANTED) !== undefined) return;
  rootfs = scratch("rootfs");
  busyboxRootfs(rootfs);
  writeFileSync(join(rootfs, "etc/owned"), "x\n");
  tool("chown", ["1000:1000", join(rootfs, "etc/owned")]);
  const tar = join(scratch("tar"), "rootfs.tar");
  tool("tar", ["-C", rootfs, "-cf", tar, "."]);
  chainId = runOk(["layer", "import", "-q", tar]).trim();
});

afterAll(() => {
  if (missing(WANTED) !== undefined) return;
  deleteContainers();
  runOk(["layer", "remove", chainId]);
});

function bundleOf(script: string, layers: readonly string[], { userns = false, options = "" } = {}) {
  return makeBundle({
    args: ["sh", "-c", script],
    rootfs: () => {},
    edit: (spec) => {
      spec.annotations = {
        "org.tsrun.layers": JSON.stringify(layers),
        ...(options && { "org.tsrun.overlay-options": options }),
      };
      if (!userns) return;
      const caps = ["CAP_CHOWN", "CAP_DAC_OVERRIDE"];
      spec.process.capabilities = { bounding: caps, effective: caps, permitted: caps };
      spec.linux.namespaces?.push({ type: "user" });
      spec.linux.uidMappings = MAPS;
      spec.linux.gidMappings = MAPS;
    },
  });
}

describeNeeds(WANTED)("overlay options", () => {
  test("index, metacopy and xino are what the mount in the container has", () => {
    // From another file system than the store: on one alone inode numbers need nothing.
    const bundle = bundleOf("grep ' / overlay ' /proc/mounts", [rootfs], { options: "metacopy,xino,index" });
    const line = runOk(["run", "-b", bundle.path, newId()]);
    for (const option of ["metacopy=on", "index=on"]) expect(line).toContain(option);
    // Older ones show it only when they could do it with all of the file systems.
    if (isKernel([6, 8])) expect(line).toContain("xino=on");
    const plain = runOk(["run", "-b", bundleOf("grep ' / overlay ' /proc/mounts", [chainId]).path, newId()]);
    expect(plain).not.toMatch(/metacopy=on|index=on|xino=on/);
  });

  test("volatile is asked for by name, and refused for a layer that is to be kept", () => {
    const bundle = bundleOf("true", [chainId], { options: "volatile" });
    const { id } = createContainer(bundle);
    const pid = stateOf(id)?.pid;
    expect(readFileSync(`/proc/${pid}/mountinfo`, "utf8")).toMatch(/ - overlay .*volatile/);
    runOk(["delete", "--force", id]);
    const refused = run(["run", "-b", bundle.path, "--rw-layer", `${TEST_PREFIX}-v`, newId()]);
    expect(refused.stderr).toContain("volatile: a named read-write layer is one that is to be kept");
  });

  test("a word that is no option is refused, with those that are", () => {
    const result = run(["run", "-b", bundleOf("true", [chainId]).path, "--overlay-option", "fast", newId()]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain('"fast" is no overlay option: index, metacopy, volatile, xino, idmap, noidmap');
  });
});

// The store is on tmpfs in the sandbox, which has idmapped mounts from 6.3 on, and on ext4 in the VM.
const FIRST_KERNEL = process.env.TSRUN_VM === "1" ? ([5, 19] as const) : ([6, 3] as const);

describeNeeds({ ...WANTED, kernel: FIRST_KERNEL })("layers in a user namespace", () => {
  const SCRIPT =
    "stat -c '%u:%g %n' /etc/owned /etc /bin/busybox; echo more >> /etc/owned && stat -c '%u:%g' /etc/owned; chown 5:6 /etc/owned; stat -c '%u:%g' /etc/owned";

  test("of the store belong to whom they say, without a copy, and a copied-up file keeps its owner", () => {
    const bundle = bundleOf(SCRIPT, [chainId], { userns: true });
    expect(runOk(["run", "-b", bundle.path, newId()])).toBe(
      "1000:1000 /etc/owned\n0:0 /etc\n0:0 /bin/busybox\n1000:1000\n5:6\n",
    );
    // On disk the layer is what it was.
    const cacheId = readFileSync(
      join("/var/lib/tsrun/image/overlay2/layerdb/sha256", chainId.slice(7), "cache-id"),
      "utf8",
    );
    expect(statSync(join("/var/lib/tsrun/overlay2", cacheId, "diff/etc/owned")).uid).toBe(1000);
    expect(runOk(["layer", "check"])).toBe("");
  });

  test("and what the container wrote has its own ids in an image, and in an export", () => {
    const name = `${TEST_PREFIX}-ids`;
    const image = `${TEST_PREFIX}-ids:1`;
    const bundle = bundleOf(`${SCRIPT}; echo n > /new`, [chainId], { userns: true });
    runOk(["run", "-b", bundle.path, "--rw-layer", name, newId()]);
    expect(statSync(join("/var/lib/tsrun/overlay2", `rw-${name}`, "diff/new")).uid).toBe(200_000);
    runOk(["image", "commit", name, image]);
    const top = JSON.parse(runOk(["image", "inspect", image])).layers.at(-1);
    const tars = scratch("tars");
    const listed = (subject: string, file: string) => {
      runOk(["layer", "export", subject, "-o", join(tars, file)]);
      return tool("tar", ["--numeric-owner", "-tvf", join(tars, file)]);
    };
    const whole = listed(name, "all.tar");
    for (const list of [listed(top, "layer.tar"), whole]) {
      expect(list).toMatch(/ 5\/6 .* etc\/owned\n/);
      expect(list).toMatch(/ 0\/0 .* new\n/);
      expect(list).not.toContain(" 200000/");
    }
    expect(whole).toMatch(/ 0\/0 .* bin\/busybox\n/);
    runOk(["image", "remove", image]);
    tool("rm", ["-r", join("/var/lib/tsrun/overlay2", `rw-${name}`)]);
  });

  needs({ kernel: [6, 3] })("that are directories are mapped when asked, and only then", () => {
    const mapped = bundleOf("stat -c %u /etc/owned", [rootfs], { userns: true, options: "idmap" });
    expect(runOk(["run", "-b", mapped.path, newId()])).toBe("1000\n");
    const plain = bundleOf("stat -c %u /etc/owned", [rootfs], { userns: true });
    expect(runOk(["run", "-b", plain.path, newId()])).toBe("65534\n");
    const none = bundleOf("stat -c %u /etc/owned", [chainId], { userns: true, options: "noidmap" });
    expect(runOk(["run", "-b", none.path, newId()])).toBe("65534\n");
  });
});

describeNeeds(WANTED)("layers on a file system without idmapped mounts", () => {
  /** The layer `chainId` of a store of its own, whose directory is on a ramfs, which cannot be idmapped. */
  let store: string;
  let own: string;
  let home: string;

  beforeAll(() => {
    store = scratch("store");
    const tar = join(scratch("tar"), "rootfs.tar");
    // ramfs has no POSIX ACLs, and only trusted.* and security.* attributes.
    tool("tar", ["-C", rootfs, "-cf", tar, "."]);
    own = runOk(["layer", "import", "-q", "--store", store, tar]).trim();
    const record = join(store, "image/overlay2/layerdb/sha256", own.slice(7));
    home = join(store, "overlay2", readFileSync(join(record, "cache-id"), "utf8"));
    tool("mount", ["-t", "ramfs", "-o", "mode=755", "ramfs", join(home, "diff")]);
    tool("tar", ["-C", join(home, "diff"), "-xf", tar]);
  });
  afterAll(() => {
    tool("umount", [join(home, "diff")]);
  });

  const SCRIPT = "stat -c '%u:%g' /etc/owned /bin/busybox; chown 5:6 /etc/owned; stat -c '%u:%g' /etc/owned";

  test("are copied, with a warning, and one copy serves all containers of that mapping", () => {
    const bundle = bundleOf(SCRIPT, [own], { userns: true });
    const first = run(["run", "-b", bundle.path, "--store", store, newId()]);
    expect(first.stdout).toBe("1000:1000\n0:0\n5:6\n");
    expect(first.stderr).toContain("1 layers are copies with the ids of the container, 1 of them made now");
    expect(first.stderr).toContain("has no idmapped mounts");
    const again = run(["run", "-b", bundle.path, "--store", store, newId()]);
    expect(again.stdout).toBe(first.stdout);
    expect(again.stderr).toContain("0 of them made now");
    expect(readdirSync(join(home, "mapped"))).toEqual(["u0-200000-65536,g0-200000-65536"]);
    expect(statSync(join(home, "mapped/u0-200000-65536,g0-200000-65536/etc/owned")).uid).toBe(201_000);
  });

  test("and directories among the layers are copied for each container, and go with it", () => {
    const dir = join(home, "diff/etc");
    const bundle = bundleOf("stat -c %u /owned", [own, dir], { userns: true, options: "idmap" });
    const { id } = createContainer(bundle, ["--store", store]);
    const overlay = JSON.parse(readFileSync(`/run/tsrun/${id}/state.json`, "utf8")).overlay;
    expect(readdirSync(join(store, "overlay2", overlay.mountId, "mapped"))).toEqual(["1"]);
    runOk(["delete", "--force", id]);
    expect(existsSync(join(store, "overlay2", overlay.mountId))).toBe(false);
  });

  test("copies go with `layer gc` when no container is on the layer", () => {
    const { id } = createContainer(bundleOf("true", [own], { userns: true }), ["--store", store]);
    runOk(["layer", "gc", "--store", store]);
    expect(existsSync(join(home, "mapped"))).toBe(true);
    runOk(["delete", "--force", id]);
    runOk(["layer", "gc", "--store", store]);
    expect(existsSync(join(home, "mapped"))).toBe(false);
  });
});

describeNeeds(WANTED)("--store", () => {
  const idsIn = (store: string) => readdirSync(join(store, "overlay2")).filter((name) => name !== "l");

  test("is where the layers are read and written, and where delete finds them", () => {
    const store = scratch("store");
    const before = idsIn("/var/lib/tsrun");
    const tar = join(scratch("tar"), "rootfs.tar");
    tool("tar", ["-C", rootfs, "-cf", tar, "."]);
    const own = runOk(["layer", "import", "-q", "--store", store, tar]).trim();
    const { id } = createContainer(bundleOf("true", [own]), ["--store", store]);
    expect(idsIn(store).length).toBe(3); // the image's layer, the read-write layer, the init layer
    expect(idsIn("/var/lib/tsrun")).toEqual(before);
    runOk(["delete", "--force", id]);
    expect(idsIn(store).length).toBe(1);
    const flags = ["--store", store, "--rw-layer", "data"];
    runOk(["run", "-b", bundleOf("echo kept > /kept", [own]).path, ...flags, newId()]);
    expect(runOk(["run", "-b", bundleOf("cat /kept", [own]).path, ...flags, newId()])).toBe("kept\n");
    expect(runOk(["layer", "diff", "--store", store, "data"])).toContain("A /kept");
  });

  test("is where `run --image` looks for the image and puts its bundle", () => {
    const store = scratch("store");
    const tar = join(scratch("tar"), "rootfs.tar");
    tool("tar", ["-C", rootfs, "-cf", tar, "."]);
    runOk(["image", "import", "-q", "--store", store, tar, "elsewhere"]);
    expect(runOk(["run", "--store", store, "--image", "elsewhere", "--", "cat", "/etc/owned"])).toBe("x\n");
    expect(readdirSync(join(store, "bundles")).length).toBe(1);
    expect(run(["run", "--image", "elsewhere", "--", "true"]).stderr).toContain("elsewhere");
    const bundle = join(scratch("bundle"), "b");
    runOk(["bundle", "--store", store, "elsewhere", bundle, "cat", "/etc/owned"]);
    expect(runOk(["run", "--store", store, "-b", bundle, newId()])).toBe("x\n");
  });
});

describeNeeds(WANTED)("bundles of `run --image`", () => {
  test("go with `layer gc` when there is no container of them", () => {
    const store = scratch("store");
    const flags = ["--store", store];
    const tar = join(scratch("tar"), "rootfs.tar");
    tool("tar", ["-C", rootfs, "-cf", tar, "."]);
    runOk(["image", "import", "-q", ...flags, tar, "web"]);
    const bundles = () => readdirSync(join(store, "bundles")).length;
    for (const word of ["1", "2"]) runOk(["run", ...flags, "--image", "web", "--", "echo", word]);
    const id = newId();
    expect(runDetached(["run", "-d", "--id", id, ...flags, "--image", "web", "--", "sleep", "1000"]).code).toBe(0);
    expect(bundles()).toBe(3);
    expect(runOk(["layer", "gc", ...flags])).toBe("deleted 2 leftovers\n");
    expect(bundles()).toBe(1);
    expect(stateOf(id)?.status).toBe("running");
    runOk(["delete", "--force", id]);
    expect(runOk(["layer", "gc", ...flags])).toBe("deleted 1 leftover\n");
    expect(bundles()).toBe(0);
    expect(runOk(["run", ...flags, "--image", "web", "--", "echo", "again"])).toBe("again\n");
  });

  test("are not taken away from a container that is being made", async () => {
    const store = scratch("store");
    const flags = ["--store", store];
    const tar = join(scratch("tar"), "rootfs.tar");
    tool("tar", ["-C", rootfs, "-cf", tar, "."]);
    runOk(["image", "import", "-q", ...flags, tar, "web"]);
    const command = [...flags, "--image", "web", "--", "echo", "ran"];
    const script = `for i in 1 2 3 4 5 6 7 8 9 10; do ${RUNTIME} run ${command.join(" ")}; done`;
    const child = spawn("sh", ["-c", script], { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (output += text));
    let isDone = false;
    const ended = new Promise<void>((resolve) => child.on("close", () => resolve())).then(() => (isDone = true));
    while (!isDone) {
      const collected = spawn(RUNTIME, ["layer", "gc", ...flags], { stdio: "ignore" });
      await new Promise((resolve) => collected.on("close", resolve));
    }
    await ended;
    expect(output).toBe("ran\n".repeat(10));
  });
});

describeNeeds(WANTED)("other drivers", () => {
  const SCRIPT =
    "cat /etc/hostname; stat -c %u /etc/owned; rm /etc/owned; echo x > /new; mkdir /d; ls /etc/owned 2>&1 | grep -c owned; cat /new";

  test("vfs copies the layers, and the container changes its copy alone", () => {
    const bundle = bundleOf(SCRIPT, [rootfs]);
    const result = run(["run", "-b", bundle.path, "--driver", "vfs", newId()]);
    expect([result.stdout, result.stderr]).toEqual(["runc\n1000\n1\nx\n", ""]);
    expect(statSync(join(rootfs, "etc/owned")).uid).toBe(1000);
  });

  test("a named layer of vfs keeps what was written, can be exported, and is no other driver's", () => {
    const name = `${TEST_PREFIX}-vfs`;
    const flags = ["--driver", "vfs", "--rw-layer", name];
    runOk(["run", "-b", bundleOf("echo kept > /kept", [chainId]).path, ...flags, newId()]);
    expect(runOk(["run", "-b", bundleOf("cat /kept", [chainId]).path, ...flags, newId()])).toBe("kept\n");
    const other = run(["run", "-b", bundleOf("true", [chainId]).path, "--rw-layer", name, newId()]);
    expect(other.stderr).toContain("is one of driver vfs, not of overlay2");
    expect(run(["layer", "diff", name]).stderr).toContain("has a copy of its layers (driver vfs)");
    const tar = join(scratch("out"), "all.tar");
    runOk(["layer", "export", name, "-o", tar]);
    expect(tool("tar", ["-tf", tar])).toMatch(/^kept$/m);
    tool("rm", ["-r", join("/var/lib/tsrun/overlay2", `rw-${name}`)]);
  });

  needs({ commands: ["fuse-overlayfs"], files: ["/dev/fuse"], native: true })(
    "fuse-overlayfs does what overlayfs does, and its process ends with the container",
    async () => {
      const name = `${TEST_PREFIX}-fuse`;
      const flags = ["--driver", "fuse-overlayfs", "--rw-layer", name];
      const result = run(["run", "-b", bundleOf(SCRIPT, [chainId]).path, ...flags, newId()]);
      // Some versions have a word about an option of libfuse on standard error.
      expect(result.stdout).toBe("runc\n1000\n1\nx\n");
      expect(
        runOk([
          "run",
          "-b",
          bundleOf("cat /new; ls /etc/owned 2>/dev/null | wc -l", [chainId]).path,
          ...flags,
          newId(),
        ]),
      ).toBe("x\n0\n");
      expect(runOk(["layer", "diff", name])).toMatch(/^A \/d\nC \/etc\n.*D \/etc\/owned\nA \/new\n$/ms);
      await until(() => processesNamed(name).length === 0, "fuse-overlayfs has ended");
      tool("rm", ["-r", join("/var/lib/tsrun/overlay2", `rw-${name}`)]);
    },
  );

  test("options of overlayfs, or a driver that is none, are refused", () => {
    const bundle = bundleOf("true", [rootfs], { options: "index" });
    expect(run(["run", "-b", bundle.path, "--driver", "vfs", newId()]).stderr).toContain("driver vfs takes none");
    expect(run(["run", "-b", bundle.path, "--driver", "aufs", newId()]).stderr).toContain('invalid value "aufs"');
  });
});
