/** Runs the command of `try` in a container whose root is the view, and does with the changes what was decided. */
import { StateError } from "../errors.ts";
import { hostFacts } from "../host.ts";
import { dirname } from "../path.ts";
import { trySpec } from "../spec/try.ts";
import { storeContext } from "../storage/context.ts";
import { ensureStore, lockStore } from "../storage/store-lock.ts";
import { mountTrial, openTrial, sweepTrials } from "../storage/trial.ts";
import { writeFileSync } from "../sys/fs.ts";
import { deleteContainer } from "./delete.ts";
import { newId } from "./id.ts";
import { killContainer } from "./kill.ts";
import { mountTable } from "./mount-table.ts";
import { stateRoot } from "./paths.ts";
import { runContainer } from "./run.ts";
import type { TryOptions, TryResult } from "./try.ts";

export async function runTrial(options: TryOptions): Promise<TryResult> {
  const { storageRoot, keep, args, base = "/" } = options;
  if (process.geteuid?.() !== 0) {
    const fix = "run it as root; for a bundle of one's own --overlay does the same";
    throw new StateError("a view of the running system is mounted by root only", { fix });
  }
  const id = newId();
  const name = keep ?? id;
  const context = storeContext(storageRoot, undefined);
  sweepKilled(storageRoot);
  const request = { name, base, isTemporary: keep === undefined, mustExist: args === undefined };
  using trial = openTrial(context, request);
  let isDone = false;
  try {
    const exitCode = args === undefined ? undefined : await runOver(id, name, trial.root, base, { ...options, args });
    const changes = trial.changes();
    const decision = (await options.decide?.(changes, exitCode)) ?? (keep === undefined ? "drop" : "keep");
    const applied = decision === "apply" ? trial.apply() : undefined;
    if (decision !== "keep") trial.drop();
    isDone = true;
    return { exitCode, changes, applied };
  } finally {
    // Of a failure nothing is left, unless it had a name.
    if (!isDone && keep === undefined) trial.drop();
  }
}

async function runOver(
  id: string,
  name: string,
  root: string,
  base: string,
  options: TryOptions & { args: readonly string[] },
): Promise<number> {
  const mounts = base === "/" ? systemMounts(options.storageRoot) : [];
  const stateDir = `${stateRoot(options.root)}/${id}`;
  using view = mountTrial(options.storageRoot, { name, base, stateDir });
  const spec = trySpec({
    root,
    args: options.args,
    env: options.env ?? [],
    cwd: options.cwd ?? "/",
    mounts,
    lastCap: hostFacts("v2").lastCap,
  });
  writeFileSync(`${view.bundle}/config.json`, JSON.stringify(spec), { mode: 0o600 });
  const stop = (_name: NodeJS.Signals, signal: number) => killQuietly(options.root, id, signal);
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, stop);
  try {
    const { exitCode = 1 } = await runContainer({ bundle: view.bundle, id, root: options.root, rootless: "auto" });
    return exitCode;
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}

/** A trial whose tsrun was killed has nobody who would ask for its changes: its command is ended, and its view goes. */
function sweepKilled(storageRoot: string): void {
  ensureStore(storageRoot);
  using _store = lockStore(storageRoot);
  sweepTrials(storageRoot, (stateDir) => {
    deleteContainer(dirname(stateDir), stateDir.slice(stateDir.lastIndexOf("/") + 1), { force: true });
  });
}

function killQuietly(root: string | undefined, id: string, signal: number): void {
  try {
    killContainer(root, id, signal);
  } catch {
    // It has ended by now.
  }
}

/** What is mounted beside /, but for the view itself. */
function systemMounts(storageRoot: string): { point: string; type: string }[] {
  return mountTable().filter(({ point }) => point !== "/" && !point.startsWith(`${storageRoot}/try/`));
}
