/** `--regex` of kill and delete, as in crun: the same for every container whose id the expression matches. */
import { listContainers } from "../index.ts";
import { UsageError } from "./parse.ts";
import { printError } from "./report.ts";

/** Goes on after a failure, so that one stuck container does not keep the rest; returns the exit code. */
export function forEachMatch(root: string, expression: string, action: (id: string) => void): number {
  const pattern = compile(expression);
  let code = 0;
  let failure: unknown;
  for (const { id } of listContainers(root)) {
    if (!pattern.test(id)) continue;
    try {
      action(id);
    } catch (error) {
      // The last failure is thrown, and logged as the one of this command.
      if (failure !== undefined) printError(failure);
      failure = error;
      code = 1;
    }
  }
  if (failure !== undefined) throw failure;
  return code;
}

function compile(expression: string): RegExp {
  try {
    return new RegExp(expression);
  } catch {
    throw new UsageError(`invalid regular expression ${JSON.stringify(expression)}`);
  }
}
