/**
 * Paths as text, as node:path has them for POSIX: node:path itself takes Bun 0.6 ms to load.
 */
import { isErrno, TsrunError } from "./errors.ts";

/**
 * The path from the root, without ".", ".." and double slashes; relative ones begin at the working directory.
 *
 * @throws TsrunError when it is a relative one and the working directory has been removed
 */
export function resolve(...paths: string[]): string {
  let path = "";
  for (let i = paths.length - 1; i >= 0 && !isAbsolute(path); i--) {
    const part = paths[i] as string;
    if (part !== "") path = path === "" ? part : `${part}/${path}`;
  }
  if (!isAbsolute(path)) path = `${currentDirectory()}/${path}`;
  return normalize(path);
}

function currentDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    if (!isErrno(error, "ENOENT")) throw error;
    throw new TsrunError("the current directory has been removed", {
      fix: "go to another one, or give the path from the root",
    });
  }
}

/** A path below an absolute directory, without ".", ".." and double slashes. */
export function join(directory: string, path: string): string {
  return normalize(`${directory}/${path}`);
}

export function isAbsolute(path: string): boolean {
  return path.startsWith("/");
}

/** The last component. */
export function basename(path: string): string {
  const end = withoutSlashes(path);
  return end.slice(end.lastIndexOf("/") + 1);
}

/** What stands before the last component: "." when nothing does. */
export function dirname(path: string): string {
  const end = withoutSlashes(path);
  const slash = end.lastIndexOf("/");
  if (slash === -1) return path.startsWith("/") ? "/" : ".";
  return withoutSlashes(end.slice(0, slash)) || "/";
}

/** An absolute path without ".", ".." and double slashes, nor one at its end. */
export function normalize(path: string): string {
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  return `/${names.join("/")}`;
}

function withoutSlashes(path: string): string {
  let end = path.length;
  while (end > 0 && path[end - 1] === "/") end--;
  return path.slice(0, end);
}
