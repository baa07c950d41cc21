/**
 * The unit of a container at systemd's: started with the process that becomes the container, told of new limits,
 * stopped in the end. Rules: org.freedesktop.systemd1(5); systemd.scope(5).
 */
import { TsrunError } from "../../errors.ts";
import { randomBytes } from "../../sys/random.ts";
import { sleepMs } from "../../sys/wait.ts";
import { groupProcesses } from "../files.ts";
import type { Journal } from "../journal.ts";
import { BusError, type BusKind, SystemdBus } from "./bus.ts";
import { boolean, text, type UnitProperty } from "./properties.ts";
import type { SystemdRequest } from "./request.ts";

const UNIT_INTERFACE = "org.freedesktop.systemd1.Unit";
const SCOPE_INTERFACE = "org.freedesktop.systemd1.Scope";
const SLICE_INTERFACE = "org.freedesktop.systemd1.Slice";
const NO_SUCH_UNIT = ["org.freedesktop.systemd1.NoSuchUnit", "org.freedesktop.systemd1.LoadFailed"];
/** The end of an earlier container of this name may not have come to systemd's ears yet. */
const RETRY_MS = 1500;
const RETRY_STEP_MS = 25;

/** How a unit is found again, and told from another one of its name. */
export interface UnitRecord {
  unit: string;
  bus: BusKind;
  /** Stands in the unit's description. */
  token: string;
  /** How many processes the machine had killed for want of memory when there was none of the unit's, see pastKills. */
  oomKillsBefore?: number;
}

export function newUnit({ unit, bus }: SystemdRequest): UnitRecord {
  const token = [...randomBytes(8)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return { unit, bus, token };
}

export interface StartRequest {
  id: string;
  record: UnitRecord;
  request: SystemdRequest;
  /** The process that the unit begins with. */
  pid: number;
  /** Given systemd's release: the limits, and the device rules. */
  limits: (release: number) => readonly UnitProperty[];
  needsRelease: boolean;
  isV2: boolean;
  /** The unit's cgroup, to tell one that is in use from one that has ended. */
  directory: string;
}

/**
 * Starts the unit, and waits until the process is in its cgroup. As with cgroups of our own, one of that name that has
 * processes is joined.
 *
 * @returns how many processes were there before
 * @throws TsrunError with systemd's reason
 */
export function startUnit(start: StartRequest): number {
  using bus = SystemdBus.connect(start.record.bus, process.env);
  const release = start.needsRelease ? releaseOf(bus) : 0;
  const properties = [...unitProperties(start), ...start.limits(release), ...start.request.properties];
  const job = startTransient(bus, start, properties);
  if (job === undefined) return joinUnit(bus, start);
  const result = bus.jobResult(job);
  if (result === "done") return 0;
  throw new TsrunError(`systemd could not start ${start.record.unit}: ${result}`, {
    fix: `${start.record.bus === "user" ? "journalctl --user" : "journalctl"} -u ${start.record.unit} says why`,
  });
}

function unitProperties({ id, record, request, pid, isV2 }: StartRequest): UnitProperty[] {
  const properties: UnitProperty[] = [
    ["Description", text(`tsrun container ${id} (${record.token})`)],
    ["DefaultDependencies", boolean(false)],
    ["CPUAccounting", boolean(true)],
    ["MemoryAccounting", boolean(true)],
    [isV2 ? "IOAccounting" : "BlockIOAccounting", boolean(true)],
    ["TasksAccounting", boolean(true)],
    // A unit that has failed, for a process that was killed, goes as one that has not: its name is free again.
    ["CollectMode", text("inactive-or-failed")],
  ];
  if (isSlice(record)) {
    properties.push(["Wants", { signature: "as", value: parents(request) }]);
    return properties;
  }
  properties.push(
    ["Slice", text(request.slice)],
    ["Delegate", boolean(true)],
    ["PIDs", { signature: "au", value: [pid] }],
  );
  return properties;
}

/** A slice has no processes of its own in systemd's eyes: the runtime puts them there. */
export function isSlice({ unit }: Pick<UnitRecord, "unit">): boolean {
  return unit.endsWith(".slice");
}

function parents({ names }: SystemdRequest): string[] {
  const above = names[names.length - 2];
  return above?.endsWith(".slice") ? [above] : [];
}

/** @returns the job; undefined when there is one of this name with processes */
function startTransient(bus: SystemdBus, start: StartRequest, properties: readonly UnitProperty[]): string | undefined {
  const { unit } = start.record;
  for (let waited = 0; ; waited += RETRY_STEP_MS) {
    try {
      const [job] = bus.call("StartTransientUnit", "ssa(sv)a(sa(sv))", [unit, "replace", properties, []]);
      return String(job);
    } catch (error) {
      if (!(error instanceof BusError) || error.errorName !== "org.freedesktop.systemd1.UnitExists") throw error;
      if (groupProcesses(start.directory).length > 0) return undefined;
      if (isSlice(start.record)) return undefined;
      if (waited >= RETRY_MS) {
        throw new TsrunError(`unit ${unit} exists already`, {
          cause: error,
          fix: `choose another linux.cgroupsPath, or stop it: systemctl stop ${unit}`,
        });
      }
      resetFailed(bus, unit);
      sleepMs(RETRY_STEP_MS);
    }
  }
}

function joinUnit(bus: SystemdBus, { record, pid, directory }: StartRequest): number {
  const { length } = groupProcesses(directory);
  // A slice takes no processes by way of systemd; the caller writes them in.
  if (!isSlice(record)) bus.call("AttachProcessesToUnit", "ssau", [record.unit, "", [pid]]);
  return length;
}

/** "252.39-1~deb12u1" is 252; what cannot be read is taken for an old one. */
function releaseOf(bus: SystemdBus): number {
  return Number(/\d+/.exec(String(bus.managerProperty("Version")))?.[0] ?? 0);
}

/**
 * Tells systemd of other limits, which are in the files already.
 *
 * @param journal is told of those it had
 * @throws TsrunError with systemd's reason
 */
export function setUnitLimits(
  record: UnitRecord,
  limits: (release: number) => readonly UnitProperty[],
  needsRelease: boolean,
  journal?: Journal,
): void {
  using bus = SystemdBus.connect(record.bus, process.env);
  const properties = limits(needsRelease ? releaseOf(bus) : 0);
  if (properties.length === 0) return;
  if (journal !== undefined) {
    const former = formerProperties(bus, record, properties);
    // Before the call: of one that is not answered nobody knows what has become.
    journal.add({ name: `the limits of ${record.unit}`, setBack: () => setBackUnit(record, former) });
  }
  setProperties(bus, record, properties);
}

function setProperties(bus: SystemdBus, { unit }: UnitRecord, properties: readonly UnitProperty[]): void {
  // For as long as the unit lives: there is no file of it that could outlast it.
  bus.call("SetUnitProperties", "sba(sv)", [unit, true, properties]);
  // Systemd answers first and writes the files then: when it answers the next call, it has written them.
  releaseOf(bus);
}

function formerProperties(bus: SystemdBus, record: UnitRecord, properties: readonly UnitProperty[]): UnitProperty[] {
  const [path] = bus.call("GetUnit", "s", [record.unit]);
  const kind = isSlice(record) ? SLICE_INTERFACE : SCOPE_INTERFACE;
  return properties.map(([name, { signature }]) => [
    name,
    { signature, value: bus.property(String(path), kind, name) },
  ]);
}

function setBackUnit(record: UnitRecord, former: readonly UnitProperty[]): void {
  using bus = SystemdBus.connect(record.bus, process.env);
  setProperties(bus, record, former);
}

/**
 * Stops the unit. One that is gone is fine, and one of the same name that is another's is left alone.
 *
 * @param empty ends what is in it, once it is known to be this container's
 * @throws what `empty` does; TsrunError when systemd is away, or does not manage to stop it
 */
export function stopUnit(record: UnitRecord, empty: () => void): "stopped" | "gone" | "other" {
  using bus = SystemdBus.connect(record.bus, process.env);
  try {
    const [path] = bus.call("GetUnit", "s", [record.unit]);
    const description = bus.property(String(path), UNIT_INTERFACE, "Description");
    if (!String(description).endsWith(`(${record.token})`)) return "other";
    empty();
    const [job] = bus.call("StopUnit", "ss", [record.unit, "replace"]);
    const result = bus.jobResult(String(job));
    if (result !== "done" && result !== "canceled") {
      throw new TsrunError(`systemd could not stop ${record.unit}: ${result}`, {
        fix: `systemctl status ${record.unit} says what is left in it`,
      });
    }
  } catch (error) {
    if (!(error instanceof BusError) || !isGone(error)) throw error;
    return "gone";
  }
  resetFailed(bus, record.unit);
  return "stopped";
}

/** Between two calls its last process may have ended, and the unit with it. */
function isGone({ errorName }: BusError): boolean {
  return NO_SUCH_UNIT.includes(errorName) || errorName === "org.freedesktop.DBus.Error.UnknownObject";
}

function resetFailed(bus: SystemdBus, unit: string): void {
  try {
    bus.call("ResetFailedUnit", "s", [unit]);
  } catch (error) {
    if (!(error instanceof BusError)) throw error;
    // It is gone, or has not failed.
  }
}
