/** Which criu will do: the first that knows every field of messages.ts. */
const NEEDED: CriuVersion = [3, 17];

export type CriuVersion = readonly [major: number, minor: number];

/**
 * What is wrong with a criu, from what `criu --version` prints; undefined when nothing is.
 *
 * @param feature what is asked of it that it has had since a later version
 */
export function versionProblem(text: string, feature?: { name: string; since: CriuVersion }): string | undefined {
  const { since: needed, name } = feature ?? { since: NEEDED, name: undefined };
  const what = `${needed.join(".")} is needed${name === undefined ? "" : ` for ${name}`}`;
  const match = /^Version: (\d+)\.(\d+)/m.exec(text);
  if (match === null) return `it does not tell its version, and ${what}`;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  const isNew = major > needed[0] || (major === needed[0] && minor >= needed[1]);
  return isNew ? undefined : `it is criu ${major}.${minor}, and ${what}`;
}
