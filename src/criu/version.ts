/** Which criu will do: the first that knows every field of messages.ts. */
const NEEDED = [3, 17] as const;

/** What is wrong with a criu, from what `criu --version` prints; undefined when nothing is. */
export function versionProblem(text: string): string | undefined {
  const match = /^Version: (\d+)\.(\d+)/m.exec(text);
  if (match === null) return `it does not tell its version, and ${NEEDED.join(".")} is needed`;
  const [major, minor] = [Number(match[1]), Number(match[2])];
  const isNew = major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1]);
  return isNew ? undefined : `it is criu ${major}.${minor}, and ${NEEDED.join(".")} is needed`;
}
