/** Progress of an import: a bar on a terminal, one line a layer elsewhere. On standard error: standard output is for results. */
import { isatty } from "node:tty";
import type { Progress } from "../../index.ts";
import { writeError } from "../output.ts";
import { bytesText } from "./table.ts";

const WIDTH = 24;

/** The most often that a bar is drawn. */
const INTERVAL_MS = 80;

export function progressPrinter(quiet: boolean): (progress: Progress) => void {
  if (quiet) return () => {};
  return isatty(2) ? bar() : lines();
}

function label({ layer, layers, digest }: Progress): string {
  return `${layer + 1}/${layers} ${digest.slice(7, 19)}`;
}

function lines(): (progress: Progress) => void {
  return (progress) => {
    if (progress.done < progress.total) return;
    const what = progress.isThere ? "is there already" : bytesText(progress.total);
    writeError(`layer ${label(progress)} ${what}\n`);
  };
}

function bar(): (progress: Progress) => void {
  let last = 0;
  return (progress) => {
    const { done, total, isThere } = progress;
    const isOver = done >= total;
    if (!isOver && Date.now() - last < INTERVAL_MS) return;
    last = Date.now();
    const filled = total === 0 ? WIDTH : Math.round((WIDTH * done) / total);
    const picture = isThere
      ? "is there already".padEnd(WIDTH + 2)
      : `[${"=".repeat(filled)}${" ".repeat(WIDTH - filled)}]`;
    writeError(`\r${label(progress)} ${picture} ${bytesText(done)}/${bytesText(total)}\u001b[K${isOver ? "\n" : ""}`);
  };
}
