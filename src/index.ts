/** tsrun as a library: everything that the command line can do. */
export type { CgroupStats } from "./cgroup/stats.ts";
export { type Problem, SpecError, StateError, StepError, SyscallError, TsrunError } from "./errors.ts";
export { StdioPipes } from "./io/stdio.ts";
export type { Plan, Step } from "./plan/step.ts";
export { checkpointContainer, restoreContainer, restoreInForeground } from "./runtime/checkpoint.ts";
export { createContainer } from "./runtime/create.ts";
export { deleteContainer } from "./runtime/delete.ts";
export { type Check, type Diagnosis, examineHost } from "./runtime/doctor.ts";
export {
  type ContainerEvent,
  containerEvents,
  containerStats,
  type EventOptions,
  type EventType,
  watchContainer,
} from "./runtime/events.ts";
export { execInForeground, execProcess } from "./runtime/exec.ts";
export { fastExit } from "./runtime/exit.ts";
export { runtimeFeatures } from "./runtime/features.ts";
export { type ImageBundle, type ImageBundleOptions, imageBundle } from "./runtime/image.ts";
export { type RuntimeInfo, runtimeInfo } from "./runtime/info.ts";
export { killContainer, SIGNALS, signalNumber } from "./runtime/kill.ts";
export { containerProcesses, containerState, listContainers } from "./runtime/list.ts";
export { addMounts, readMounts, removeMounts } from "./runtime/live-mounts.ts";
export { containerMetrics } from "./runtime/metrics.ts";
export { newSpec } from "./runtime/new-spec.ts";
export type {
  CheckpointOptions,
  ContainerExit,
  ContainerState,
  ContainerStatus,
  ContainerSummary,
  CreateOptions,
  DeleteOptions,
  ExecOptions,
  ExecResult,
  KillOptions,
  NotifyOption,
  PlanOptions,
  RestoreOptions,
  RunOptions,
  RunResult,
  SpecOptions,
} from "./runtime/options.ts";
export { runWithOwnIds } from "./runtime/own-ids.ts";
export { stateRoot, storageRoot } from "./runtime/paths.ts";
export { pauseContainer, resumeContainer } from "./runtime/pause.ts";
export { type ContainerPlan, describeContainerPlan as describePlan, planContainer } from "./runtime/plan.ts";
export { hostProcessTable } from "./runtime/ps.ts";
export { runContainer, runInForeground } from "./runtime/run.ts";
export { startContainer } from "./runtime/start.ts";
export { MissingError } from "./runtime/state.ts";
export { type TryOptions, type TryResult, tryCommand } from "./runtime/try.ts";
export { keepOwnerRights } from "./runtime/umask.ts";
export { readResources, updateContainer } from "./runtime/update.ts";
export { COMMIT, SPEC_VERSION, VERSION } from "./runtime/version.ts";
export { type DefaultSpecOptions, defaultSpec } from "./spec/defaults.ts";
export type * from "./spec/types.ts";
export type {
  ChangedPath,
  CheckOptions,
  Collected,
  CommitOptions,
  Fault,
  HistoryEntry,
  IdMap,
  ImageConfig,
  ImageRow,
  ImportedImage,
  ImportOptions,
  LayerRow,
  OriginRow,
  Platform,
  Progress,
  RemovedImage,
  RwLayerRow,
  SaveOptions,
  StoreUsage,
} from "./storage/layer-store.ts";
export { LayerStore, type LayerStoreOptions } from "./storage/layer-store.ts";
