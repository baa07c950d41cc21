/** Runs a helper program of the host, such as newuidmap(1), and waits for it. */
import { TsrunError } from "../errors.ts";
import { findProgram } from "./fs.ts";
import { waitid } from "./process.ts";
import { posixSpawn } from "./spawn.ts";

/**
 * @param debianPackage where to get the program
 * @throws TsrunError when it is missing or ends with another code than 0; what it says goes to our standard error
 */
export function runHelper(name: string, args: readonly string[], debianPackage: string): void {
  const path = findProgram(name);
  if (path === undefined) throw new TsrunError(`${name} is not installed`, { fix: `apt-get install ${debianPackage}` });
  const { exitCode } = waitid({ pid: posixSpawn({ path, argv: [name, ...args], envp: [] }) });
  if (exitCode !== 0) throw new TsrunError(`${name} ${args.join(" ")} ended with exit code ${exitCode}`);
}
