/** The annotations that tsrun reads. Rules: docs, "Bundles and layers". Unknown annotations are never an error (OCI config.md). */
import type { Problem } from "../errors.ts";
import { nameProblem } from "./id.ts";
import { isNetwork, NETWORKS, type NetworkProgram } from "./network.ts";
import { joinPath, quote } from "./text.ts";

export const ANNOTATION = {
  /** JSON array, lowest layer first: directories, absolute or relative to the bundle, or "sha256:<chainID>". */
  layers: "org.tsrun.layers",
  /** "true": root.path is the only lower layer, so the container never changes its bundle. */
  overlay: "org.tsrun.overlay",
  /** Name of a read-write layer that outlives the container. */
  rwLayer: "org.tsrun.rw-layer",
  /** One of DRIVERS. */
  driver: "org.tsrun.driver",
  /** The most that the read-write layer may take: "512m", "10g", bytes. */
  storageSize: "org.tsrun.storage-size",
  /** Comma-separated words of OVERLAY_OPTIONS. */
  overlayOptions: "org.tsrun.overlay-options",
  /** One of NETWORKS: a network of its own for a container of an ordinary user. */
  network: "org.tsrun.network",
  /** Id of the image that the bundle was made of; for people and `list`, it changes nothing. */
  image: "org.tsrun.image",
} as const;

/**
 * What may be asked of the overlay. The first four are overlayfs's own (kernel filesystems/overlayfs.rst); idmap maps
 * the ids of all layers into the container's user namespace, noidmap of none: left out, of those of the store.
 */
export const OVERLAY_OPTIONS: readonly string[] = ["index", "metacopy", "volatile", "xino", "idmap", "noidmap"];

/** What puts layers together: the kernel's overlayfs, a copy, or fuse-overlayfs(1). */
export const DRIVERS: readonly string[] = ["overlay2", "vfs", "fuse-overlayfs"];

export interface LayerAnnotations {
  driver: string | undefined;
  overlayOptions: string[];
  layers: string[] | undefined;
  overlay: boolean;
  rwLayer: string | undefined;
  storageSize: string | undefined;
  network: NetworkProgram | undefined;
}

/** What the annotations ask for. What is wrong with them goes to `report` and counts as not there. */
export function readAnnotations(
  annotations: Readonly<Record<string, string>> | undefined,
  report: (problem: Problem) => void,
): LayerAnnotations {
  const found: LayerAnnotations = {
    layers: undefined,
    overlay: false,
    rwLayer: undefined,
    overlayOptions: [],
    driver: undefined,
    storageSize: undefined,
    network: undefined,
  };
  if (annotations === undefined) return found;
  const at = (key: string) => joinPath("annotations", key);

  const layers = own(annotations, ANNOTATION.layers);
  if (layers !== undefined) {
    found.layers = parseLayers(layers, (message) => report({ path: at(ANNOTATION.layers), message }));
  }
  const overlay = own(annotations, ANNOTATION.overlay);
  if (overlay !== undefined && overlay !== "true" && overlay !== "false") {
    report({ path: at(ANNOTATION.overlay), message: `must be "true" or "false", not ${quote(overlay)}` });
  }
  found.overlay = overlay === "true";
  const driver = own(annotations, ANNOTATION.driver);
  if (driver !== undefined && !DRIVERS.includes(driver)) {
    report({ path: at(ANNOTATION.driver), message: `${quote(driver)} is no driver: ${DRIVERS.join(", ")}` });
  } else found.driver = driver;
  const words = own(annotations, ANNOTATION.overlayOptions);
  if (words !== undefined) {
    found.overlayOptions = words.split(",");
    const problem = overlayOptionsProblem(found.overlayOptions);
    if (problem !== undefined) report({ path: at(ANNOTATION.overlayOptions), message: problem });
  }
  const size = own(annotations, ANNOTATION.storageSize);
  if (size !== undefined && sizeOf(size) === undefined) {
    report({ path: at(ANNOTATION.storageSize), message: sizeProblem(size) });
  } else found.storageSize = size;
  const network = own(annotations, ANNOTATION.network);
  if (network !== undefined && !isNetwork(network)) {
    report({ path: at(ANNOTATION.network), message: `${quote(network)} is no network: ${NETWORKS.join(", ")}` });
  } else found.network = network;
  const rwLayer = own(annotations, ANNOTATION.rwLayer);
  const problem = rwLayer === undefined ? undefined : nameProblem(rwLayer);
  if (problem !== undefined) {
    report({ path: at(ANNOTATION.rwLayer), message: `is no name of a layer: ${problem}` });
  } else {
    found.rwLayer = rwLayer;
  }
  return found;
}

/** What is wrong with a list of overlay options; undefined when nothing is. */
export function overlayOptionsProblem(words: readonly string[]): string | undefined {
  for (const word of words) {
    if (!OVERLAY_OPTIONS.includes(word)) return `${quote(word)} is no overlay option: ${OVERLAY_OPTIONS.join(", ")}`;
  }
  if (words.includes("idmap") && words.includes("noidmap")) return "idmap and noidmap exclude each other";
  return undefined;
}

/** Bytes of "512m", "1.5GiB" or "4096": units of 1024. Undefined for what is no size, or none at all. */
export function sizeOf(text: string | number): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([kmgtp])?(?:i?b)?$/i.exec(String(text).trim());
  if (match === null) return undefined;
  const power = match[2] === undefined ? 0 : "kmgtp".indexOf(match[2].toLowerCase()) + 1;
  const bytes = Math.floor(Number(match[1]) * 1024 ** power);
  return bytes > 0 && Number.isSafeInteger(bytes) ? bytes : undefined;
}

export function sizeProblem(text: string | number): string {
  return `${quote(String(text))} is no size: a number of bytes, or one with k, m, g, t or p`;
}

/** What is wrong with one layer of a list; undefined when nothing is. */
export function layerProblem(layer: unknown): string | undefined {
  if (typeof layer !== "string") return "must be a string";
  if (layer === "") return "is empty";
  if (layer.includes("\0")) return "contains a NUL byte";
  if (layer.length > 4095) return "is longer than 4095 characters";
  if (layer.startsWith("sha256:") && !/^sha256:[0-9a-f]{64}$/.test(layer)) {
    return `${quote(layer)} is no chain id: "sha256:" and 64 lower-case hexadecimal digits`;
  }
  return undefined;
}

function parseLayers(text: string, report: (message: string) => void): string[] | undefined {
  let layers: unknown;
  try {
    layers = JSON.parse(text);
  } catch {
    layers = undefined;
  }
  if (!Array.isArray(layers) || layers.length === 0) {
    report(`must be a JSON array of directories or "sha256:..." layers, lowest first, not ${quote(text)}`);
    return undefined;
  }
  let isWhole = true;
  for (const [i, layer] of layers.entries()) {
    const problem = layerProblem(layer);
    if (problem === undefined) continue;
    report(`layer ${i} ${problem}`);
    isWhole = false;
  }
  return isWhole ? (layers as string[]) : undefined;
}

function own(record: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
