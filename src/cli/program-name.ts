/**
 * What the program calls itself: `runc` when it was called by that name (a link to it, or a copy), so that what was
 * written for runc finds its name in help, version and messages; else `tsrun`. Asked for when something is printed.
 */

const NAME = "tsrun";
const OTHER_NAME = "runc";

export function programName(): string {
  const called = process.argv0;
  return called.slice(called.lastIndexOf("/") + 1) === OTHER_NAME ? OTHER_NAME : NAME;
}

/**
 * A text of our own (help, usage) with the name of the program as it was called. Names of files, of annotations and of
 * what goes to a log stay, and so does `tsrun completion`: it is the command `tsrun` that is completed.
 */
export function asCalled(text: string): string {
  const name = programName();
  return name === NAME ? text : text.replace(/(?<![\w./:-])tsrun(?= (?!completion))/g, name);
}
