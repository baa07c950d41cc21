/** Every verb of the second level, for what lists them; each is loaded by its own group when it is called. */
import type { Verb } from "../flags.ts";
import { CONTAINER_VERBS } from "./container.ts";
import { IMAGE_VERBS } from "./image.ts";
import { LAYER_VERBS } from "./layer.ts";

export const SUBVERBS: readonly Verb[] = [...IMAGE_VERBS, ...LAYER_VERBS, ...CONTAINER_VERBS];
