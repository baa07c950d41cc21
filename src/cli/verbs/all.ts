/** Every verb; the ones that engines call most come first, because they are looked for in this order. */
import type { Verb } from "../flags.ts";
import { bundle } from "./bundle.ts";
import { checkpoint } from "./checkpoint.ts";
import { completionVerb } from "./completion.ts";
import { create } from "./create.ts";
import { deleteVerb } from "./delete.ts";
import { doctor } from "./doctor.ts";
import { events } from "./events.ts";
import { exec } from "./exec.ts";
import { features } from "./features.ts";
import { info } from "./info.ts";
import { kill } from "./kill.ts";
import { list } from "./list.ts";
import { mounts } from "./mounts.ts";
import { pause, resume } from "./pause.ts";
import { plan } from "./plan.ts";
import { ps } from "./ps.ts";
import { restore } from "./restore.ts";
import { run } from "./run.ts";
import { spec } from "./spec.ts";
import { start } from "./start.ts";
import { state } from "./state.ts";
import { container, image, layer } from "./store.ts";
import { tryVerb } from "./try.ts";
import { update } from "./update.ts";

export const VERBS: readonly Verb[] = [
  create,
  start,
  state,
  kill,
  deleteVerb,
  exec,
  run,
  list,
  ps,
  pause,
  resume,
  update,
  mounts,
  events,
  checkpoint,
  restore,
  features,
  info,
  doctor,
  completionVerb(() => VERBS),
  spec,
  plan,
  image,
  layer,
  container,
  bundle,
  tryVerb,
];
