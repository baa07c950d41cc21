/** What dist/tsrun is built from: the command line in the small engine (native/engine/host.c). */
import { main } from "./cli/cli.ts";
import { fastExit } from "./index.ts";
import { host } from "./sys/engine.ts";

host?.onStart((argv, pid) => {
  host?.startProcess(argv, pid);
  const result = main(argv.slice(1));
  if (typeof result === "number") fastExit(result);
  else void result.then(fastExit);
});
