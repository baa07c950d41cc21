/** `run --image` and `bundle`: an image of the store as a bundle. */
import { isatty } from "node:tty";
import { imageBundle, runInForeground, runWithOwnIds, storageRoot } from "../../index.ts";
import type { AnyValues, Globals } from "../flags.ts";
import { absolute } from "../globals.ts";
import { createOptions } from "../options.ts";
import { writeOut } from "../output.ts";
import { UsageError } from "../parse.ts";

interface RunCall {
  values: AnyValues;
  args: string[];
  globals: Globals;
}

/** Runs an image; the arguments are the command. */
export async function runImage({ values, args, globals }: RunCall): Promise<number> {
  if (values.bundle || values.config || values.layer || values.overlay) {
    throw new UsageError("--image makes its own bundle", {
      fix: "leave out --bundle, --config, --layer and --overlay",
    });
  }
  const isDetached = values.detach === true;
  // A terminal of its own, where there is one to connect it to.
  const terminal = Boolean(values["console-socket"]) || (!isDetached && isatty(0) && isatty(1));
  const store = values.store ? absolute(values.store as string) : storageRoot();
  using made = await imageBundle({ image: values.image as string, args, terminal, storageRoot: store });
  const target = { bundle: made.bundle, id: (values.id as string | undefined) || undefined };
  const result = runInForeground({
    ...createOptions(values as never, globals, target),
    noSubreaper: values["no-subreaper"] === true,
    keep: values.keep === true,
    detach: isDetached,
  });
  if (isDetached && target.id === undefined) writeOut(`${result.id}\n`);
  return result.exitCode ?? 0;
}

export async function writeBundle(
  args: readonly string[],
  values: { store?: string; terminal?: boolean },
): Promise<number> {
  const code = runWithOwnIds();
  if (code !== undefined) return code;
  const [image = "", directory = "", ...command] = args;
  await imageBundle({
    image,
    args: command,
    terminal: values.terminal === true,
    directory: absolute(directory),
    storageRoot: values.store ? absolute(values.store) : storageRoot(),
  });
  return 0;
}
