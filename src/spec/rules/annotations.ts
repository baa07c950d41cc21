/** annotations. Rules: OCI config.md "Annotations"; our own are in ../annotations.ts. */
import { ANNOTATION, readAnnotations } from "../annotations.ts";
import { contextTypeProblem, NOT_CARRIED_OUT } from "../crun.ts";
import { type MapShape, S } from "../structure.ts";
import { joinPath } from "../text.ts";
import type { RuleContext } from "./context.ts";

export const ANNOTATIONS: MapShape = { map: S.text };

const OURS: readonly string[] = Object.values(ANNOTATION);
const PREFIX = "org.tsrun.";

export function checkAnnotations({ spec, report, warn, suggest }: RuleContext): void {
  if (spec.annotations === undefined) return;
  for (const key of Object.keys(spec.annotations)) {
    if (key === "") report(joinPath("annotations", key), "the name is empty");
    // An unknown annotation must not be an error; one of ours that we do not know is probably a slip.
    if (key.startsWith("run.oci.") && NOT_CARRIED_OUT.includes(key))
      warn(joinPath("annotations", key), "is crun's, and not carried out");
    if (!key.startsWith(PREFIX) || OURS.includes(key)) continue;
    warn(joinPath("annotations", key), `is not known${suggest(key, OURS)}`);
  }
  const contextType = contextTypeProblem(spec.annotations);
  if (contextType !== undefined) report(contextType.path, contextType.message);
  readAnnotations(spec.annotations, (problem) => report(problem.path, problem.message));
}
