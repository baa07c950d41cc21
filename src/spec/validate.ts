/**
 * Everything that is wrong with a config, at once, each problem with its JSON path. First the shape of every value
 * (structure.ts), then the rules about content (rules/, one file a section). Fields that the spec does not have are ignored, as it asks.
 */
import type { Problem } from "../errors.ts";
import { findNamespace } from "./namespaces.ts";
import { ANNOTATIONS, checkAnnotations } from "./rules/annotations.ts";
import type { RuleContext } from "./rules/context.ts";
import { checkDevices } from "./rules/devices.ts";
import { checkHooks, HOOKS } from "./rules/hooks.ts";
import { checkIntelRdt, checkLinux, INTEL_RDT, LINUX } from "./rules/linux.ts";
import { checkMappings } from "./rules/mappings.ts";
import { checkDestinations, checkMounts, MOUNT, refuseCgroups } from "./rules/mounts.ts";
import { checkNamespaces, checkTimeOffsets } from "./rules/namespaces.ts";
import { checkProcess, PROCESS } from "./rules/process.ts";
import { checkLimits, checkResources, RESOURCES } from "./rules/resources.ts";
import { checkRoot, ROOT } from "./rules/root.ts";
import { checkSeccomp } from "./rules/seccomp.ts";
import { checkSysctl } from "./rules/sysctl.ts";
import { explain, fits, knownMembers, type ObjectShape, S, type Shape, unknownMembers } from "./structure.ts";
import { didYouMean } from "./text.ts";
import type { Linux, LinuxIntelRdt, LinuxResources, Mount, Process, Spec } from "./types.ts";

export const SPEC: ObjectShape = {
  members: {
    __proto__: null as never,
    ociVersion: S.text,
    process: PROCESS,
    root: ROOT,
    hostname: S.text,
    domainname: S.text,
    mounts: { list: MOUNT },
    hooks: HOOKS,
    annotations: ANNOTATIONS,
    linux: LINUX,
  },
  required: ["ociVersion"],
};

export interface Inspection {
  problems: Problem[];
  /** Not wrong, but probably not what was meant. */
  warnings: Problem[];
  /**
   * The config without its misfits and without members that are null, and with the names that the spec has; the value
   * itself when that is the same.
   */
  spec: Spec;
}

/** All problems of a config.json; none: it is valid. Throws nothing. */
export function validate(value: unknown): Problem[] {
  return inspect(value).problems;
}

/** A resources object on its own, as update takes it, and what the spec knows of it. Paths begin with `resources`. */
export function inspectResources(value: unknown): { problems: Problem[]; resources: LinuxResources } {
  const { problems, left } = examine(RESOURCES, value, "resources", false, (context, resources) => {
    checkLimits(context, resources as LinuxResources, "resources");
  });
  return { problems, resources: problems.length > 0 ? {} : (knownMembers(RESOURCES, left) as LinuxResources) };
}

/** The same for an intelRdt object. */
export function validateRdt(value: unknown): Problem[] {
  return examine(INTEL_RDT, value, "intelRdt", false, (context, rdt) => {
    checkIntelRdt(context, rdt as LinuxIntelRdt, "intelRdt");
  }).problems;
}

export interface MountsInspection extends Pick<Inspection, "problems" | "warnings"> {
  mounts: Mount[];
}

/** Mounts on their own, for a container that has the rest of `linux` already. */
export function inspectMounts(mounts: unknown, linux: Linux): MountsInspection {
  return examineMounts({ mounts, linux }, (context) => {
    checkMounts(context);
    refuseCgroups(context);
  });
}

/** The same of mounts that are to be removed: where they lie is enough. */
export function inspectDestinations(mounts: unknown): MountsInspection {
  return examineMounts({ mounts }, checkDestinations);
}

const MOUNTS: ObjectShape = { members: { __proto__: null as never, mounts: { list: MOUNT }, linux: LINUX } };

function examineMounts(value: unknown, rules: (context: RuleContext) => void): MountsInspection {
  const { problems, warnings, left } = examine(MOUNTS, value, "", false, rules);
  return { problems, warnings, mounts: (left as Spec).mounts ?? [] };
}

export function inspectProcess(value: unknown): { problems: Problem[]; warnings: Problem[]; process: Process } {
  const { problems, warnings, left } = examine(PROCESS, value, "process", false, (context, process) => {
    checkProcess(context, process as Process);
  });
  return { problems, warnings, process: left as Process };
}

/** `hasLayers`: layers were named beside the config, so it needs no root.path. */
export function inspect(value: unknown, options: { hasLayers?: boolean } = {}): Inspection {
  const { problems, warnings, left } = examine(SPEC, value, "", options.hasLayers ?? false, checkSpec);
  return { problems, warnings, spec: left as Spec };
}

/**
 * Members that were probably meant to be others. The spec wants unknown members ignored, so nobody else speaks of them;
 * it is one more walk over the config, for who asks.
 */
export function misspeltMembers(value: unknown): Problem[] {
  const found: Problem[] = [];
  let suggestions = 0;
  unknownMembers(SPEC, value, "", (path, name, known) => {
    const hint = suggestions++ < MAX_SUGGESTIONS ? didYouMean(name, known) : "";
    if (hint !== "" && hasRoom(found)) found.push({ path, message: `is not known, and ignored${hint}` });
  });
  return found;
}

/** A section that is not there costs nothing, not even the engine's first look at the code of its rules. */
function checkSpec(context: RuleContext): void {
  const { spec } = context;
  const linux = spec.linux;
  checkRoot(context);
  checkProcess(context, spec.process);
  if (spec.mounts !== undefined) checkMounts(context);
  if (spec.hooks !== undefined) checkHooks(context);
  if (spec.annotations !== undefined) checkAnnotations(context);
  if (linux === undefined) return;
  checkLinux(context);
  if (linux.namespaces !== undefined) checkNamespaces(context);
  if (linux.timeOffsets !== undefined) checkTimeOffsets(context);
  if (linux.uidMappings !== undefined || linux.gidMappings !== undefined || context.has("user")) checkMappings(context);
  if (linux.cgroupsPath !== undefined || linux.resources !== undefined) checkResources(context);
  if (linux.sysctl !== undefined) checkSysctl(context);
  if (linux.devices !== undefined) checkDevices(context);
  if (linux.seccomp !== undefined) checkSeccomp(context);
}

function examine(
  shape: Shape,
  value: unknown,
  path: string,
  hasLayers: boolean,
  rules: (context: RuleContext, left: unknown) => void,
): { problems: Problem[]; warnings: Problem[]; left: unknown } {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  if (fits(shape, value)) {
    rules(contextOf(value as Spec, hasLayers, problems, warnings), value);
    return { problems, warnings, left: value };
  }
  const left = explain(shape, value, path, (at, message) => {
    if (hasRoom(problems)) problems.push({ path: at, message: message() });
  });
  // Not even an object: there is nothing to ask further.
  if (left === undefined) return { problems, warnings, left: {} };
  const misfits = problems.map((problem) => problem.path);
  const context = contextOf(left as Spec, hasLayers, problems, warnings);
  const { has, report } = context;
  context.report = (at, message) => {
    if (problems.length > MAX_PROBLEMS || !misfits.some((misfit) => isWithin(at, misfit))) report(at, message);
  };
  context.has = (type) =>
    has(type) || misfits.some((misfit) => isWithin(misfit, "linux.namespaces") || misfit === "linux");
  rules(context, left);
  return { problems, warnings, left };
}

/** Nobody reads more, and a config of millions of bytes can have millions of them. */
const MAX_PROBLEMS = 100;
/** A suggestion compares a word with all that are known. */
const MAX_SUGGESTIONS = 1000;

function contextOf(
  spec: Spec,
  hasLayers: boolean,
  problems: Problem[],
  warnings: Problem[],
): { -readonly [K in keyof RuleContext]: RuleContext[K] } {
  let suggestions = 0;
  return {
    spec,
    hasLayers,
    report: (path, message) => {
      if (hasRoom(problems)) problems.push({ path, message });
    },
    warn: (path, message) => {
      if (hasRoom(warnings)) warnings.push({ path, message });
    },
    suggest: (word, known) => (suggestions++ < MAX_SUGGESTIONS ? didYouMean(word, known) : ""),
    has: (type) => findNamespace(spec.linux?.namespaces, type) !== undefined,
  };
}

/** May one more be listed? The last place is for saying that there are more. */
function hasRoom(list: Problem[]): boolean {
  if (list.length === MAX_PROBLEMS) list.push({ path: "", message: `and more; the first ${MAX_PROBLEMS} are listed` });
  return list.length < MAX_PROBLEMS;
}

/** Is `path` the same as `parent`, or something in it? */
function isWithin(path: string, parent: string): boolean {
  return path.startsWith(parent) && (path.length === parent.length || ".[".includes(path.charAt(parent.length)));
}
