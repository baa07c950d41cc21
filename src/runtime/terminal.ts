/** The terminal that tsrun itself was started on. */
import type { Process } from "../spec/types.ts";
import { terminalSize } from "../sys/process.ts";

/**
 * Gives the process the size of our terminal, unless it asks for one. For the foreground: nobody else sets it before
 * the process may look.
 */
export function inheritTerminalSize(process: Process): void {
  if (!process.terminal || process.consoleSize) return;
  const size = terminalSize(0);
  if (size && size.rows > 0 && size.columns > 0) process.consoleSize = { height: size.rows, width: size.columns };
}
