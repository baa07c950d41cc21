/** mounts. Rules: OCI config.md "Mounts", "Linux mount options"; runc validator.go (superblock data on a bind mount). */
import { normalize } from "../../path.ts";
import { mountMappings } from "../idmap.ts";
import { MOUNT_WORDS, type MountOptions, mountWord, needsMount2, parseMountOptions } from "../mount-options.ts";
import { type ObjectShape, S } from "../structure.ts";
import { quote } from "../text.ts";
import type { Mount } from "../types.ts";
import type { RuleContext } from "./context.ts";
import { ID_MAPPINGS } from "./mappings.ts";

export const MOUNT: ObjectShape = {
  members: {
    __proto__: null as never,
    destination: S.path,
    type: S.path,
    source: S.path,
    options: { list: S.argument },
    uidMappings: ID_MAPPINGS,
    gidMappings: ID_MAPPINGS,
  },
  required: ["destination"],
};

const OUR_WORDS: readonly string[] = Object.keys(MOUNT_WORDS);

/** Words that belong to filesystems and look like a typo of one of ours. */
const FILESYSTEM_WORDS: readonly string[] = ["newinstance", "i_version", "nouuid", "wsync", "nodevmap", "norecovery"];

export function checkMounts(context: RuleContext): void {
  const mounts = context.spec.mounts;
  if (mounts === undefined || mounts.length === 0) return;
  mounts.forEach((mount, i) => {
    checkMount(context, mount, `mounts[${i}]`);
  });
}

/** Of a list that says what to remove, nothing else matters. */
export function checkDestinations(context: RuleContext): void {
  context.spec.mounts?.forEach((mount, i) => {
    checkDestination(context, mount.destination, `mounts[${i}].destination`);
  });
}

/** Which directories such a mount shows is known while a container is made. */
export function refuseCgroups({ spec, report }: RuleContext): void {
  spec.mounts?.forEach(({ type }, i) => {
    if (type === "cgroup" || type === "cgroup2") report(`mounts[${i}].type`, `${quote(type)} is for config.json alone`);
  });
}

function checkMount(context: RuleContext, mount: Mount, path: string): void {
  const { report } = context;
  const options = parseMountOptions(mount.options);
  checkDestination(context, mount.destination, `${path}.destination`);
  const isBind = options.bind || mount.type === "bind";
  if (isBind) checkBind(context, mount, options, path);
  else if (!options.remount && (mount.type === undefined || mount.type === "" || mount.type === "none")) {
    context.report(`${path}.type`, 'is needed, unless the options have "bind" or "rbind"');
  }
  if (options.copyUp && mount.type !== "tmpfs") report(`${path}.options`, '"tmpcopyup" is for a mount of type tmpfs');
  if (!isBind) checkSourceWords(context, options, path);
  checkMappings(context, mount, options, path);
  if (!isBind && !options.remount) checkOldCall(context, mount, options, path);
  if (options.data.length === 0) return;
  mount.options?.forEach((word, i) => {
    if (word === "" || mountWord(word) !== undefined) return;
    checkData(context, word, isBind, `${path}.options[${i}]`);
  });
}

function checkSourceWords({ report }: RuleContext, options: MountOptions, path: string): void {
  if (options.copyLink) report(`${path}.options`, '"copy-symlink" is for a bind mount');
  if (options.keepSourceLink) report(`${path}.options`, '"src-nofollow" is for a bind mount');
}

/** What mount(2) makes is at its place at once: nothing can be mapped or copied before it is seen. */
function checkOldCall({ spec, report }: RuleContext, mount: Mount, options: MountOptions, path: string): void {
  if (!needsMount2(options, mount.source ?? "")) return;
  const isMapped = mountMappings(mount, spec.linux ?? {}, options) !== undefined;
  if (!isMapped && !options.copyUp) return;
  const what = isMapped ? "mapped ids" : '"tmpcopyup"';
  report(`${path}.options`, `${what} cannot be had with a value of more than 255 bytes or with "iversion"`);
}

function checkMappings({ spec, report }: RuleContext, mount: Mount, options: MountOptions, path: string): void {
  const mappings = mountMappings(mount, spec.linux ?? {}, options);
  if (mappings === undefined) return;
  if (mappings.uids.length > 0 && mappings.gids.length > 0) return;
  if (options.idmapWord !== undefined) {
    report(
      `${path}.options`,
      'idmap= takes "uids=ID-SEEN-COUNT;gids=ID-SEEN-COUNT", more ranges after a #, after an @ by the mappings of linux',
    );
  } else if (mount.uidMappings?.length || mount.gidMappings?.length) {
    report(path, "needs both uidMappings and gidMappings");
  } else {
    report(
      `${path}.options`,
      '"idmap" needs uidMappings and gidMappings of the mount, or of a user namespace in linux',
    );
  }
}

function checkDestination({ report, warn }: RuleContext, destination: string | undefined, path: string): void {
  if (destination === undefined) return;
  if (destination === "") report(path, "is empty");
  else if (isRoot(destination)) report(path, `${quote(destination)} is the root filesystem itself: see root.path`);
  else if (!destination.startsWith("/"))
    warn(path, `${quote(destination)} is relative; taken from the container's root`);
}

function isRoot(destination: string): boolean {
  if (destination.includes("/.")) return normalize(`/${destination}`) === "/";
  let end = destination.length;
  while (end > 0 && destination.charAt(end - 1) === "/") end--;
  const head = destination.slice(0, end);
  return head === "" || head === "." || head === "..";
}

function checkBind({ report, warn }: RuleContext, mount: Mount, options: MountOptions, path: string): void {
  // A remount changes what is there already.
  if (!options.remount && (mount.source === undefined || mount.source === "")) {
    report(`${path}.source`, "is needed for a bind mount");
  }
  if (!options.bind) warn(`${path}.options`, 'lack "bind", though the type says so; taken as if they had it');
  for (const flag of options.superFlags) {
    if (flag.startsWith("no") || flag === "async") continue;
    warn(`${path}.options`, `${quote(flag)} is a matter of the whole filesystem and does nothing on a bind mount`);
  }
}

/**
 * A word that is none of ours goes to the filesystem; one that is nearly ours was meant to be. Of a bind mount the kernel
 * heeds none, and other runtimes tell nobody: a setting is left out, a bare word may be a restriction that would not hold.
 */
function checkData({ report, warn, suggest }: RuleContext, word: string, isBind: boolean, path: string): void {
  const isSetting = word.includes("=");
  const mayBeTypo = !isSetting && !FILESYSTEM_WORDS.includes(word);
  const hint = mayBeTypo ? suggest(word, OUR_WORDS) : "";
  if (hint !== "") report(path, `unknown option ${quote(word)}${hint}`);
  else if (!isBind) return;
  else if (isSetting) warn(path, `${quote(word)} is a matter of a filesystem and does nothing on a bind mount`);
  else report(path, `unknown option ${quote(word)}; a bind mount takes none of a filesystem`);
}
