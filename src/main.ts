/** What Bun compiles to dist/tsrun. */
import { main } from "./cli/cli.ts";
import { fastExit, keepOwnerRights } from "./index.ts";

keepOwnerRights();
const result = main(process.argv.slice(2));
if (typeof result === "number") fastExit(result);
else void result.then(fastExit);
