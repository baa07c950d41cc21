/** The terminal of a process, and the one that tsrun itself was started on. */
import { TsrunError } from "../errors.ts";
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

/**
 * Somebody must have the other end of a terminal: in the foreground the monitor, else who listens at the console socket.
 * The words are those of runc.
 *
 * @throws TsrunError
 */
export function checkTerminal(
  { terminal = false }: Process,
  { consoleSocket, foreground = false }: { consoleSocket?: string | undefined; foreground?: boolean | undefined },
): void {
  if (terminal && !foreground && !consoleSocket) {
    throw new TsrunError("cannot allocate tty if tsrun will detach without setting console socket", {
      fix: "--console-socket PATH, or process.terminal false",
    });
  }
  if (consoleSocket && (foreground || !terminal)) {
    throw new TsrunError("cannot use console socket if tsrun will not detach or allocate tty", {
      fix: "leave --console-socket out, or set process.terminal",
    });
  }
}
