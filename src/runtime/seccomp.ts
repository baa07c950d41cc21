/** The filter of a profile for the machine that this is, and where the listener of a filter goes. */
import { TsrunError } from "../errors.ts";
import { sendFd } from "../io/console.ts";
import { compileSeccomp } from "../seccomp/compile.ts";
import { seccompListener } from "../spec/listener.ts";
import type { LinuxSeccomp, Spec } from "../spec/types.ts";
import type { ContainerStatus } from "./options.ts";
import { ociState, type StateRecord } from "./state.ts";
import { SPEC_VERSION } from "./version.ts";

export function compiledSeccomp(profile: LinuxSeccomp | undefined): ReturnType<typeof compileSeccomp> | undefined {
  return profile && compileSeccomp(profile, process.arch === "arm64" ? "aarch64" : "x86_64");
}

/** The process whose calls a listener tells of, and the container that it belongs to. */
export interface Notified {
  spec: Spec;
  record: StateRecord;
  status: ContainerStatus;
  /** As the host sees it; another one than the container's in `exec` and for hooks. */
  pid: number;
}

/**
 * Gives the listener of a filter, with the container process state beside it, to whoever answers.
 *
 * @throws TsrunError when nobody listens: the process must not run then
 * @see OCI config-linux.md "The Container Process State"
 */
export function handOverListener(fd: number, { spec, record, status, pid }: Notified): void {
  const listener = seccompListener(spec);
  if (listener === undefined) throw new TsrunError("linux.seccomp has a listener that nobody is named for");
  const { path, metadata, about } = listener;
  const message = {
    ociVersion: SPEC_VERSION,
    fds: ["seccompFd"],
    pid,
    ...(metadata !== undefined && { metadata }),
    state: ociState(record, status),
  };
  try {
    sendFd(path, fd, JSON.stringify(message));
  } catch (cause) {
    const fix = "whoever answers the notifications must listen there, on a stream socket, before the container starts";
    throw new TsrunError(`${about}: failed to connect with seccomp agent`, { cause, fix });
  }
}
