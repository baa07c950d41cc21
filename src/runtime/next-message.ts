/**
 * Waiting for what an init says, which others may keep it from: who froze its cgroup, and a process of the pid namespace
 * that it joins, which may stop it as it may stop any other.
 */
import { TsrunError } from "../errors.ts";
import type { InitMessage, SyncSocket } from "../init/sync.ts";
import { POLLIN } from "../sys/constants.ts";
import { pollFd } from "../sys/process.ts";
import { signalProcess } from "./kill.ts";
import { processStat } from "./lifecycle.ts";

const SILENCE_MS = 1000;
const SIGCONT = 18;
/** How often it is let go on, of the silences of one conversation: who stops it without end would hold us without end. */
const MOST_STOPS = 10;

/** Who is waited for. */
export interface Speaker {
  /** 0 while it has not told. */
  pid: number;
  /** How often it was found stopped. */
  stops: number;
}

/** What the init says next; `onSilence` is called for each second without a word. @throws TsrunError when it is stopped ever again */
export function nextMessage(sync: SyncSocket, speaker: Speaker, onSilence: () => void = () => {}): InitMessage {
  while (pollFd(sync.fd, POLLIN, SILENCE_MS) === 0) {
    letGoOn(speaker);
    onSilence();
  }
  return sync.next();
}

function letGoOn(speaker: Speaker): void {
  const { pid } = speaker;
  const stat = visibleStat(pid);
  if (stat?.state !== "T") return;
  if (++speaker.stops > MOST_STOPS) {
    throw new TsrunError("the container's process is stopped again and again (SIGSTOP) while it is being set up", {
      fix: "by a process of its pid namespace: see what runs there",
    });
  }
  signalProcess({ pid, startTime: stat.startTime }, SIGCONT);
}

/** Of one that /proc hides as long as it sets itself up nobody can say whether it is stopped. */
function visibleStat(pid: number): ReturnType<typeof processStat> {
  try {
    return pid === 0 ? undefined : processStat(pid);
  } catch {
    return undefined;
  }
}
