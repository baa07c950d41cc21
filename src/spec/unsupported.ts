/** What config.json may ask for and this release does not do yet. Refused by name: nothing is silently ignored. */
import type { Problem } from "../errors.ts";
import type { Spec } from "./types.ts";

/** Empty values (`hooks: {}`, `apparmorProfile: ""`) ask for nothing. The spec may be malformed: only presence is looked at. */
export function unsupported(spec: Spec): Problem[] {
  const problems: Problem[] = [];
  const refuse = (path: string, what = LATER) => problems.push({ path, message: what });
  const linux = spec.linux ?? {};
  for (const field of LINUX_FIELDS) {
    if (isAsked(linux[field])) refuse(`linux.${field}`);
  }
  return problems;
}

const LATER = "is not supported in this release";
const LINUX_FIELDS = ["intelRdt"] as const;

function isAsked(value: unknown): boolean {
  if (value === undefined || value === null || value === "") return false;
  return typeof value !== "object" || Object.keys(value).length > 0;
}
