/**
 * `mounts add` and `mounts remove`: mounts of a container that runs, as crun has them. Its config.json stays as it is.
 * Flags that a bind mount has from its source are not locked, as those of a new container's are: root of the container's
 * user namespace, where it has CAP_SYS_ADMIN, can clear them.
 */
import { inFull, SpecError, StateError, StepError } from "../errors.ts";
import { CLONE_NEWNS } from "../linux.ts";
import { warn } from "../log.ts";
import { aboutMount, type LivePlanRequest, planAddMounts, planRemoveMounts } from "../plan/live-mounts.ts";
import type { Plan } from "../plan/step.ts";
import { loadList } from "../spec/load.ts";
import { resolveMount } from "../spec/resolve.ts";
import type { Mount } from "../spec/types.ts";
import { inspectDestinations, inspectMounts } from "../spec/validate.ts";
import { closeQuiet } from "../sys/file.ts";
import { carryOut } from "./carry-out.ts";
import { openIdmapped } from "./idmapped.ts";
import { statusOf } from "./lifecycle.ts";
import { foreignNamespaces } from "./namespaces.ts";
import { stateRoot } from "./paths.ts";
import { openRecorded } from "./recorded.ts";
import { sourceLinks } from "./source-links.ts";
import { readConfig, StateDirectory, type StateRecord } from "./state.ts";

/**
 * All of them or, when one fails, none. Sources that are relative are the bundle's, as in config.json.
 *
 * @throws SpecError for what config.json may not have either; StateError when it does not run; StepError
 */
export function addMounts(root: string | undefined, id: string, asked: readonly Mount[]): void {
  const state = new StateDirectory(stateRoot(root), id);
  using _lock = state.lock();
  const record = runningRecord(state);
  const { linux = {}, annotations } = readConfig(state);
  const { problems, warnings, mounts } = inspectMounts(asked, linux);
  if (problems.length > 0) throw new SpecError(problems, { of: "the list of mounts" });
  for (const { path, message } of warnings) warn(`${path}: ${message}`);
  const resolved = mounts.map((mount) => resolveMount(mount, record.bundle));
  const spec = { mounts: resolved, linux };
  const fds = new Map<string, number>();
  using _fds = { [Symbol.dispose]: () => fds.forEach(closeQuiet) };
  openIdmapped(spec, fds);
  const place = placeOf(record);
  const plan = planAddMounts({ ...place, mounts: resolved, linux, annotations, sourceLinks: sourceLinks(spec) });
  try {
    inContainer(record, plan, fds);
  } catch (error) {
    if (error instanceof StepError) takeBack(record, place, attached(plan, error.step, resolved));
    throw error;
  }
}

/** What lies at the destinations, each time the last that was mounted there. @throws as addMounts */
export function removeMounts(root: string | undefined, id: string, asked: readonly Mount[]): void {
  const { problems, mounts } = inspectDestinations(asked);
  if (problems.length > 0) throw new SpecError(problems, { of: "the list of mounts" });
  const state = new StateDirectory(stateRoot(root), id);
  using _lock = state.lock();
  const record = runningRecord(state);
  inContainer(record, planRemoveMounts({ ...placeOf(record), mounts }), new Map());
}

/** Reads the list of mounts as it is in config.json. @param file a path, or "-" for standard input @throws SpecError */
export function readMounts(file: string): Mount[] {
  return loadList(file) as Mount[];
}

function runningRecord(state: StateDirectory): StateRecord {
  const record = state.read();
  const status = statusOf(record);
  if (status === "stopped" || status === "creating") {
    throw new StateError(`cannot change the mounts of a container that is ${status}`);
  }
  return record;
}

/** @throws StateError */
function placeOf(record: StateRecord): Pick<LivePlanRequest, "namespaces" | "setupIds" | "setgroups"> {
  const { setupIds, setgroups } = record;
  const namespaces = foreignNamespaces(record.pid, record.namespaces);
  if ((namespaces & CLONE_NEWNS) === 0) {
    throw new StateError("the container has no mount namespace of its own: what is mounted for it is mounted here");
  }
  return { namespaces, setupIds, setgroups };
}

function inContainer(record: StateRecord, plan: Plan, fds: ReadonlyMap<string, number>): void {
  // Its process may have ended since its status was looked at, and its pid be that of one of the host.
  using container = openRecorded(record);
  if (container === undefined) throw new StateError("the container has ended meanwhile");
  carryOut(plan, new Map([...fds, ["container", container.fd]]));
}

/** Those that were in their place when a step failed. */
function attached(plan: Plan, failed: number, mounts: readonly Mount[]): Mount[] {
  const done = new Set(plan.steps.slice(0, failed).flatMap(({ op, about }) => (ATTACHES.includes(op) ? [about] : [])));
  return mounts.filter((mount, i) => done.has(aboutMount(mount, i)));
}

const ATTACHES: readonly string[] = ["attach", "mount"];

/** The error that led here is the one to report. */
function takeBack(record: StateRecord, place: ReturnType<typeof placeOf>, mounts: readonly Mount[]): void {
  if (mounts.length === 0) return;
  try {
    inContainer(record, planRemoveMounts({ ...place, mounts }), new Map());
  } catch (error) {
    warn(`mounts that were made before: ${inFull(error)}`);
  }
}
