/** The parts of an image's config that are used here. Pure. Rules: OCI image-spec config.md. */
import { TsrunError } from "../errors.ts";
import { checkDigest, type Digest } from "./digest.ts";

/** The config of an image, as the OCI image-spec has it. */
export interface ImageConfig {
  created?: string;
  author?: string;
  architecture: string;
  os: string;
  variant?: string | undefined;
  config?: ContainerConfig;
  rootfs: { type: string; diff_ids: Digest[] };
  history?: HistoryEntry[];
}

export interface ContainerConfig {
  User?: string;
  ExposedPorts?: Record<string, object>;
  Env?: string[] | null;
  Entrypoint?: string[] | null;
  Cmd?: string[] | null;
  Volumes?: Record<string, object> | null;
  WorkingDir?: string;
  Labels?: Record<string, string> | null;
  StopSignal?: string;
}

/** One step in which an image was made. */
export interface HistoryEntry {
  created?: string;
  created_by?: string;
  author?: string;
  comment?: string;
  empty_layer?: boolean;
}

/** More than any real config: an image may have anything in its place. */
export const MAX_JSON = 8 << 20;

/** @throws TsrunError that names `what` and the field */
export function parseConfig(text: string, what: string): ImageConfig {
  const value = parseJson(text, `the config of ${what}`);
  const fail = (field: string, wanted: string): never => {
    throw new TsrunError(`the config of ${what}: ${field} must be ${wanted}`);
  };
  if (!isObject(value)) return fail("it", "an object");
  const rootfs = value.rootfs;
  if (!isObject(rootfs) || !Array.isArray(rootfs.diff_ids)) return fail("rootfs.diff_ids", "a list");
  rootfs.diff_ids.forEach((id, i) => {
    checkDigest(id, `the config of ${what}: rootfs.diff_ids[${i}]`);
  });
  for (const field of ["architecture", "os"]) if (typeof value[field] !== "string") fail(field, "a string");
  if (value.history != null && !Array.isArray(value.history)) fail("history", "a list");
  const config = value.config;
  if (config != null) checkContainerConfig(config, fail);
  return value as unknown as ImageConfig;
}

function checkContainerConfig(config: unknown, fail: (field: string, wanted: string) => never): void {
  if (!isObject(config)) {
    fail("config", "an object");
    return;
  }
  for (const field of ["Env", "Entrypoint", "Cmd"]) {
    const list = config[field];
    if (list != null && !(Array.isArray(list) && list.every((item) => typeof item === "string")))
      fail(`config.${field}`, "a list of strings");
  }
  for (const field of ["User", "WorkingDir", "StopSignal"]) {
    if (config[field] != null && typeof config[field] !== "string") fail(`config.${field}`, "a string");
  }
  for (const field of ["Volumes", "Labels", "ExposedPorts"]) {
    if (config[field] != null && !isObject(config[field])) fail(`config.${field}`, "an object");
  }
  const labels = config.Labels;
  if (isObject(labels) && !Object.values(labels).every((label) => typeof label === "string"))
    fail("config.Labels", "an object of strings");
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @throws TsrunError */
export function parseJson(text: string, what: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new TsrunError(`${what} is not JSON: ${error instanceof Error ? error.message : error}`);
  }
}

const ORDER = [
  "created",
  "author",
  "architecture",
  "variant",
  "os",
  "os.version",
  "os.features",
  "config",
  "rootfs",
  "history",
];
const CONFIG_ORDER = [
  "User",
  "ExposedPorts",
  "Env",
  "Entrypoint",
  "Cmd",
  "Volumes",
  "WorkingDir",
  "Labels",
  "StopSignal",
];
const HISTORY_ORDER = ["created", "created_by", "author", "comment", "empty_layer"];

/**
 * A config as the programs in Go write it, to the byte: the order of image-spec's structures, sorted maps, and their
 * escapes. Those programs read a config and write it again on some of their ways; it keeps its digest then.
 */
export function formatConfig(config: ImageConfig): string {
  const { config: own = {}, history = [], ...rest } = config as ImageConfig & Record<string, unknown>;
  const sorted = ordered(own as Record<string, unknown>, CONFIG_ORDER);
  for (const field of ["ExposedPorts", "Volumes", "Labels"]) {
    if (isObject(sorted[field])) sorted[field] = ordered(sorted[field], []);
  }
  const lines = (history ?? []).map((line) => ordered(line as Record<string, unknown>, HISTORY_ORDER));
  const whole = { ...rest, config: sorted, ...(lines.length > 0 && { history: lines }) };
  return JSON.stringify(ordered(whole, ORDER)).replace(/[<>&\u2028\u2029]/g, (c) => {
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** The fields named first, the others after them, sorted. What is not there is left out. */
function ordered(value: Record<string, unknown>, first: readonly string[]): Record<string, unknown> {
  const rest = Object.keys(value).filter((key) => !first.includes(key));
  const keys = [...first, ...rest.sort()].filter((key) => value[key] !== undefined && value[key] !== null);
  return Object.fromEntries(keys.map((key) => [key, value[key]]));
}

/** Go's RFC 3339: no fraction where it is zero. */
export function goTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.?0+Z$/, "Z");
}
