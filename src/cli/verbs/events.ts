import { containerStats, watchContainer } from "../../index.ts";
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
    if (values.stats) writeOut(`${JSON.stringify({ type: "stats", id, data: containerStats(globals.root, id) })}\n`);
    else watchContainer(globals.root, id, interval, (event) => writeOut(`${JSON.stringify(event)}\n`));
    return 0;
  },
});
