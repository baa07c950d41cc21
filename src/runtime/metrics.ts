/** The figures of all containers of a root at once, as text for Prometheus. */

import { statsOf } from "./container-watch.ts";
import { containerState, listContainers } from "./list.ts";
import { type Measured, metricsText } from "./openmetrics.ts";
import { stateRoot } from "./paths.ts";
import { MissingError, StateDirectory } from "./state.ts";

/**
 * OpenMetrics text of one container or, without an id, of all of a root; of one that does not run its status alone.
 *
 * @throws StateError when there is no container of this id
 */
export function containerMetrics(root: string | undefined, id?: string): string {
  const states = id === undefined ? listContainers(root) : [containerState(root, id)];
  return metricsText(states.map((state) => ({ state, stats: measure(root, state) })));
}

function measure(root: string | undefined, { id, status }: Measured["state"]): Measured["stats"] {
  if (status === "stopped" || status === "creating") return undefined;
  try {
    const record = new StateDirectory(stateRoot(root), id).read();
    return record.cgroup === undefined || Object.keys(record.cgroup.paths).length === 0 ? undefined : statsOf(record);
  } catch (error) {
    // Deleted meanwhile.
    if (error instanceof MissingError) return undefined;
    throw error;
  }
}
