/**
 * The terminal: a pty from the container's own devpts, /dev/console, and the controlling terminal.
 * Rules: OCI config.md process.terminal, consoleSize; pty(7), ioctl_tty(2).
 */
import type { ContainerSpec } from "../spec/container.ts";
import type { Box } from "../spec/types.ts";
import type { PlanBuilder } from "./builder.ts";

/** Before the change of root: the pty, bound on /dev/console. It becomes standard input, output and error at once. */
export function planConsole(b: PlanBuilder, container: ContainerSpec, root: number): void {
  const process = container.spec.process;
  const slave = planPty(b, root, process.consoleSize);
  b.add("process.terminal", "console", slave, root);
  b.add("process.terminal", "controllingTerminal", slave);
}

/** A pty whose master goes to the runtime. @returns the slave's descriptor */
export function planPty(b: PlanBuilder, root: number, size: Box | undefined): number {
  const slave = b.newFd();
  b.add("process.terminal", "pty", slave, root);
  if (size) b.add("process.consoleSize", "winsize", slave, size.height, size.width);
  return slave;
}

/** The terminal belongs to the user of the process. */
export function planTerminal(b: PlanBuilder, uid: number): void {
  b.add("process.user", "fchown", 0, uid, -1);
}
