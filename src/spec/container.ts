/**
 * What resolve() makes of a config.json: complete, absolute, checked. After it nobody asks the machine what it can do.
 */
import type { Problem } from "../errors.ts";
import type { Host } from "../host.ts";
import type { NetworkProgram } from "./network.ts";
import type { LinuxIDMapping, LinuxNamespaceType, Process, Spec } from "./types.ts";

export type { Host };

/** What the command line or the library's caller asks for, beside the config. Paths are absolute, or relative to the bundle. */
export interface RuntimeOptions {
  id: string;
  /** Absolute. */
  bundle: string;
  configFile?: string | undefined;
  /** Lowest first; directories or "sha256:<chainID>". Wins over the annotation, as do the next two. */
  layers?: readonly string[] | undefined;
  overlay?: boolean | undefined;
  rwLayer?: string | undefined;
  overlayOptions?: readonly string[] | undefined;
  driver?: string | undefined;
  storageSize?: number | string | undefined;
  /** Absolute. */
  storageRoot?: string | undefined;
  network?: string | undefined;
  noPivot?: boolean | undefined;
  noNewKeyring?: boolean | undefined;
  preserveFds?: number | undefined;
  listenFds?: number | undefined;
  listenFdNames?: string | undefined;
  rootless?: boolean | "auto" | undefined;
  cgroupManager?: "cgroupfs" | "systemd" | "disabled" | undefined;
  detach?: boolean | undefined;
  consoleSocket?: string | undefined;
  pidfdSocket?: string | undefined;
  pidFile?: string | undefined;
  keep?: boolean | undefined;
  noSubreaper?: boolean | undefined;
}

export type ResolveOptions = RuntimeOptions;

/** A process whose defaults are in: everything that a plan needs is there. */
export interface ResolvedProcess extends Process {
  args: string[];
  env: string[];
  cwd: string;
}

/** A spec whose defaults are in; paths on the host are absolute, mount destinations too. */
export interface ResolvedSpec extends Spec {
  process: ResolvedProcess;
}

export interface JoinedNamespace {
  type: LinuxNamespaceType;
  path: string;
  /** CLONE_NEW* */
  flag: number;
}

export interface ContainerSpec {
  id: string;
  bundle: string;
  spec: ResolvedSpec;
  rootfs: {
    /** Absolute: root.path. With layers the runtime puts the merged directory in its place. */
    path: string;
    /** Lowest first; absolute directories or "sha256:<chainID>". Undefined: root.path is used as it is. */
    layers: string[] | undefined;
    rwLayer: string | undefined;
    /** Words of OVERLAY_OPTIONS (annotations.ts). */
    overlayOptions: readonly string[];
    /** Another one of DRIVERS than overlay2. */
    driver?: string;
    /** The most that the read-write layer may take. */
    sizeBytes?: number;
    readonly: boolean;
  };
  namespaces: {
    /** CLONE_NEW* bits of the new ones. */
    create: number;
    join: JoinedNamespace[];
  };
  /** A new or joined user namespace. */
  userns: boolean;
  /** No mount namespace, new or joined: its mounts are in that of the runtime, and have to be taken away again. */
  hostMounts: boolean;
  /** As in config.json, or those of a user namespace that is joined; empty when neither is known. */
  uidMappings: LinuxIDMapping[];
  gidMappings: LinuxIDMapping[];
  options: RuntimeOptions;
  host: Host;
  /** The config as a whole, when its members have other names than config.json gave them. */
  renamed?: Spec;
  /** What is to carry its network. */
  network?: NetworkProgram;
  /** Not wrong, but probably not what was meant: unknown capabilities (dropped), relative destinations. */
  warnings: Problem[];
}
