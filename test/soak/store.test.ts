/** The store, killed at random moments as often as it takes to meet most of them. */
import { killStoreCommands } from "../helpers/killed-store.ts";
import { needs } from "../helpers/needs.ts";

needs({ root: true, tsrun: true, native: true })(
  "killed 200 times during import, commit, gc and remove, the store is whole and has lost nothing",
  () => killStoreCommands(200),
  600_000,
);
