/**
 * The program that carries a container's network, for callers who may not make interfaces. It runs outside, enters the
 * container's network namespace, and is ended with the container. Rules: pasta(1), slirp4netns(1).
 */
import { TsrunError } from "../errors.ts";
import type { NetworkProgram } from "../spec/network.ts";
import { utf8Text } from "../sys/call.ts";
import { O_RDWR, POLLIN } from "../sys/constants.ts";
import { preadFull } from "../sys/entries.ts";
import { Fd, memfdCreate, open, read } from "../sys/file.ts";
import { findProgram, readFileSync, unlinkSync } from "../sys/fs.ts";
import { pollFd, waitid } from "../sys/process.ts";
import { pipe } from "../sys/socket.ts";
import { posixSpawn } from "../sys/spawn.ts";
import { type ProgramRecord, programRecord } from "./program-record.ts";

/** Interfaces are there in milliseconds; a machine without room takes longer. */
const TIMEOUT_MS = 20_000;
const MAX_LOG = 16 * 1024;
const PACKAGES: Readonly<Record<NetworkProgram, string>> = { pasta: "passt", slirp4netns: "slirp4netns" };

/** The name server that slirp4netns puts into a container's network. */
export const SLIRP_RESOLV_CONF = "nameserver 10.0.2.3\n";

/** @returns its path @throws TsrunError when it is not installed */
export function networkProgram(program: NetworkProgram): string {
  const path = findProgram(program);
  if (path !== undefined) return path;
  throw new TsrunError(`${program} is not installed`, { fix: `apt-get install ${PACKAGES[program]}` });
}

export interface NetworkRequest {
  program: NetworkProgram;
  /** In the namespaces; its ids are mapped. */
  pid: number;
  /** Where pasta may say which process it has become. It does not stay. */
  pidFile: string;
  /** It runs, and is to be remembered before anything else happens. */
  onStarted: (record: ProgramRecord) => void;
}

/** Returns when the interfaces are there. @throws TsrunError with what the program said */
export function startNetwork(request: NetworkRequest): void {
  using log = new Fd(memfdCreate("network"));
  try {
    if (request.program === "pasta") startPasta(request, log.fd);
    else startSlirp(request, log.fd);
  } catch (error) {
    if (!(error instanceof TsrunError)) throw error;
    const said = utf8Text(preadFull(log.fd, new Uint8Array(MAX_LOG), 0)).trim();
    const cause = said === "" ? error : new TsrunError(said.replaceAll(/\s*\n\s*/g, "; "), { cause: error });
    const fix = "may this user open /dev/net/tun? tsrun doctor says what is missing";
    throw new TsrunError(`network by ${request.program}`, { cause, fix });
  }
}

/** Stays in the foreground, as a child, and writes to a descriptor when it is ready. */
function startSlirp({ program, pid, onStarted }: NetworkRequest, log: number): void {
  const [ready, readyEnd] = pipe();
  using _ready = new Fd(ready);
  let child: number;
  {
    using end = new Fd(readyEnd);
    const options = ["--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"];
    child = spawn(program, [...options, "--ready-fd=3", String(pid), "tap0"], log, [{ from: end.fd, to: 3 }]);
  }
  onStarted(programRecord(program, child));
  if (pollFd(ready, POLLIN, TIMEOUT_MS) === 0) throw new TsrunError("it does not become ready");
  if (read(ready, new Uint8Array(1)) === 1) return;
  throw new TsrunError(`it ended with exit code ${waitid({ pid: child }).exitCode}`);
}

/** Ends as soon as it is ready; a process that it has made goes on, and its file says which. */
function startPasta({ program, pid, pidFile, onStarted }: NetworkRequest, log: number): void {
  const noPorts = ["-t", "none", "-u", "none", "-T", "none", "-U", "none"];
  const options = ["--config-net", "--no-map-gw", "--quiet", ...noPorts, "--pid", pidFile];
  const { exitCode } = waitid({ pid: spawn(program, [...options, String(pid)], log, []) });
  if (exitCode !== 0) throw new TsrunError(`it ended with exit code ${exitCode}`);
  const daemon = Number(readFileSync(pidFile));
  unlinkSync(pidFile);
  onStarted(programRecord(program, daemon));
}

function spawn(
  program: NetworkProgram,
  args: readonly string[],
  log: number,
  fds: readonly { from: number; to: number }[],
): number {
  using nothing = new Fd(open("/dev/null", O_RDWR));
  const stdio = [
    { from: nothing.fd, to: 0 },
    { from: log, to: 1 },
    { from: log, to: 2 },
  ];
  const argv = [program, ...args];
  // A session of its own: what a terminal sends is for the container.
  return posixSpawn({ path: networkProgram(program), argv, envp: [], fds: [...stdio, ...fds], setsid: true });
}
