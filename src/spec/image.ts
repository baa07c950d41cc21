/**
 * Turns the config of an image into a config.json. Pure.
 * Rules: OCI image-spec conversion.md; the capabilities and limits are those that Docker gives a container.
 */
import { type Problem, SpecError } from "../errors.ts";
import { ANNOTATION } from "./annotations.ts";
import { defaultSpec, type Rootless } from "./defaults.ts";
import type { Mount, Spec, User } from "./types.ts";

/** The part of an image's config that counts here. */
export interface ImageToConvert {
  architecture: string;
  os: string;
  variant?: string | undefined;
  author?: string | undefined;
  created?: string | undefined;
  config?:
    | {
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
    | null
    | undefined;
}

export interface ConversionRequest {
  imageId: string;
  /** Chain IDs, lowest first. */
  layers: readonly string[];
  /** In place of Cmd. */
  args: readonly string[];
  terminal: boolean;
  /** The content of the image's /etc/passwd and /etc/group; asked for only when a name has to be looked up. */
  passwd(): string | undefined;
  group(): string | undefined;
  /** Directory below the bundle for the volumes; undefined: what is written there goes to the read-write layer. */
  volumesDirectory: string | undefined;
  /** The caller is not root: its ids mapped in a user namespace. */
  rootless?: Rootless | undefined;
}

export interface Conversion {
  spec: Spec;
  /** Where volumes are in the container, and their directories in the bundle. */
  volumes: { destination: string; source: string }[];
}

/** @throws SpecError when there is no command, or a user that the image does not have */
export function imageSpec(image: ImageToConvert, request: ConversionRequest): Conversion {
  const config = image.config ?? {};
  const problems: Problem[] = [];
  const args = [...(config.Entrypoint ?? []), ...(request.args.length > 0 ? request.args : (config.Cmd ?? []))];
  if (args.length === 0) problems.push({ path: "", message: "the image has no command: give one after --" });
  const user = findUser(config.User ?? "", request, problems);
  if (problems.length > 0) throw new SpecError(problems);
  const spec = defaultSpec({ rootless: request.rootless });
  const volumes = Object.keys(config.Volumes ?? {})
    .sort()
    .map((destination, i) => ({
      destination: absolute(destination),
      source: `${request.volumesDirectory ?? ""}/${i}`,
    }));
  const mounts: Mount[] = volumes.map(({ destination, source }) => ({
    destination,
    type: "bind",
    source,
    options: ["rbind", "rw"],
  }));
  // The limits of whoever starts it, as an engine has it; the host's name, as no name is asked for.
  const { process, hostname: _, ...rest } = spec;
  const { rlimits: __, ...processRest } = process as NonNullable<Spec["process"]>;
  const converted: Spec = {
    ...rest,
    process: {
      ...processRest,
      terminal: request.terminal,
      user,
      args,
      env: environment(config.Env ?? [], request.terminal),
      cwd: absolute(config.WorkingDir || "/"),
      capabilities: capabilities(user.uid),
      noNewPrivileges: false,
    },
    root: { path: "rootfs" },
    mounts: [...(spec.mounts ?? []), ...(request.volumesDirectory === undefined ? [] : mounts)],
    annotations: annotations(image, request),
  };
  return { spec: converted, volumes: request.volumesDirectory === undefined ? [] : volumes };
}

function absolute(path: string): string {
  return path.startsWith("/") ? path : `/${path}`;
}

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function environment(own: readonly string[], terminal: boolean): string[] {
  const has = (name: string) => own.some((entry) => entry.startsWith(`${name}=`));
  return [...(has("PATH") ? [] : [PATH]), ...(terminal && !has("TERM") ? ["TERM=xterm"] : []), ...own];
}

/** What Docker gives: enough for package managers and servers, nothing that reaches beyond the container. */
const CAPABILITIES = [
  "CAP_CHOWN",
  "CAP_DAC_OVERRIDE",
  "CAP_FSETID",
  "CAP_FOWNER",
  "CAP_MKNOD",
  "CAP_NET_RAW",
  "CAP_SETGID",
  "CAP_SETUID",
  "CAP_SETFCAP",
  "CAP_SETPCAP",
  "CAP_NET_BIND_SERVICE",
  "CAP_SYS_CHROOT",
  "CAP_KILL",
  "CAP_AUDIT_WRITE",
];

function capabilities(uid: number) {
  // Another user than root has none, and may get them back by what is setuid.
  return uid === 0
    ? { bounding: CAPABILITIES, effective: CAPABILITIES, permitted: CAPABILITIES }
    : { bounding: CAPABILITIES, effective: [], permitted: [] };
}

function annotations(image: ImageToConvert, { imageId, layers }: ConversionRequest): Record<string, string> {
  const { architecture, os, variant, author, created, config } = image;
  const found: Record<string, string> = {
    "org.opencontainers.image.os": os,
    "org.opencontainers.image.architecture": architecture,
  };
  const add = (name: string, value: string | undefined) => {
    if (value !== undefined && value !== "") found[`org.opencontainers.image.${name}`] = value;
  };
  add("variant", variant);
  add("author", author);
  add("created", created);
  add("stopSignal", config?.StopSignal);
  add("exposedPorts", Object.keys(config?.ExposedPorts ?? {}).join(","));
  // A label is the image's own word; what is ours it cannot say.
  for (const [name, value] of Object.entries(config?.Labels ?? {}))
    if (!name.startsWith("org.tsrun.")) found[name] = value;
  found[ANNOTATION.image] = imageId;
  found[ANNOTATION.layers] = JSON.stringify(layers);
  return found;
}

/** "user", "uid", "user:group", "uid:gid" and the mixtures, as docker understands them. */
function findUser(text: string, request: ConversionRequest, problems: Problem[]): User {
  const [name = "", groupName] = text.split(":");
  const entries = lines(request.passwd, name !== "");
  const isNumber = /^[0-9]{1,10}$/.test(name);
  const own =
    name === "" ? undefined : entries.find((fields) => fields[0] === name || (isNumber && fields[2] === name));
  const uid = own !== undefined ? number(own[2]) : name === "" ? 0 : isNumber ? number(name) : undefined;
  if (uid === undefined)
    problems.push({ path: "", message: `the image has no user ${JSON.stringify(name)} in its /etc/passwd` });
  const groups = lines(request.group, groupName !== undefined || own !== undefined);
  const gid = groupName === undefined || groupName === "" ? (number(own?.[3]) ?? 0) : findGroup(groupName, groups);
  if (gid === undefined)
    problems.push({ path: "", message: `the image has no group ${JSON.stringify(groupName)} in its /etc/group` });
  // With a group of its own a user has that one alone.
  const more =
    own === undefined || groupName !== undefined
      ? []
      : groups
          .filter((fields) => (fields[3] ?? "").split(",").includes(own[0] ?? ""))
          .flatMap((fields) => number(fields[2]) ?? []);
  const additional = [...new Set(more)].filter((id) => id !== gid);
  return { uid: uid ?? 0, gid: gid ?? 0, ...(additional.length > 0 && { additionalGids: additional }) };
}

function findGroup(name: string, groups: readonly string[][]): number | undefined {
  const found = groups.find((fields) => fields[0] === name);
  return found === undefined ? (/^[0-9]{1,10}$/.test(name) ? number(name) : undefined) : number(found[2]);
}

function lines(read: () => string | undefined, isNeeded: boolean): string[][] {
  return isNeeded ? (read() ?? "").split("\n").map((line) => line.split(":")) : [];
}

/** An id; undefined for what is none: 2^32 - 1 means "no change" to the kernel. */
function number(text: string | undefined): number | undefined {
  const value = text !== undefined && /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
  return value < 0xffffffff ? value : undefined;
}
