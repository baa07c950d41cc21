/** `doctor`: can containers be run here, and what would not work? */
import { probeHost } from "./doctor/probe.ts";
import { type Diagnosis, diagnose } from "./doctor/verdicts.ts";

export type { Check, Diagnosis } from "./doctor/verdicts.ts";

/**
 * Tries what containers need, and leaves nothing behind.
 *
 * @param root where states are to be; undefined: as for containers
 */
export function examineHost(root?: string): Diagnosis {
  return diagnose(probeHost(root));
}
