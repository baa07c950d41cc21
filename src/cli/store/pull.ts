/** Registries are skopeo's work: it copies the image to a layout, which is imported. */
import { execa } from "execa";
import { TsrunError } from "../../errors.ts";
import type { ImportedImage, LayerStore, Platform } from "../../index.ts";
import { progressPrinter } from "./progress.ts";
import { makeTemporary } from "./temporary.ts";

export interface PullOptions {
  quiet: boolean;
  platform: Platform | undefined;
  skopeoArgs: readonly string[];
}

export async function pullImage(
  store: LayerStore,
  image: string,
  name: string | undefined,
  options: PullOptions,
): Promise<ImportedImage[]> {
  const source = PATHS.test(image) || NAMES.test(image) ? image : `docker://${image}`;
  // Before anything is copied.
  const wanted = await store.imageName(name ?? nameOfSource(source));
  using directory = makeTemporary();
  const { platform } = options;
  const overrides =
    platform === undefined
      ? []
      : [
          "--override-os",
          platform.os,
          "--override-arch",
          platform.architecture,
          ...(platform.variant ? ["--override-variant", platform.variant] : []),
        ];
  const args = [...overrides, "copy", ...options.skopeoArgs, source, `oci:${directory.path}:pulled`];
  const output = options.quiet ? "pipe" : "inherit";
  const result = await execa("skopeo", args, {
    reject: false,
    stdin: "inherit",
    stdout: output === "pipe" ? "pipe" : ["inherit"],
    stderr: "pipe",
  });
  if (result.code === "ENOENT") {
    throw new TsrunError("skopeo is not installed, and it is what talks to registries", {
      fix: "apt-get install skopeo, or import an image that was saved elsewhere",
    });
  }
  if (result.failed) throw new TsrunError(`skopeo: ${lastMessage(String(result.stderr ?? ""))}`);
  // Awaited here: the directory goes when this function returns.
  return await store.importImage(directory.path, {
    name: wanted,
    reference: "pulled",
    ...(platform !== undefined && { platform }),
    onProgress: progressPrinter(options.quiet),
  });
}

/** Transports of skopeo whose images are files, and those whose images have names. Rules: containers-transports(5). */
const PATHS = /^(dir|oci|oci-archive|docker-archive):/;
const NAMES = /^(docker|docker-daemon|containers-storage|ostree):/;

/** What an image is called when nobody says it: as where it comes from, or after its file. */
export function nameOfSource(source: string): string {
  if (!PATHS.test(source)) {
    return source
      .replace(/^[a-z-]+:(\/\/)?/, "")
      .replace(/^\[[^\]]*\]/, "") // containers-storage: where that is
      .replace(/@sha256:.*$/, "");
  }
  const [, transport = "", path = "", reference] = /^([a-z-]+):([^:]*)(?::(.*))?$/.exec(source) ?? [];
  if (transport === "docker-archive" && reference !== undefined && !reference.startsWith("@")) return reference;
  const file = path.replace(/\/+$/, "").replace(/^.*\//, "");
  const base = file.replace(/\.(tar|tgz)(\.\w+)?$/, "").replace(/[^A-Za-z0-9]+/g, "-");
  const name = base.replace(/^-|-$/g, "").toLowerCase() || "image";
  return reference === undefined || !/^\w[\w.-]*$/.test(reference) ? name : `${name}:${reference}`;
}

/** skopeo writes its log as logfmt: the last line has what went wrong in `msg`. */
export function lastMessage(text: string): string {
  const line = text.trim().split("\n").at(-1) || "it failed and did not say why";
  const quoted = /\bmsg="((?:[^"\\]|\\.)*)"/.exec(line)?.[1];
  return quoted?.replace(/\\(["\\])/g, "$1") ?? line;
}
