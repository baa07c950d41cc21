/** What imported images are called: as asked for, or as their source calls them. Pure. */
import { basename } from "../path.ts";
import type { SourceImage } from "./image-source.ts";
import { fullName } from "./imagedb.ts";
import type { ImportOptions } from "./import.ts";

export function namesFor(image: SourceImage, path: string, { name, platform }: ImportOptions): string[] {
  if (name !== undefined) {
    const hasTag = name.lastIndexOf(":") > name.lastIndexOf("/");
    const [tag] = image.names;
    const isTag = tag !== undefined && /^[\w][\w.-]{0,127}$/.test(tag);
    return [fullName(hasTag || !isTag ? name : `${name}:${tag}`)];
  }
  const names = image.names.map((found) => {
    if (found.includes(":") || found.includes("/")) return fullName(found);
    // A tag alone: the layout's own name goes before it.
    return fullName(`${nameOfPath(path)}:${found}`);
  });
  // Images of several platforms cannot have one name.
  return platform === "all" ? names.map((found) => `${found}-${image.platform.replaceAll("/", "-")}`) : names;
}

function nameOfPath(path: string): string {
  const name = basename(path)
    .replace(/(\.oci)?\.(tar|tgz)(\.\w+)?$/, "")
    .replace(/[^A-Za-z0-9._-]+/g, "-");
  return name.replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "").toLowerCase() || "image";
}
