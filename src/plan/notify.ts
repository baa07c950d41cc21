/**
 * Where the container says that it is ready: the directory of its socket, and NOTIFY_SOCKET in its environment.
 * Rules: sd_notify(3); places as runc has them.
 */
import {
  AT_EMPTY_PATH,
  AT_FDCWD,
  MOUNT_ATTR_NODEV,
  MOUNT_ATTR_NOEXEC,
  MOUNT_ATTR_NOSUID,
  MOUNT_ATTR_RDONLY,
} from "../linux.ts";
import type { ContainerSpec } from "../spec/container.ts";
import type { PlanBuilder } from "./builder.ts";
import { targetOf } from "./mounts.ts";

const ABOUT = "NOTIFY_SOCKET";
const DIRECTORY = "/run/notify";
export const NOTIFY_VARIABLE = `NOTIFY_SOCKET=${DIRECTORY}/notify.sock`;

/** A socket can be sent to on a mount that is read-only. */
export const NOTIFY_ATTRIBUTES = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

/**
 * A directory and no socket: that is bound anew by `start`. The state is root's alone, so the root of a user namespace
 * cannot reach it: who may mounts it on the host's side (descriptor "notify").
 *
 * @param directory as the host sees it
 */
export function planNotify(b: PlanBuilder, { host }: ContainerSpec, directory: string, root: number): void {
  const tree = host.privileged ? b.inherit("notify") : b.newFd();
  if (!host.privileged) {
    b.add(ABOUT, "openTree", tree, AT_FDCWD, directory, 0);
    b.add(ABOUT, "mountSetattr", tree, "", AT_EMPTY_PATH, NOTIFY_ATTRIBUTES, 0, 0, -1);
  }
  const target = targetOf(b, ABOUT, root, DIRECTORY, "directory");
  b.add(ABOUT, "attach", tree, target);
  b.add(ABOUT, "close", target);
  b.add(ABOUT, "close", tree);
}
