import { type ContainerEvent, containerStats, watchContainer } from "../../index.ts";
import { millisecondsOf } from "../durations.ts";
import { defineVerb } from "../flags.ts";
import { writeOut } from "../output.ts";

export const events = defineVerb({
  name: "events",
  summary: "print what a container uses, and when it runs out of memory, as JSON lines",
  usage: "<container-id>",
  flags: [
    { name: "interval", kind: "string", argument: "duration", help: "time between two figures (default: 5s)" },
    { name: "stats", kind: "bool", help: "print the figures once" },
  ],
  min: 1,
  max: 1,
  notes: "Ends when the container has ended.",
  run({ values, args, globals }) {
    const id = args[0] as string;
    const interval = millisecondsOf("interval", values.interval ?? "5s");
    if (values.stats) writeOut(eventLine({ type: "stats", id, data: containerStats(globals.root, id) }));
    else watchContainer(globals.root, id, interval, (event) => writeOut(eventLine(event)));
    return 0;
  },
});

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
