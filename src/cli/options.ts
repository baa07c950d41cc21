/** From flags to the options of the library: what `create`, `run` and `plan` share. */
import type { CreateOptions, PlanOptions } from "../index.ts";
import type { CONTAINER_FLAGS, CREATE_FLAGS, Globals, Values } from "./flags.ts";
import { optionalPath } from "./globals.ts";
import type { Target } from "./target.ts";

type ContainerValues = Values<typeof CONTAINER_FLAGS>;
type CreateValues = ContainerValues & Values<typeof CREATE_FLAGS>;

function planOptions(values: ContainerValues, globals: Globals, target: Target): PlanOptions {
  return {
    root: globals.root,
    id: target.id,
    bundle: target.bundle,
    configFile: values.config || undefined,
    layers: values.layer,
    overlay: values.overlay,
    rwLayer: values["rw-layer"] || undefined,
    overlayOptions: values["overlay-option"],
    driver: values.driver || undefined,
    storageSize: values["storage-size"],
    storageRoot: optionalPath(values.store),
    network: values.network || undefined,
    noPivot: values["no-pivot"],
    noNewKeyring: values["no-new-keyring"],
    preserveFds: values["preserve-fds"],
    cgroupManager: globals.cgroupManager,
    rootless: globals.rootless,
    consoleSocket: optionalPath(values["console-socket"]),
  };
}

/** Who waits for us to be ready means the container. */
export function notifySocket(): string | undefined {
  return process.env.NOTIFY_SOCKET || undefined;
}

export function createOptions(values: CreateValues, globals: Globals, target: Target): CreateOptions {
  return {
    ...planOptions(values, globals, target),
    pidFile: optionalPath(values["pid-file"]),
    pidfdSocket: optionalPath(values["pidfd-socket"]),
    notifySocket: notifySocket(),
  };
}
