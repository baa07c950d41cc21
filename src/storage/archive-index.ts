/** What lies where in a tar that is a file: for archives of images, of which layers are read in place. */
import { TsrunError } from "../errors.ts";
import { preadFull } from "../sys/entries.ts";
import { components } from "./tar/bytes.ts";
import { TarReader } from "./tar/reader.ts";

export interface ArchiveFile {
  offset: number;
  size: number;
}

/** More than any real archive of images has. */
const MAX_FILES = 200_000;

/**
 * The files of an uncompressed tar, by name without a leading "./". Links are followed within the archive: older
 * versions of `docker save` write a layer that two images share as one.
 */
export function indexArchive(fd: number, size: number, path: string): Map<string, ArchiveFile> {
  const files = new Map<string, ArchiveFile>();
  const links: [name: string, target: string][] = [];
  let at = 0;
  const reader = new TarReader(
    {
      entry(entry) {
        const parts = components(entry.name);
        if (parts === undefined || parts.length === 0) return;
        const name = parts.join("/");
        if (files.size + links.length >= MAX_FILES) throw new TsrunError(`${path} has more than ${MAX_FILES} files`);
        if (entry.type === "file") {
          // With holes it lies in pieces, which nothing that is looked for here does.
          if (entry.sparse === undefined) files.set(name, { offset: at, size: entry.size });
          at += entry.size;
        } else if (entry.type === "link" || entry.type === "symlink") {
          const base = entry.type === "link" ? [] : parts.slice(0, -1);
          const target = resolveName(base, entry.linkName);
          if (target !== undefined) links.push([name, target]);
        }
      },
    },
    { isSkeleton: true },
  );
  while (!reader.isOver) {
    const block = preadFull(fd, new Uint8Array(reader.wanted), at, path);
    if (block.length === 0) break;
    at += block.length;
    reader.push(block);
    if (at > size) throw new TsrunError(`${path} ends in the middle of a file`);
  }
  reader.finish();
  for (const [name, target] of links) {
    const file = files.get(target);
    if (file !== undefined && !files.has(name)) files.set(name, file);
  }
  return files;
}

function resolveName(base: readonly string[], target: string): string | undefined {
  const parts = [...base];
  for (const part of target.split("/")) {
    if (part === "" || part === ".") continue;
    if (part === "..") {
      if (parts.pop() === undefined) return undefined;
    } else parts.push(part);
  }
  return parts.join("/");
}
