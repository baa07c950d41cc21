/**
 * A plan as the bytes that the native init reads. Text, so that it costs one string and one write; the format is
 * told in docs/init.md and decoded by native/decode.c.
 */
import { OPS, type Plan } from "../plan/step.ts";
import { utf8Bytes } from "../sys/call.ts";

const MAGIC = "tsrun1\0";
const OP_NUMBERS: Partial<Record<string, number>> = {};
let opCount = 0;
for (const name in OPS) OP_NUMBERS[name] = opCount++;

export function encodePlan(plan: Plan): Uint8Array {
  const chunks: Uint8Array[] = [];
  let text = MAGIC;
  for (const { op, args } of plan.steps) {
    text += `${OP_NUMBERS[op]}\0`;
    for (const arg of args) {
      if (typeof arg !== "object") {
        text += `${arg}\0`;
      } else if (arg instanceof Uint8Array) {
        chunks.push(utf8Bytes(`${text}${arg.length}\0`), arg);
        text = "";
      } else {
        text += arg.length === 0 ? "0\0" : `${arg.length}\0${arg.join("\0")}\0`;
      }
    }
  }
  const last = utf8Bytes(text);
  return chunks.length === 0 ? last : concat([...chunks, last]);
}

function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((length, chunk) => length + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}
