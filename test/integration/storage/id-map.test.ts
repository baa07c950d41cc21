/** Ids on disk: a store with a mapping, and ids that attributes have in them. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { O_DIRECTORY, O_RDONLY } from "../../../src/sys/constants.ts";
import { Fd, open } from "../../../src/sys/file.ts";
import { getXattrAt, setXattrAt } from "../../../src/sys/xattr.ts";
import { busyboxRootfs, makeBundle } from "../../helpers/bundle.ts";
import { tool } from "../../helpers/images.ts";
import { describeNeeds, missing } from "../../helpers/needs.ts";
import { deleteContainers, newId, run, runOk } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";
import { makeTar } from "../../helpers/tar.ts";

const WANTED = { root: true, tsrun: true } as const;
const MAP = "0:100000:65536";
const ACL = "system.posix_acl_access";

/** An ACL that lets one user write besides the owner. */
function acl(user: number): Uint8Array {
  const bytes = new Uint8Array(4 + 8 * 5);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 2, true);
  const entries = [
    [0x01, 6, 0xffff_ffff],
    [0x02, 6, user],
    [0x04, 4, 0xffff_ffff],
    [0x10, 6, 0xffff_ffff],
    [0x20, 4, 0xffff_ffff],
  ];
  entries.forEach(([tag = 0, permissions = 0, id = 0], i) => {
    view.setUint16(4 + 8 * i, tag, true);
    view.setUint16(6 + 8 * i, permissions, true);
    view.setUint32(8 + 8 * i, id, true);
  });
  return bytes;
}

const CAPABILITIES = new Uint8Array(new Uint32Array([0x02000001, 1 << 13, 0, 0, 0]).buffer);
const encoder = new TextEncoder();

function xattr(directory: string, name: string, key: string): Uint8Array | undefined {
  using fd = new Fd(open(directory, O_RDONLY | O_DIRECTORY));
  return getXattrAt(fd.fd, encoder.encode(name), key);
}

/** The attributes of an entry of a tar, as the pax header has them. */
const inTar = (tar: string, name: string) =>
  JSON.parse(
    tool("python3", [
      "-c",
      `import json, sys, tarfile
entry = tarfile.open(sys.argv[1], errors="surrogateescape").getmember(sys.argv[2])
text = {k: list(v.encode("utf-8", "surrogateescape")) for k, v in entry.pax_headers.items() if k.startswith("SCHILY")}
print(json.dumps([entry.uid, entry.gid, text]))`,
      tar,
      name,
    ]),
  );

afterAll(() => {
  if (missing(WANTED) === undefined) deleteContainers();
});

describeNeeds({ ...WANTED, commands: ["python3"] })("a store with an id mapping (--uid-map)", () => {
  let store: string[];
  let dir: string;
  let base: string;

  beforeAll(() => {
    dir = scratch("mapped");
    store = ["--store", join(dir, "store")];
    const rootfs = scratch("rootfs");
    busyboxRootfs(rootfs);
    const file = join(dir, "file.tar");
    writeFileSync(
      file,
      makeTar(
        [
          { name: "etc/", type: "directory" },
          {
            name: "etc/owned",
            content: "x\n",
            uid: 5,
            gid: 6,
            mode: 0o664,
            xattrs: [
              [ACL, acl(7)],
              ["security.capability", CAPABILITIES],
            ],
          },
        ],
        { trailer: false },
      ),
    );
    base = join(dir, "base.tar");
    tool("tar", ["-C", rootfs, "-cf", join(dir, "rootfs.tar"), "."]);
    tool("sh", ["-c", `cat ${file} ${join(dir, "rootfs.tar")} > ${base}`]);
    runOk(["image", "import", "-q", ...store, "--uid-map", MAP, base, "mapped"]);
  });

  const bundleOf = (script: string) => {
    const path = join(scratch("bundle"), "b");
    runOk(["bundle", ...store, "mapped", path, "--", "sh", "-c", script]);
    const config = JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
    const maps = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
    config.linux.namespaces.push({ type: "user" });
    config.linux.uidMappings = maps;
    config.linux.gidMappings = maps;
    writeFileSync(join(path, "config.json"), JSON.stringify(config));
    return path;
  };

  test("has the owners, the ids of ACLs and the root of file capabilities as they are outside", () => {
    const [chainId] = JSON.parse(runOk(["image", "inspect", ...store, "mapped"])).layers;
    const record = join(dir, "store/image/overlay2/layerdb/sha256", chainId.slice(7));
    const etc = join(dir, "store/overlay2", readFileSync(join(record, "cache-id"), "utf8"), "diff/etc");
    const { uid, gid } = statSync(join(etc, "owned"));
    expect([uid, gid]).toEqual([100_005, 100_006]);
    expect(xattr(etc, "owned", ACL)).toEqual(acl(100_007));
    const words = new Uint32Array((xattr(etc, "owned", "security.capability") as Uint8Array).slice().buffer);
    expect([...words]).toEqual([0x03000001, 1 << 13, 0, 0, 0, 100_000]);
    // The layer itself is what it was, to the byte.
    runOk(["layer", "export", ...store, chainId, "-o", join(dir, "again.tar")]);
    tool("cmp", [join(dir, "again.tar"), base]);
  });

  test("runs in a user namespace of that mapping without any further one, and commits the ids of the container", () => {
    const path = bundleOf("stat -c %u:%g /etc/owned; echo new > /etc/new; chown 8:9 /etc/new; chmod 640 /etc/owned");
    const flags = [...store, "--rw-layer", "data"];
    expect(runOk(["run", ...flags, "-b", path, newId()])).toBe("5:6\n");
    const committed = runOk(["image", "commit", ...store, "data", "mapped:2"]).trim();
    expect(committed).toMatch(/^sha256:/);
    const top = JSON.parse(runOk(["image", "inspect", ...store, "mapped:2"])).layers.at(-1);
    const tar = join(dir, "top.tar");
    runOk(["layer", "export", ...store, top, "-o", tar]);
    expect(inTar(tar, "etc/new").slice(0, 2)).toEqual([8, 9]);
    const [uid, gid, attributes] = inTar(tar, "etc/owned");
    expect([uid, gid]).toEqual([5, 6]);
    const named = Buffer.from(attributes[`SCHILY.xattr.${ACL}`]).readUInt32LE(4 + 8 + 4);
    expect(named).toBe(7);
    // All of it as one tar, too.
    const whole = join(dir, "whole.tar");
    runOk(["layer", "export", ...store, "mapped:2", "-o", whole]);
    expect(inTar(whole, "etc/new").slice(0, 2)).toEqual([8, 9]);
  });

  test("has one mapping, and refuses another, and owners that it does not have", () => {
    const other = run(["image", "import", ...store, "--uid-map", "0:1:2", base, "other"]);
    expect(other.stderr).toContain("has another id mapping");
    const stranger = join(dir, "stranger.tar");
    writeFileSync(stranger, makeTar([{ name: "f", content: "x", uid: 70_000 }]));
    expect(run(["image", "import", ...store, stranger, "s"]).stderr).toContain(
      "its owner 70000 is not in the id mapping",
    );
  });
});

describeNeeds({ ...WANTED, commands: ["python3"] })("a POSIX ACL", () => {
  test("that a container has set is part of its layer, and is there again when that is imported", () => {
    const rootfs = scratch("rootfs");
    busyboxRootfs(rootfs);
    const store = ["--store", join(scratch("acl"), "store")];
    const layer = scratch("layer");
    mkdirSync(join(layer, "srv"));
    writeFileSync(join(layer, "srv/file"), "x");
    {
      using fd = new Fd(open(join(layer, "srv"), O_RDONLY | O_DIRECTORY));
      expect(setXattrAt(fd.fd, encoder.encode("file"), encoder.encode(ACL), acl(7))).toBe(0);
    }
    const bundle = makeBundle({
      args: ["sh", "-c", "echo more >> /srv/file"],
      rootfs: () => {},
      edit: (spec) => {
        spec.annotations = { "org.tsrun.layers": JSON.stringify([rootfs, layer]) };
      },
    });
    runOk(["run", ...store, "--rw-layer", "acl", "-b", bundle.path, newId()]);
    const tar = join(scratch("out"), "acl.tar");
    runOk(["layer", "export", ...store, "acl", "-o", tar]);
    const chainId = runOk(["layer", "import", "-q", ...store, tar]).trim();
    const record = join(store[1] as string, "image/overlay2/layerdb/sha256", chainId.slice(7));
    const diff = join(store[1] as string, "overlay2", readFileSync(join(record, "cache-id"), "utf8"), "diff");
    expect(readFileSync(join(diff, "srv/file"), "utf8")).toBe("xmore\n");
    expect(xattr(join(diff, "srv"), "file", ACL)).toEqual(acl(7));
  });
});
