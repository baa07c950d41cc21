/** Runs a helper program of the host, such as newuidmap(1), and waits for it. */
import { TsrunError } from "../errors.ts";
import { warn } from "../log.ts";
import { Fd, memfdCreate, readText, seek } from "./file.ts";
import { findProgram } from "./fs.ts";
import { waitid } from "./process.ts";
import { posixSpawn } from "./spawn.ts";

/**
 * @param debianPackage where to get the program
 * @throws TsrunError when it is missing or ends with another code than 0, with what it said; else that is warned of
 */
export function runHelper(name: string, args: readonly string[], debianPackage: string): void {
  const path = findProgram(name);
  if (path === undefined) throw new TsrunError(`${name} is not installed`, { fix: `apt-get install ${debianPackage}` });
  // A file and no pipe: what stays in the background may keep it.
  using said = new Fd(memfdCreate("stderr"));
  const fds = [{ from: said.fd, to: 2 }];
  const { exitCode } = waitid({ pid: posixSpawn({ path, argv: [name, ...args], envp: [], fds }) });
  seek(said.fd, 0);
  const text = readText(said.fd).trim();
  if (exitCode === 0) {
    if (text !== "") warn(`${name}: ${text}`);
    return;
  }
  const why = text === "" ? `ended with exit code ${exitCode}` : text.replace(`${name}: `, "");
  throw new TsrunError(`${name} ${args.join(" ")}: ${why}`);
}
