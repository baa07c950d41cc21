/** Events of containers, as `tsrun events` writes them. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
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
  await until(() => isFollowing(stream.pid, id), "it is followed");
  return { id, container, stream, events: () => eventsOf(stream.stdout()) };
}

/** Does this `tsrun events` wait for what happens to the container? It has opened all that tells it by then. */
export function isFollowing(pid: number, id: string): boolean {
  const record = join(stateDirectory(id), "exit");
  return openFiles(pid).includes(record) && readFileSync(`/proc/${pid}/wchan`, "utf8").includes("poll");
}

function openFiles(pid: number): string[] {
  const directory = `/proc/${pid}/fd`;
  return readdirSync(directory).flatMap((name) => {
    try {
      return [readlinkSync(join(directory, name))];
    } catch {
      // Closed meanwhile.
      return [];
    }
  });
}

export const eventsOf = (text: string) =>
  text
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line));
