/** Images of other tools come in, run, are changed, and go out again to other tools, with the same digests. */
import { createHash, randomBytes } from "node:crypto";
import { existsSync, lstatSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LayerStore } from "../../../src/storage/layer-store.ts";
import { makeLayout, readLayout, tool } from "../../helpers/images.ts";
import { describeNeeds, needs } from "../../helpers/needs.ts";
import { deleteContainers, newId, run, runOk, spawn, stateOf, until } from "../../helpers/runtime.ts";
import { scratch, TEST_PREFIX } from "../../helpers/scratch.ts";
import { makeTar } from "../../helpers/tar.ts";

const STORE = "/var/lib/tsrun";
const WANTED = { root: true, tsrun: true, commands: ["umoci", "skopeo"] } as const;

let dir: string;
let layout: string;
const have = describeNeeds(WANTED);

beforeAll(() => {
  dir = scratch("images");
});

afterAll(() => {
  deleteContainers();
  const names = (JSON.parse(runOk(["image", "list", "-f", "json"])) as { id: string }[]).map(({ id }) => id);
  if (names.length > 0) runOk(["image", "remove", "--force", ...names]);
  runOk(["layer", "gc"]);
  expect(readdirSync(join(STORE, "image/overlay2/layerdb/sha256"))).toEqual([]);
});

const image = (name: string) => JSON.parse(runOk(["image", "inspect", name]));
const sha = (bytes: Buffer | string) => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;

have("an image of umoci and skopeo", () => {
  beforeAll(() => {
    layout = makeLayout(dir);
    runOk(["image", "import", layout]);
  });

  test("has the id and the layers that its config says, and every layer its digest", () => {
    const { manifest, diffIds } = readLayout(layout, "v1");
    const imported = image("web:v1");
    expect(imported.id).toBe(manifest.config.digest);
    expect(imported.config.rootfs.diff_ids).toEqual(diffIds);
    expect(imported.layers[0]).toBe(diffIds[0]);
    expect(imported.layers[1]).toBe(sha(`${diffIds[0]} ${diffIds[1]}`));
    expect(runOk(["layer", "check"])).toBe("");
  });

  test("lies on disk as overlayfs wants it: whiteouts, hard links, capabilities, a shared link in l/", () => {
    const [base, top] = image("web:v1").layers.map((id: string) => {
      const record = join(STORE, "image/overlay2/layerdb/sha256", id.slice(7));
      return join(STORE, "overlay2", readFileSync(join(record, "cache-id"), "utf8"));
    });
    const whiteout = lstatSync(join(top, "diff/srv/gone"));
    expect(whiteout.isCharacterDevice()).toBe(true);
    expect(whiteout.rdev).toBe(0);
    expect(statSync(join(base, "diff/srv/hard")).ino).toBe(statSync(join(base, "diff/srv/kept")).ino);
    expect(statSync(join(base, "diff/srv/ping")).mode & 0o7777).toBe(0o4755);
    expect(tool("getcap", [join(base, "diff/srv/ping")])).toContain("cap_net_raw=ep");
    expect(lstatSync(join(base, "diff/srv/fifo")).isFIFO()).toBe(true);
    expect(readFileSync(join(base, "link"), "utf8")).toMatch(/^[A-Z2-7]{26}$/);
    expect(readFileSync(join(top, "lower"), "utf8")).toBe(`l/${readFileSync(join(base, "link"), "utf8")}`);
    expect(existsSync(join(base, "committed"))).toBe(true);
  });

  test("the tar of each layer comes out again byte for byte", () => {
    const { manifest, diffIds } = readLayout(layout, "v1");
    manifest.layers.forEach(({ digest }, i) => {
      const out = join(dir, `layer-${i}.tar`);
      runOk(["layer", "export", image("web:v1").layers[i], "-o", out]);
      const blob = join(layout, "blobs/sha256", digest.slice(7));
      expect(sha(readFileSync(out))).toBe(diffIds[i]);
      expect(tool("sh", ["-c", `gzip -dc ${blob} | cmp - ${out}; echo $?`])).toBe("0\n");
    });
  });

  test("runs as its config says: command, user and groups by name, working directory, environment", () => {
    const result = run(["run", "--id", newId(), "--image", "web:v1"]);
    expect(result.stderr).toBe("");
    expect(result.stdout).toBe("1000\n1000 2000\n/srv\nhello\n");
    expect(runOk(["run", "--id", newId(), "--image", "web:v1", "--", "/bin/ls", "/srv/sub"])).toBe("new\n");
    expect(run(["run", "--id", newId(), "--image", "web:v1", "--", "/bin/sh", "-c", "exit 7"]).code).toBe(7);
  });

  test("`bundle` writes what `run` then runs", () => {
    const bundle = join(dir, "bundle");
    runOk(["bundle", "web:v1", bundle, "--", "/bin/cat", "/srv/kept"]);
    expect(runOk(["run", bundle])).toBe("kept\n");
    expect(run(["bundle", "web:v1", bundle]).stderr).toContain("is not empty");
  });

  test("is committed, saved, and loaded by skopeo and umoci with the same digests", () => {
    const layer = `${TEST_PREFIX}-rw`;
    runOk([
      "bundle",
      "web:v1",
      join(dir, "edit"),
      "--",
      "/bin/sh",
      "-c",
      "rm /srv/kept; echo more > /srv/more; echo h > /etc/hostname2",
    ]);
    const config = join(dir, "edit/config.json");
    const spec = JSON.parse(readFileSync(config, "utf8"));
    spec.process.user = { uid: 0, gid: 0 };
    spec.process.capabilities = {
      bounding: ["CAP_DAC_OVERRIDE"],
      effective: ["CAP_DAC_OVERRIDE"],
      permitted: ["CAP_DAC_OVERRIDE"],
    };
    writeFileSync(config, JSON.stringify(spec));
    runOk(["run", "--rw-layer", layer, join(dir, "edit")]);
    expect(runOk(["layer", "diff", layer])).toBe("C /etc\nA /etc/hostname2\nC /srv\nD /srv/kept\nA /srv/more\n");
    const env = { SOURCE_DATE_EPOCH: "1700000000" };
    const id = runOk(["image", "commit", layer, "web:v2", "-m", "more"], { env }).trim();
    // The same content is the same image.
    expect(runOk(["image", "commit", layer, "web:v2", "-m", "more"], { env }).trim()).toBe(id);
    const committed = image("web:v2");
    expect(committed.config.history.at(-1)).toMatchObject({ created: "2023-11-14T22:13:20Z", comment: "more" });
    expect(committed.config.config.Labels).toEqual({ team: "a" });

    for (const compress of ["none", "gzip", "zstd"]) {
      const saved = join(dir, `saved-${compress}`);
      runOk(["image", "save", "web:v2", "-f", "oci", "--compress", compress, "-o", saved]);
      const { manifest, diffIds, configText } = readLayout(saved, "v2");
      expect([manifest.config.digest, sha(configText)]).toEqual([id, id]);
      expect(diffIds).toEqual(committed.config.rootfs.diff_ids);
      if (compress === "zstd") continue; // umoci 0.4 cannot read it
      tool("umoci", ["unpack", "--image", `${saved}:v2`, join(dir, `um-${compress}`)]);
      expect(readdirSync(join(dir, `um-${compress}`, "rootfs/srv")).sort()).toEqual(
        ["fifo", "hard", "link", "more", "n".repeat(200), "ping", "sub"].sort(),
      );
      tool("skopeo", ["copy", "-q", `oci:${saved}:v2`, `oci:${join(dir, `sk-${compress}`)}:v2`]);
      expect(readLayout(join(dir, `sk-${compress}`), "v2").manifest.config.digest).toBe(id);
    }
    const archive = join(dir, "v2.tar");
    runOk(["image", "save", "web:v2", "-o", archive]);
    tool("skopeo", ["copy", "-q", `docker-archive:${archive}`, `oci:${join(dir, "from-docker")}:v2`]);
    const back = readLayout(join(dir, "from-docker"), "v2");
    expect(back.manifest.config.digest).toBe(id);
    expect(back.diffIds).toEqual(committed.config.rootfs.diff_ids);
    // And what skopeo made of it is the same image here.
    expect(runOk(["image", "import", "-q", join(dir, "from-docker"), "back:v2"]).trim()).toBe(id);
    runOk(["image", "save", "web:v2", "-f", "oci-archive", "-o", join(dir, "v2-oci.tar")]);
    tool("skopeo", ["copy", "-q", `oci-archive:${join(dir, "v2-oci.tar")}`, `oci:${join(dir, "from-archive")}:v2`]);
    expect(readLayout(join(dir, "from-archive"), "v2").manifest.config.digest).toBe(id);
    tool("rm", ["-r", join(STORE, "overlay2", `rw-${layer}`)]);
  });

  test("with --keep-blobs goes out with the digests it came with: of layers, and of the manifest", () => {
    const store = ["--store", join(scratch("blobs"), "store")];
    const manifestOf = (path: string, tag: string) => {
      const index = JSON.parse(readFileSync(join(path, "index.json"), "utf8"));
      return index.manifests.find(
        (entry: { annotations: Record<string, string> }) =>
          entry.annotations["org.opencontainers.image.ref.name"] === tag,
      ).digest;
    };
    const zstd = join(dir, "zstd");
    tool("skopeo", ["copy", "-q", "--dest-compress-format", "zstd", `oci:${layout}:v1`, `oci:${zstd}:v1`]);
    for (const [name, source] of [
      ["gzip", layout],
      ["zstd", zstd],
    ] as const) {
      const out = join(dir, `kept-${name}`);
      // Without it the digests of what is compressed anew are others; with it layers that are there get their blobs.
      runOk(["image", "import", "-q", ...store, source, name]);
      runOk(["image", "save", ...store, `${name}:v1`, "-f", "oci", "-o", `${out}-anew`]);
      expect(manifestOf(`${out}-anew`, "v1")).not.toBe(manifestOf(source, "v1"));
      runOk(["image", "import", "-q", "--keep-blobs", ...store, source, name]);
      runOk(["image", "save", ...store, `${name}:v1`, "-f", "oci", "-o", out]);
      expect(readLayout(out, "v1").manifest).toEqual(readLayout(source, "v1").manifest);
      expect(manifestOf(out, "v1")).toBe(manifestOf(source, "v1"));
      tool("skopeo", ["copy", "-q", `oci:${out}:v1`, `oci:${out}-skopeo:v1`]);
      expect(manifestOf(`${out}-skopeo`, "v1")).toBe(manifestOf(source, "v1"));
      expect(runOk(["layer", "check", ...store])).toBe("");
      // Asked for another compression it is another manifest, of the same image.
      runOk(["image", "save", ...store, `${name}:v1`, "-f", "oci", "--compress", "none", "-o", `${out}-none`]);
      expect(readLayout(`${out}-none`, "v1").manifest.config.digest).toBe(image("web:v1").id);
      runOk(["image", "remove", "--force", ...store, `${name}:v1`]);
    }
    expect(readdirSync(join(store[1] as string, "image/overlay2/imagedb/metadata/sha256"))).toEqual([]);
  });

  test("a running container is paused while it is committed, and goes on", () => {
    const id = newId();
    const script = "i=0; while :; do i=$((i+1)); echo $i > /tmp/count; done";
    const options = ["--id", id, "--image", "web:v1", "--", "/bin/sh", "-c", `exec >/dev/null 2>&1; ${script}`];
    runOk(["run", "-d", ...options]);
    runOk(["image", "commit", id, "live:1"]);
    expect(stateOf(id)?.status).toBe("running");
    expect(runOk(["layer", "diff", id])).toContain("A /tmp/count\n");
    runOk(["delete", "--force", id]);
    runOk(["image", "remove", "live:1"]);
    expect(runOk(["layer", "check"])).toBe("");
  });

  test("one that is killed while it is committed is committed all the same", async () => {
    const id = newId();
    const fill = "head -c 50000000 /dev/urandom > /tmp/much; touch /tmp/filled; exec sleep 3600";
    const options = ["--id", id, "--image", "web:v1", "--", "/bin/sh", "-c", `exec >/dev/null 2>&1; ${fill}`];
    runOk(["run", "-d", ...options]);
    await until(() => runOk(["layer", "diff", id]).includes("/tmp/filled"), "it has written");
    const commit = spawn(["image", "commit", id, "killed:1"]);
    await until(() => stateOf(id)?.status === "paused", "it is paused");
    runOk(["kill", id, "KILL"]);
    await until(() => stateOf(id)?.status === "stopped", "it ends");
    const { code, stdout, stderr } = await commit.exit;
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: `${image("killed:1").id}\n`, stderr: "" });
    runOk(["delete", id]);
    runOk(["image", "remove", "killed:1"]);
  });

  test("an archive as docker saves it, plain or gzipped or through a pipe, is the same image", () => {
    const id = image("web:v1").id;
    const archive = join(dir, "docker.tar");
    tool("skopeo", ["copy", "-q", `oci:${layout}:v1`, `docker-archive:${archive}:other:v9`]);
    expect(runOk(["image", "import", "-q", archive]).trim()).toBe(id);
    expect(image("other:v9").id).toBe(id);
    tool("gzip", ["-k", archive]);
    expect(runOk(["image", "import", "-q", `${archive}.gz`, "zipped"]).trim()).toBe(id);
    expect(
      tool(
        "sh",
        ["-c", `cat ${archive} | ${process.env.TSRUN ?? "dist/tsrun"} image import -q - piped`],
        process.cwd(),
      ).trim(),
    ).toBe(id);
    expect(image("zipped:latest").names).toContain("piped:latest");
  });

  test("layers of zstd are read, as containers-storage and BuildKit write them", () => {
    const saved = join(dir, "zstd-in");
    runOk(["image", "save", "web:v1", "-f", "oci", "--compress", "zstd", "-o", saved]);
    const { manifest } = readLayout(saved, "v1");
    expect(manifest.layers[0]?.mediaType).toBe("application/vnd.oci.image.layer.v1.tar+zstd");
    const store = scratch("store");
    expect(runOk(["image", "import", "-q", "--store", store, saved]).trim()).toBe(image("web:v1").id);
    expect(runOk(["layer", "check", "--store", store])).toBe("");
  });

  test("a layer that two images share is there once, and goes with the last of them", () => {
    const store = scratch("store");
    runOk(["image", "import", "-q", "--store", store, layout, "one"]);
    const tree = scratch("tree");
    writeFileSync(join(tree, "x"), "x");
    runOk(["image", "import", "-q", "--store", store, layout, "two:v1"]);
    const records = join(store, "image/overlay2/layerdb/sha256");
    expect(readdirSync(records).length).toBe(2);
    runOk(["image", "remove", "--store", store, "one:v1"]);
    expect(readdirSync(records).length).toBe(2);
    runOk(["image", "remove", "--store", store, "two:v1"]);
    expect(readdirSync(records)).toEqual([]);
    expect(readdirSync(join(store, "overlay2"))).toEqual(["l"]);
    expect(readdirSync(join(store, "overlay2/l"))).toEqual([]);
  });

  test("an image that a container has is not removed, and its layers stay when it is forced", () => {
    const id = newId();
    runOk(["run", "-d", "--id", id, "--image", "web:v1", "--", "/bin/sh", "-c", "exec sleep 1000 >/dev/null 2>&1"]);
    const own = image("web:v1").id;
    const others = runOk(["image", "list", "-q"])
      .trim()
      .split("\n")
      .filter((other) => other !== own);
    if (others.length > 0) runOk(["image", "remove", "--force", ...others]);
    const names = image("web:v1").names;
    const layers = image("web:v1").layers;
    for (const name of names.slice(1)) runOk(["image", "remove", name]);
    const refused = run(["image", "remove", names[0]]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain(`is used by ${id}`);
    runOk(["image", "remove", "--force", names[0]]);
    expect(runOk(["layer", "gc"])).toBe("");
    for (const layer of layers)
      expect(existsSync(join(STORE, "image/overlay2/layerdb/sha256", layer.slice(7)))).toBe(true);
    runOk(["delete", "--force", id]);
    expect(runOk(["layer", "gc"]).match(/deleted layer/g)?.length).toBeGreaterThanOrEqual(2);
    runOk(["image", "import", layout]);
  });

  test("a blob with one byte changed is refused, and nothing of it is in the store", () => {
    const copy = scratch("damaged");
    tool("cp", ["-r", `${layout}/.`, copy]);
    const { manifest } = readLayout(copy, "v1");
    const blob = join(copy, "blobs/sha256", (manifest.layers[1]?.digest ?? "").slice(7));
    const bytes = readFileSync(blob);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
    writeFileSync(blob, bytes);
    const store = scratch("store");
    const result = run(["image", "import", "--store", store, copy]);
    expect(result.code).toBe(1);
    expect(result.stderr).toContain("is damaged: its digest is");
    expect(readdirSync(join(store, "overlay2"))).toEqual(["l"]);
    expect(runOk(["image", "list", "--store", store, "-q"])).toBe("");
  });

  test("`check --repair` makes lost links again and removes a layer whose content was changed", () => {
    const store = scratch("store");
    runOk(["image", "import", "-q", "--store", store, layout]);
    for (const link of readdirSync(join(store, "overlay2/l"))) tool("rm", [join(store, "overlay2/l", link)]);
    const lost = run(["layer", "check", "--store", store]);
    expect([lost.code, lost.stdout.match(/its link in l\/ is lost/g)?.length]).toEqual([1, 2]);
    expect(run(["layer", "check", "--repair", "--store", store]).code).toBe(0);
    expect(runOk(["layer", "check", "--store", store])).toBe("");
    const [base] = JSON.parse(runOk(["image", "inspect", "--store", store, "web:v1"])).layers;
    const cacheId = readFileSync(join(store, "image/overlay2/layerdb/sha256", base.slice(7), "cache-id"), "utf8");
    writeFileSync(join(store, "overlay2", cacheId, "diff/srv/kept"), "KEPT\n");
    const changed = run(["layer", "check", "--store", store]);
    expect(changed.code).toBe(1);
    expect(changed.stdout).toContain(`layer ${base}: its content has the diff ID`);
    expect(run(["layer", "check", "--repair", "--store", store]).code).toBe(0);
    expect(runOk(["layer", "check", "--store", store])).toBe("");
    expect(runOk(["image", "list", "--store", store, "-q"])).toBe("");
  });

  test("`why` names the layers that have a path, and the one that deletes it", () => {
    const [base, top] = image("web:v1").layers;
    const result = run(["layer", "why", "web:v1", "/srv/gone"]);
    expect(result.code).toBe(1);
    expect(result.stdout).toBe(`  ${top}: deletes it\n  ${base}: file 0644 0:0, 5 bytes\n`);
    expect(runOk(["layer", "why", "web:v1", "srv/kept"])).toContain(`* ${base}: file 0644 0:0, 5 bytes`);
  });

  test("history, df and tree count what is there", () => {
    expect(runOk(["image", "history", "web:v1"])).toContain("umoci repack");
    const usage = JSON.parse(runOk(["image", "df", "-f", "json"]));
    expect(usage.layers.count).toBe(2);
    expect(usage.images.find((row: { names: string[] }) => row.names.includes("web:v1")).size).toBeGreaterThan(
      1_000_000,
    );
    expect(runOk(["layer", "tree"])).toMatch(/^[0-9a-f]{12} .*\n└─ [0-9a-f]{12} .*<- image web:v1/m);
  });
});

needs(WANTED)("`image pull` takes what skopeo copies, here from a layout", () => {
  const store = scratch("store");
  runOk(["image", "pull", "-q", "--store", store, `oci:${layout}:v1`, "pulled:1"]);
  expect(runOk(["image", "list", "-q", "--store", store]).trim()).toBe(image("web:v1").id);
});

needs({ root: true, tsrun: true })("a layer of twenty thousand files comes out byte for byte", async () => {
  const store = scratch("store");
  const tar = join(scratch("tar"), "many.tar");
  // Headers are only compressed to pieces of odd lengths when they are not all alike.
  const entries = Array.from({ length: 20_000 }, (_, i) => ({
    name: `d${i % 50}/${sha(String(i))}`,
    content: `${i}`,
    uid: i,
  }));
  writeFileSync(tar, makeTar(entries));
  const chainId = runOk(["layer", "import", "-q", "--store", store, tar]).trim();
  expect(run(["layer", "check", "--store", store])).toMatchObject({ code: 0, stdout: "" });
  expect(await new LayerStore({ storageRoot: store }).check()).toEqual([]);
  const again = join(scratch("tar"), "again.tar");
  runOk(["layer", "export", "--store", store, chainId, "-o", again]);
  expect(readFileSync(again).equals(readFileSync(tar))).toBe(true);
});

needs({ root: true, tsrun: true, commands: ["zstd"] })(
  "a tar whose zstd is cut off is refused, however much of it is there",
  () => {
    const dir = scratch("cut");
    writeFileSync(join(dir, "t.tar"), makeTar([{ name: "f", content: randomBytes(400_000) }]));
    tool("zstd", ["-q", join(dir, "t.tar")]);
    const whole = readFileSync(join(dir, "t.tar.zst"));
    for (const cut of [50_000, 200_000, whole.length - 20]) {
      writeFileSync(join(dir, "cut.zst"), whole.subarray(0, cut));
      const result = run(["image", "import", "-q", "--store", dir, join(dir, "cut.zst"), "cut"]);
      expect([result.code, result.stdout], String(cut)).toEqual([1, ""]);
      expect(result.stderr).toMatch(/cut\.zst(: | is )(cut off|the archive ends|its zstd is damaged)/);
    }
  },
);

describeNeeds(WANTED)("an index with more than images in it", () => {
  test("gives its images, and not what BuildKit says of how they were built", () => {
    const copy = join(scratch("attested"), "web");
    tool("cp", ["-a", layout, copy]);
    const blob = (value: object) => {
      const text = JSON.stringify(value);
      const digest = sha(text);
      writeFileSync(join(copy, "blobs/sha256", digest.slice(7)), text);
      return { digest, size: Buffer.byteLength(text) };
    };
    const statement = { mediaType: "application/vnd.in-toto+json", ...blob({ predicateType: "x" }) };
    const config = { os: "unknown", architecture: "unknown", rootfs: { type: "layers", diff_ids: [statement.digest] } };
    const manifest = blob({
      schemaVersion: 2,
      config: { mediaType: "application/vnd.oci.image.config.v1+json", ...blob(config) },
      layers: [statement],
    });
    const index = JSON.parse(readFileSync(join(copy, "index.json"), "utf8"));
    index.manifests.push({
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      ...manifest,
      platform: { os: "unknown", architecture: "unknown" },
      annotations: { "vnd.docker.reference.type": "attestation-manifest" },
    });
    writeFileSync(join(copy, "index.json"), JSON.stringify(index));
    const store = scratch("store");
    runOk(["image", "import", "-q", "--store", store, "--platform", "all", copy]);
    expect(runOk(["image", "list", "-q", "--store", store]).trim()).toBe(image("web:v1").id);
  });
});

describeNeeds(WANTED)("an image without a name of its own", () => {
  const listed = (store: string) =>
    (JSON.parse(runOk(["image", "list", "-f", "json", "--store", store])) as { names: string[] }[]).flatMap(
      ({ names }) => names,
    );

  test("is called after where it comes from, and what is given has the tag latest", () => {
    const store = scratch("store");
    const to = scratch("transports");
    tool("skopeo", ["copy", "-q", `oci:${layout}:v1`, `dir:${to}/as-dir`]);
    tool("skopeo", ["copy", "-q", `oci:${layout}:v1`, `docker-archive:${to}/saved.tar:web:3`]);
    for (const source of [`dir:${to}/as-dir`, `docker-archive:${to}/saved.tar`, `docker-archive:${to}/saved.tar:web:3`])
      runOk(["image", "pull", "-q", "--store", store, source]);
    runOk(["image", "pull", "-q", "--store", store, `oci:${layout}:v1`, "given"]);
    expect(listed(store).sort()).toEqual(["as-dir:latest", "given:latest", "saved:latest", "web:3"]);
    const refused = run(["image", "inspect", "--store", store, "web"]);
    expect(refused.stderr).toContain('has no image "web"\n  fix: there is web:3\n');
  });

  test("is refused before it is copied when the name that is given is none", () => {
    const result = run(["image", "pull", "--store", scratch("store"), `oci:${layout}:v1`, "no name"]);
    expect([result.code, result.stdout, result.stderr]).toEqual([
      1,
      "",
      expect.stringContaining('"no name" is no name of an image'),
    ]);
  });

  test("what skopeo says is told in one line", () => {
    const result = run(["image", "pull", "--store", scratch("store"), `oci:${layout}:nope`, "x"]);
    expect(result.stderr).toMatch(/^tsrun: image pull: skopeo: [^\n]*no descriptor found for reference "nope"\n$/);
  });
});

test.each([
  ["a file that is empty", () => "/dev/null", "/dev/null is empty"],
  ["a text", () => "/etc/passwd", "/etc/passwd is no tar: the header at byte 0"],
  ["a layout with a tag", () => `${layout}:v1`, "/web:v1 does not exist\n  fix: "],
  ["a directory of skopeo's", () => skopeoDirectory(), "is a directory of skopeo's transport dir:"],
])("what is no image is called by what it is: %s", (_, path, message) => {
  const result = run(["image", "import", "--store", scratch("store"), path(), "x"]);
  expect([result.code, result.stdout]).toEqual([1, ""]);
  expect(result.stderr).toContain(message);
});

/** As `skopeo copy ... dir:` begins one. */
function skopeoDirectory(): string {
  const path = scratch("dir");
  writeFileSync(join(path, "manifest.json"), JSON.stringify({ schemaVersion: 2, config: {}, layers: [] }));
  return path;
}

needs({ root: true, tsrun: true })("`image pull` without skopeo says how to get it", () => {
  const result = run(["image", "pull", "--store", scratch("store"), "web"], { env: { PATH: "/nonexistent" } });
  expect(result.code).toBe(1);
  expect(result.stderr).toContain("skopeo is not installed");
  expect(result.stderr).toContain("apt-get install skopeo");
});
