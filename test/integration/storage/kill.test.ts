/** A few kills at random moments; `npm run test:soak` has two hundred. */
import { killStoreCommands } from "../../helpers/killed-store.ts";
import { needs } from "../../helpers/needs.ts";

needs({ root: true, tsrun: true, native: true })(
  "killed 24 times during import, commit, gc and remove, the store is whole and has lost nothing",
  () => killStoreCommands(24),
  600_000,
);
