import {
  type ContainerEvent,
  containerMetrics,
  containerStats,
  type EventOptions,
  type EventType,
  watchContainer,
} from "../../index.ts";
import { millisecondsOf } from "../durations.ts";
import { defineVerb, type Flag, type Values } from "../flags.ts";
import { writeOut } from "../output.ts";
import { UsageError } from "../parse.ts";

const TYPES = ["stats", "oom", "pressure", "freeze", "exit"] as const satisfies readonly EventType[];

const FLAGS = [
  { name: "interval", kind: "string", argument: "duration", help: "time between two figures (default: 5s)" },
  { name: "stats", kind: "bool", help: "print the figures once" },
  { name: "all", kind: "bool", help: "of all containers of the root, those that come later too; no container id" },
  {
    name: "type",
    kind: "list",
    values: [...TYPES, "all"],
    argument: "type",
    help: "what to tell of: stats, oom, pressure, freeze, exit or all (repeatable; default: stats and oom)",
  },
  {
    name: "pressure",
    kind: "string",
    argument: "duration",
    help: "tell of pressure when tasks had to wait for so long within 2s (default: 200ms)",
  },
  {
    name: "format",
    kind: "string",
    values: ["json", "openmetrics"],
    argument: "format",
    help: "json (default), or openmetrics: the figures once, for Prometheus",
  },
] as const satisfies readonly Flag[];

export const events = defineVerb({
  name: "events",
  summary: "print what a container uses, and what happens to it, as JSON lines",
  usage: "<container-id> | --all",
  flags: FLAGS,
  min: 0,
  max: 1,
  notes: `Ends when the container has ended; with --all it does not.
exit tells how the container ended, freeze of pause and resume, pressure of tasks that wait for CPU, memory or I/O.`,
  run({ values, args, globals }) {
    const { root } = globals;
    const id = subjectOf(args, values);
    const options = optionsOf(values);
    if (values.format === "openmetrics") writeOut(containerMetrics(root, id));
    else if (!values.stats) watchContainer(root, id, options, (event) => writeOut(eventLine(event)));
    else if (id !== undefined) writeOut(eventLine({ type: "stats", id, data: containerStats(root, id) }));
    else throw new UsageError("--stats of all containers is: --all --format openmetrics");
    return 0;
  },
});

function subjectOf([id]: readonly string[], { all }: Values<typeof FLAGS>): string | undefined {
  if (id === undefined && !all) throw new UsageError("events needs a container id, or --all");
  if (id !== undefined && all) throw new UsageError("events takes a container id or --all, not both");
  return id;
}

function optionsOf({ interval, type, pressure, format, stats }: Values<typeof FLAGS>): EventOptions {
  if ((stats || format === "openmetrics") && (type !== undefined || pressure !== undefined)) {
    throw new UsageError("--type and --pressure are for the stream of events");
  }
  const types = type?.includes("all") ? TYPES : (type as EventType[] | undefined);
  const pressureMs = pressure === undefined ? undefined : millisecondsOf("pressure", pressure);
  return { types, intervalMs: millisecondsOf("interval", interval ?? "5s"), pressureMs };
}

const MAX_UINT64 = 2n ** 64n - 1n;

/**
 * An event as a line of JSON. Who reads it has 64-bit integers: "no limit" must be one (2^64 - 1 at most), and written
 * to its last digit, as the kernel has it.
 */
export function eventLine(event: ContainerEvent): string {
  // Neither an id nor a name of the kernel's has a colon in it.
  const text = JSON.stringify(event).replace(/:(\d{17,})(?=[,}])/g, (_, digits: string) => {
    const exact = BigInt(Number(digits));
    return `:${exact > MAX_UINT64 ? MAX_UINT64 : exact}`;
  });
  return `${text}\n`;
}
