/**
 * The unit of a container and where its cgroup lies: `linux.cgroupsPath` as the systemd driver reads it,
 * "slice:prefix:name". Rules: systemd.slice(5), systemd.unit(5); runc's docs/systemd.md. Touches no file.
 */
import { SpecError } from "../../errors.ts";
import { byteLength } from "../../spec/text.ts";

export interface UnitName {
  /** "tsrun-web.scope"; with a name that ends in ".slice", that slice. */
  unit: string;
  /** The slice that the scope lies in; for a slice, its own name. */
  slice: string;
  /** Names of the cgroups from the manager's own down to the unit's. */
  names: string[];
}

/**
 * @param fallback the slice when none is named: "system.slice", or "user.slice" for a user's manager
 * @throws SpecError for a path of another form, and for names that systemd does not have
 */
export function unitName(cgroupsPath: string | undefined, id: string, fallback: string): UnitName {
  const parts = cgroupsPath ? cgroupsPath.split(":") : [fallback, "tsrun", id];
  if (parts.length !== 3) {
    throw problem(
      `expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, got ${JSON.stringify(cgroupsPath)} instead`,
    );
  }
  const [slice, prefix, name] = parts as [string, string, string];
  if (name.endsWith(".slice")) return { unit: name, slice: name, names: sliceNames(name) };
  if (name === "") throw problem(`${JSON.stringify(cgroupsPath)} names no unit`);
  const unit = prefix === "" ? `${name}.scope` : `${prefix}-${name}.scope`;
  checkUnit(unit);
  const within = slice === "" ? fallback : slice;
  return { unit, slice: within, names: [...sliceNames(within), unit] };
}

/** "a-b.slice" lies in "a.slice", and that one at the top. @throws SpecError for what is no name of a slice */
export function sliceNames(slice: string): string[] {
  // The root of all slices.
  if (slice === "-.slice") return [];
  const stem = slice.endsWith(".slice") ? slice.slice(0, -".slice".length) : "";
  const words = stem.split("-");
  if (words.includes("")) throw problem(`${JSON.stringify(slice)} is no name of a slice`);
  checkUnit(slice);
  return words.map((_, i) => `${words.slice(0, i + 1).join("-")}.slice`);
}

/** What systemd takes for a name; a slash would be a directory. */
function checkUnit(unit: string): void {
  if (/^[A-Za-z0-9:_.\\@-]+$/.test(unit) && byteLength(unit) <= 255) return;
  throw problem(`systemd has no unit of the name ${JSON.stringify(unit)}`);
}

function problem(message: string): SpecError {
  return new SpecError([{ path: "linux.cgroupsPath", message }]);
}
