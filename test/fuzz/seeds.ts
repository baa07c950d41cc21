/** What a fuzzer begins with: `seeds.ts plan|init DIRECTORY` writes a plan of every op, and one of each. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { everyOp, type HandStep, wire } from "../helpers/native.ts";

const MAGIC_BYTES = "tsrun1\0".length;
const [harness = "plan", directory = "."] = process.argv.slice(2);

mkdirSync(directory, { recursive: true });
const ops = everyOp();
write("all", ops);
for (const step of ops) write(step[0], [step]);

function write(name: string, steps: readonly HandStep[]): void {
  writeFileSync(join(directory, name), harness === "init" ? withAnswers(wire(steps)) : wire(steps));
}

/** As init.c reads it: the length of the plan, the plan without its magic, and what the kernel answers. */
function withAnswers(plan: Uint8Array): Uint8Array {
  const steps = plan.subarray(MAGIC_BYTES);
  const answers = Uint8Array.from({ length: 256 }, (_, i) => (i * 37 + 1) & 255);
  return Buffer.concat([Uint8Array.of(steps.length & 255, steps.length >> 8), steps, answers]);
}
