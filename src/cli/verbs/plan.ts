import { describePlan, planContainer } from "../../index.ts";
import { CONTAINER_FLAGS, CREATE_FLAGS, defineVerb } from "../flags.ts";
import { createOptions } from "../options.ts";
import { writeOut } from "../output.ts";
import { bundleAndId } from "../target.ts";

export const plan = defineVerb({
  name: "plan",
  summary: "print what `run` would do, step by step, and do nothing",
  usage: "[<bundle>]",
  flags: [
    ...CONTAINER_FLAGS,
    ...CREATE_FLAGS,
    { name: "id", kind: "string", argument: "id", help: "the container's name" },
    { name: "detach", short: "d", kind: "bool", help: "as it would be with `run --detach`" },
    { name: "keep", kind: "bool", help: "as `run`; no step depends on it" },
    { name: "json", kind: "bool", help: "the plan as JSON" },
  ],
  min: 0,
  max: 1,
  run({ values, args, globals }) {
    const target = bundleAndId({ bundle: values.bundle, id: values.id, config: values.config, argument: args[0] });
    const result = planContainer({ ...createOptions(values, globals, target), detach: values.detach });
    writeOut(
      values.json
        ? `${JSON.stringify(result, jsonValue, 2)}\n`
        : describePlan(result)
            .map((line) => `${line}\n`)
            .join(""),
    );
    return 0;
  },
});

/** Numbers beyond 2^53 as text, bytes as base64. */
function jsonValue(_key: string, value: unknown): unknown {
  if (typeof value === "bigint") return value.toString();
  if (value instanceof Uint8Array) return base64(value);
  return value;
}

function base64(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return btoa(text);
}
