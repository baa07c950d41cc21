/** The flags before the verb, and the rule where state is kept. */
import { stateRoot } from "../index.ts";
import { resolve } from "../path.ts";
import type { Flag, Globals, Values } from "./flags.ts";
import { UsageError } from "./parse.ts";

export const GLOBAL_FLAGS = [
  { name: "debug", kind: "bool", help: "log what is done, too" },
  {
    name: "log",
    kind: "string",
    argument: "where",
    help: "where log lines go: [file:]PATH, journald:ID or syslog:ID (default: standard error)",
  },
  {
    name: "log-format",
    kind: "string",
    values: ["text", "json"],
    mayBeEmpty: true,
    argument: "format",
    help: "text or json",
  },
  {
    name: "log-level",
    kind: "string",
    values: ["error", "warning", "info", "debug"],
    argument: "level",
    help: "error, warning, info or debug (as --debug)",
  },
  {
    name: "root",
    kind: "string",
    argument: "dir",
    help: "where states are kept (default: /run/tsrun, or $XDG_RUNTIME_DIR/tsrun or /run/user/UID/tsrun when not root)",
  },
  {
    name: "systemd-cgroup",
    kind: "bool",
    help: "let systemd make the cgroup, as that of a unit (linux.cgroupsPath is slice:prefix:name)",
  },
  {
    name: "cgroup-manager",
    kind: "string",
    values: ["cgroupfs", "systemd", "disabled"],
    argument: "name",
    help: "cgroupfs, systemd (as --systemd-cgroup) or disabled: stay in the caller's cgroup",
  },
  {
    name: "rootless",
    kind: "string",
    values: ["true", "false", "auto"],
    mayBeEmpty: true,
    argument: "when",
    help: "forgive a cgroup that cannot be written: true, false or auto",
  },
  { name: "systemd-log", kind: "bool", help: "log to systemd's journal: as --log journald:tsrun" },
  { name: "criu", kind: "string", argument: "path", help: "the criu program (default: criu, in PATH)" },
  { name: "version", short: "v", kind: "bool", help: "print the version" },
] as const satisfies readonly Flag[];

export type GlobalValues = Values<typeof GLOBAL_FLAGS>;

/**
 * What the verb gets to see of the global flags.
 *
 * @throws UsageError for what this release cannot do, and for two managers of cgroups
 */
export function resolveGlobals(values: GlobalValues): Globals {
  const named = values["cgroup-manager"];
  if (values["systemd-cgroup"] && named !== undefined && named !== "systemd") {
    throw new UsageError(`--systemd-cgroup and --cgroup-manager ${named} exclude each other`);
  }
  if (values["systemd-log"] && values.log) throw new UsageError("--systemd-log and --log exclude each other");
  const rootless = values.rootless || "auto";
  return {
    root: rootDirectory(values.root, process.env),
    cgroupManager: values["systemd-cgroup"] ? "systemd" : ((named ?? "cgroupfs") as Globals["cgroupManager"]),
    rootless: rootless === "auto" ? "auto" : rootless === "true",
    // A name alone is one to look for: "criu" is what runc's own default says.
    criu: values.criu?.includes("/") ? absolute(values.criu) : values.criu || undefined,
  };
}

/**
 * Where states are kept: what --root says, else /run/tsrun, else the runtime directory of a user who is not root.
 *
 * @throws UsageError for "/"
 */
export function rootDirectory(given: string | undefined, env: Record<string, string | undefined>): string {
  if (given !== undefined && given !== "") {
    const root = absolute(given);
    // delete would remove directories right below it.
    if (root === "/")
      throw new UsageError("--root must not be /", { fix: "name a directory of its own, such as /run/tsrun" });
    return root;
  }
  return stateRoot(undefined, env);
}

/** A path as it will be understood wherever the process goes later. */
export function absolute(path: string): string {
  return resolve(path);
}

/** The same for a flag: not given and empty both mean "none". */
export function optionalPath(path: string | undefined): string | undefined {
  return path === undefined || path === "" ? undefined : resolve(path);
}
