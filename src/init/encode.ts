/**
 * A plan as the bytes that the native init reads. Text, so that it costs one string and one write; the format is
 * told in docs/architecture.md and decoded by native/decode.c.
 */
import { OPS, type OpName, type Plan, type StepArg } from "../plan/step.ts";

const MAGIC = "tsrun1\0";
const OP_NUMBERS = Object.fromEntries(Object.keys(OPS).map((name, i) => [name, i])) as Record<OpName, number>;

export function encodePlan(plan: Plan): Uint8Array {
  const chunks: Uint8Array[] = [];
  let text = MAGIC;
  for (const { op, args } of plan.steps) {
    text += `${OP_NUMBERS[op]}\0`;
    for (const arg of args) {
      if (arg instanceof Uint8Array) {
        chunks.push(Buffer.from(`${text}${arg.length}\0`), arg);
        text = "";
      } else {
        text += encodeArg(arg);
      }
    }
  }
  if (chunks.length === 0) return Buffer.from(text);
  return Buffer.concat([...chunks, Buffer.from(text)]);
}

function encodeArg(arg: Exclude<StepArg, Uint8Array>): string {
  if (typeof arg !== "object") return `${arg}\0`;
  return arg.length === 0 ? "0\0" : `${arg.length}\0${arg.join("\0")}\0`;
}
