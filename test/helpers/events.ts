/** Events of containers, as `tsrun events` writes them. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { newId, type Started, spawn, stateDirectory, stateOf, until } from "./runtime.ts";

export interface Followed {
  id: string;
  /** Waits for a line of input, as its script says. */
  container: Started;
  stream: Started;
  /** What was told until now. */
  events(): ReturnType<typeof eventsOf>;
}

/** A container in the foreground, and the stream of its events. */
export async function followed(bundle: { path: string }, types: string[], flags: string[] = []): Promise<Followed> {
  const id = newId();
  const container = spawn(["run", "-b", bundle.path, id]);
  await until(() => stateOf(id)?.status === "running", "it runs");
  const stream = spawn(["events", ...types.flatMap((type) => ["--type", type]), ...flags, id]);
  await until(() => existsSync(join(stateDirectory(id), "exit")), "it is followed");
  return { id, container, stream, events: () => eventsOf(stream.stdout()) };
}

export const eventsOf = (text: string) =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
