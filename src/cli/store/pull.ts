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
  const source =
    /^[a-z-]+:/.test(image) &&
    /^(docker|docker-daemon|docker-archive|oci|oci-archive|dir|containers-storage|ostree):/.test(image)
      ? image
      : `docker://${image}`;
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
  if (result.failed) throw new TsrunError(`skopeo: ${lastLine(result.stderr)}`);
  // Awaited here: the directory goes when this function returns.
  return await store.importImage(directory.path, {
    name: name ?? image.replace(/^[a-z-]+:(\/\/)?/, "").replace(/@sha256:.*$/, ""),
    reference: "pulled",
    ...(platform !== undefined && { platform }),
    onProgress: progressPrinter(options.quiet),
  });
}

function lastLine(text: unknown): string {
  return (
    String(text ?? "")
      .trim()
      .split("\n")
      .at(-1) || "it failed and did not say why"
  );
}
