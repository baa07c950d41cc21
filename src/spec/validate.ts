/** Everything that is wrong with a config, at once, each problem with its JSON path. */
import type { Problem } from "../errors.ts";
import type { Spec } from "./types.ts";

export interface Inspection {
  problems: Problem[];
  warnings: Problem[];
  spec: Spec;
}

export function validate(value: unknown): Problem[] {
  return inspect(value).problems;
}

export function inspect(value: unknown, _options: { hasLayers?: boolean } = {}): Inspection {
  const spec = value as Spec;
  const problems: Problem[] = [];
  if (spec.process === undefined) problems.push({ path: "process", message: "is missing" });
  if (spec.root === undefined) problems.push({ path: "root", message: "is missing" });
  return { problems, warnings: [], spec };
}
