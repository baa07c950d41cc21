/** One job of criu, the program: started with what it needs, talked to, and what it says when it fails. */

import { keepUnifiedOptions } from "../cgroup/unified-options.ts";
import { lastErrors } from "../criu/log.ts";
import type { CriuRequest, CriuResponse } from "../criu/messages.ts";
import { callCriu, type Notice } from "../criu/session.ts";
import { type CriuVersion, versionProblem } from "../criu/version.ts";
import { isErrno, TsrunError } from "../errors.ts";
import { spawnInit } from "../init/spawn.ts";
import { debug } from "../log.ts";
import { type CriuPlanRequest, planCriu } from "../plan/criu.ts";
import { capture } from "../sys/capture.ts";
import { O_CLOEXEC, O_DIRECTORY, O_RDONLY } from "../sys/constants.ts";
import { closeQuiet, Fd, open } from "../sys/file.ts";
import { isExecutable, mkdirSync, readFileSync, readlinkSync } from "../sys/fs.ts";
import { kill, waitid } from "../sys/process.ts";
import { socketpair } from "../sys/socket.ts";
import { posixSpawn } from "../sys/spawn.ts";
import { stepFailure } from "./failure.ts";
import { absolutePath } from "./paths.ts";

/** In place of a PATH: engines call with an environment that is empty but for a variable or two. */
const USUAL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

const VERSION_TIMEOUT_MS = 30_000;
/** Longer than criu takes to tell of the end of a process, and short for who waits for nothing. */
const SILENCE_MS = 5_000;
const SIGKILL = 9;

export interface CriuJob {
  /** A path, or a name that is looked for. Default: "criu". */
  program?: string | undefined;
  /** What is asked of it that it has had since a later version than tsrun needs. */
  feature?: { name: string; since: CriuVersion } | undefined;
  plan: Omit<CriuPlanRequest, "program" | "env">;
  /** Descriptors that the plan names. */
  fds: ReadonlyMap<string, number>;
  stdio?: readonly [number, number, number] | undefined;
  /** What is about to be criu waits for its cgroup. */
  onCgroup?: ((pid: number) => void) | undefined;
  /** Made when criu is there; `numbers` are those of `plan.kept` in it. */
  request(criu: { pid: number; numbers: ReadonlyMap<string, number> }): CriuRequest;
  onNotice(notice: Notice): void;
  /** Asked while criu is silent: can what it does not end well any more? It is killed then, as it may wait for ever. */
  isLost?(): boolean;
  /** What is being done, for the error, and where criu writes about it. */
  what: string;
  log: string;
}

/** @throws TsrunError with the last errors of criu's log; criu has ended then */
export function runCriu(job: CriuJob): CriuResponse {
  const program = findCriu(job.program ?? "criu");
  checkVersion(program, job.feature);
  // criu has programs of its own to find: iptables, ip, tar.
  const env = { ...process.env, PATH: [process.env.PATH, USUAL_PATH].filter(Boolean).join(":") };
  const environment = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const { plan, numbers } = planCriu({ ...job.plan, program, env: environment });
  using _options = keepUnifiedOptions();
  const [ours, theirs] = socketpair();
  let pid: number | undefined;
  try {
    const init = spawnInit({ plan, fds: new Map([...job.fds, ["criu", theirs]]), preserved: 0, stdio: job.stdio });
    pid = init.pid;
    // Our copy of its end would keep us waiting for a criu that has died.
    closeQuiet(theirs);
    using sync = init.sync;
    let message = sync.next();
    if (message.type === "await") {
      job.onCgroup?.(pid);
      sync.answer();
      message = sync.next();
    }
    if (message.type === "fail") throw stepFailure(plan, message.step, message.code);
    const criu = pid;
    const onNotice = (notice: Notice) => {
      debug(`criu: ${notice.script} ${notice.pid}`);
      job.onNotice(notice);
    };
    const onSilence = () => {
      if (job.isLost?.()) kill(criu, SIGKILL);
    };
    const request = job.request({ pid, numbers });
    const response = callCriu(ours, request, onNotice, { afterMs: SILENCE_MS, act: onSilence });
    if (response?.success) return response;
    throw criuFailure(job, response === undefined ? endOf(pid) : "", response?.message);
  } finally {
    // Without its socket it ends.
    closeQuiet(ours);
    if (pid === undefined) closeQuiet(theirs);
    else waitid({ pid });
  }
}

/** criu has to be root's: it reads the memory of others, and makes namespaces. */
export function checkRoot(what: string): void {
  if (process.geteuid?.() === 0) return;
  throw new TsrunError(`only root can ${what} a container: criu does not work for others`);
}

function findCriu(program: string): string {
  const directories = (process.env.PATH || USUAL_PATH).split(":");
  const places = program.includes("/")
    ? [absolutePath(program)]
    : directories.map((directory) => `${directory}/${program}`);
  const found = places.find((path) => path.startsWith("/") && isExecutable(path));
  if (found !== undefined) return found;
  throw new TsrunError(`${program} is not installed, and it is what makes and restores checkpoints`, {
    fix: "apt-get install criu",
  });
}

/** An older criu passes over what it does not know of a request, and would do something else than what was asked. */
function checkVersion(program: string, feature: CriuJob["feature"]): void {
  const { stdout } = capture({
    start: (stdio) =>
      posixSpawn({
        path: program,
        argv: ["criu", "--version"],
        envp: [],
        fds: stdio.map((from, to) => ({ from, to })),
      }),
    input: "",
    timeoutMs: VERSION_TIMEOUT_MS,
  });
  const problem = versionProblem(stdout, feature);
  if (problem !== undefined) throw new TsrunError(`${program}: ${problem}`, { fix: "install a newer one" });
}

/** What a criu died of that has closed its socket without an answer; "" when it has ended by itself. */
function endOf(pid: number): string {
  const { kind, signal } = waitid({ pid }, { keep: true });
  return kind === "signaled" ? `it was killed by signal ${signal}` : "";
}

function criuFailure({ what, log }: CriuJob, end: string, message = "it ended without a word"): TsrunError {
  const said = [end, ...lastErrors(readQuiet(log))].filter((text) => text !== "");
  const reason = said.length > 0 ? said.join("; ") : message;
  return new TsrunError(`criu failed to ${what}: ${reason}`, {
    fix: `the whole of it is in ${log}; \`criu check\` says what this kernel lacks`,
  });
}

/** A file that may not be there: criu may have ended before it had a log. */
export function readQuiet(path: string): string {
  try {
    return readFileSync(path);
  } catch {
    return "";
  }
}

/** The directories of a job, open; `make` makes them. */
export class Directories {
  readonly images: Fd;
  readonly work: Fd;

  constructor(imagePath: string, workPath: string | undefined, { make = false } = {}) {
    this.images = openDirectory("--image-path", imagePath, make);
    try {
      this.work = workPath === undefined ? this.images : openDirectory("--work-path", workPath, true);
    } catch (error) {
      this.images[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * The same directories as descriptors of criu's mount namespace, where it mounts beside its working directory; to be
   * closed by the caller.
   */
  seenBy(pid: number): { images: number; work: number } {
    // Paths without links: an absolute one would lead back into our own namespace.
    const [images, work] = [this.images, this.work].map(({ fd }) =>
      open(`/proc/${pid}/root${readlinkSync(`/proc/self/fd/${fd}`)}`, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
    );
    return { images: images as number, work: work as number };
  }

  [Symbol.dispose](): void {
    if (this.work !== this.images) this.work[Symbol.dispose]();
    this.images[Symbol.dispose]();
  }
}

function openDirectory(flag: string, path: string, make: boolean): Fd {
  try {
    if (make) mkdirSync(path, { recursive: true, mode: 0o700 });
    return new Fd(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  } catch (cause) {
    if (isErrno(cause, "ENOENT")) throw new TsrunError(`${flag} ${path}: there is no such directory`);
    if (isErrno(cause, "EEXIST", "ENOTDIR"))
      throw new TsrunError(`${flag} ${path}: this, or a part of it, is no directory`);
    throw new TsrunError(`${flag} ${path}`, { cause });
  }
}
