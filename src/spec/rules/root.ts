/** ociVersion, root, hostname, domainname. Rules: OCI config.md "Specification version", "Root", "Hostname", "Domainname". */
import { ANNOTATION } from "../annotations.ts";
import { type ObjectShape, S } from "../structure.ts";
import { byteLength, quote } from "../text.ts";
import type { RuleContext } from "./context.ts";

export const ROOT: ObjectShape = {
  members: { __proto__: null as never, path: S.path, readonly: S.boolean },
};

/** __NEW_UTS_LEN of the kernel. */
const MAX_HOSTNAME = 64;

export function checkRoot(context: RuleContext): void {
  checkVersion(context);
  const { root, annotations } = context.spec;
  const needsRoot = !context.hasLayers && annotations?.[ANNOTATION.layers] === undefined;
  if (root === undefined) {
    if (needsRoot) context.report("root", "is missing: it names the root filesystem");
  } else if (root.path === undefined || root.path === "") {
    if (needsRoot) context.report("root.path", root.path === "" ? "is empty" : "is missing");
  }
  checkName(context, "hostname");
  checkName(context, "domainname");
}

/** Any 1.x will do, newer ones too: minor versions only add. Version 0 differs in nothing that is read here. */
function checkVersion({ spec, report, warn }: RuleContext): void {
  const version = spec.ociVersion;
  // The first answer is for nearly every config; a regular expression costs more at a cold start than all other rules.
  if (version === undefined || COMMON_VERSIONS.includes(version)) return;
  const match = /^(\d+)\.\d+\.\d+(?:[-+][\w.+-]+)?$/.exec(version);
  if (match === null) report("ociVersion", `${quote(version)} is no version: "1.3.0" would be one`);
  else if (match[1] === "0") warn("ociVersion", `${quote(version)} is older than 1.0.0; read as 1.0.0`);
  else if (match[1] !== "1") report("ociVersion", `${quote(version)} is not known; 1.x is`);
}

const COMMON_VERSIONS: readonly string[] = ["1.0.0", "1.0.1", "1.0.2", "1.0.2-dev", "1.1.0", "1.2.0", "1.2.1", "1.3.0"];

function checkName(context: RuleContext, field: "hostname" | "domainname"): void {
  const name = context.spec[field];
  if (name === undefined || name === "") return;
  if (byteLength(name) > MAX_HOSTNAME) {
    context.report(field, `is longer than the ${MAX_HOSTNAME} bytes the kernel takes`);
  }
  if (!context.has("uts")) {
    context.report(field, 'cannot be set without a uts namespace: add {"type": "uts"} to linux.namespaces');
  }
}
