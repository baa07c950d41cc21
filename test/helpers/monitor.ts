/**
 * Starts a shell command as the "container" and becomes its monitor, as `run` does. Perl, because it forks and executes
 * without a thought of its own; it is part of every Debian. With a terminal the command has a pty's slave as its own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { close, open } from "../../src/sys/file.ts";
import { ioctl } from "../../src/sys/process.ts";
import { initBinary } from "./native.ts";

const O_RDWR_NOCTTY = 0o402;
const TIOCSPTLCK = 0x40045431;
const TIOCGPTPEER = 0x5441;

export interface Monitored {
  child: ChildProcess;
  output(): string;
  errors(): string;
  /** Resolves when the monitor is at work: every signal is its own to take. */
  started(): Promise<void>;
  /** Resolves when the output holds the text. */
  seen(text: string): Promise<void>;
  code: Promise<number>;
}

export interface MonitorOptions {
  /** Records as native/cleanup.c has them. */
  cleanup?: readonly (readonly string[])[];
  terminal?: boolean;
  /** The monitor begins when the container is a zombie already. */
  late?: boolean;
  /** A signal, as "CONT", that comes when the monitor is being executed: blocked, as tsrun has it, and pending. */
  pending?: string;
  stdin?: "pipe" | "ignore" | number;
  stdout?: "pipe" | number;
  /** What the container says of its readiness, and who waits for it; not with a terminal. */
  notify?: { socket: number; host: number };
  /** A socket to who sees the cgroup to its end, and what he writes; not with a terminal. */
  witness?: { socket: number; record: number };
}

/** `dir` is a directory for the monitor's configuration. */
export function startMonitor(dir: string, command: string, options: MonitorOptions = {}): Monitored {
  const {
    cleanup = [],
    terminal = false,
    late = false,
    pending = "",
    stdin = "pipe",
    stdout = "pipe",
    notify,
    witness,
  } = options;
  const pair = notify ? [notify.socket, notify.host] : witness ? [witness.socket, witness.record] : [];
  const pty = terminal ? makePty() : undefined;
  const config = join(dir, "config");
  writeFileSync(
    join(dir, "cleanup"),
    cleanup
      .flat()
      .map((word) => `${word}\0`)
      .join(""),
  );
  const child = spawn("perl", ["-e", LAUNCHER], {
    env: {
      PATH: process.env.PATH,
      COMMAND: command,
      CONFIG: config,
      CLEANUP: join(dir, "cleanup"),
      INIT: initBinary(),
      TERMINAL: terminal ? "1" : "",
      LATE: late ? "1" : "",
      PENDING: pending,
      FLAGS: [(notify ? 4 : 0) | (witness ? 8 : 0), ...(pair.length > 0 ? [3, 4] : [])].join("\n"),
    },
    stdio: [stdin, stdout, "pipe", ...(pty ? [pty.master, pty.slave] : []), ...pair],
  });
  if (pty) for (const fd of [pty.master, pty.slave]) close(fd);
  let output = "";
  let errors = "";
  const waiting: { text: string; done: () => void }[] = [];
  child.stdout?.on("data", (chunk: Buffer) => {
    output += chunk.toString();
    for (const { text, done } of waiting) if (output.includes(text)) done();
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    errors += chunk.toString();
  });
  return {
    child,
    output: () => output,
    errors: () => errors,
    started: () =>
      until(() => {
        const isMonitor = readFileSync(`/proc/${child.pid}/cmdline`, "utf8").startsWith("tsrun-monitor");
        return isMonitor && /^SigBlk:\tffff/m.test(readFileSync(`/proc/${child.pid}/status`, "utf8"));
      }),
    seen: (text) => new Promise((done) => (output.includes(text) ? done() : waiting.push({ text, done }))),
    code: new Promise((done) => child.on("close", (code, signal) => done(signal ? -1 : (code ?? -1)))),
  };
}

/** Waits for what another process does, where nothing tells of it. */
export async function until(happened: () => boolean): Promise<void> {
  while (!happened()) await new Promise((done) => setTimeout(done, 2));
}

const LAUNCHER = `
  $^F = 255; # descriptors live through exec
  my $pid = fork;
  if ($pid == 0) {
    if ($ENV{TERMINAL}) {
      require POSIX;
      POSIX::setsid();
      open our $slave, "+<&=4";
      ioctl $slave, 0x540e, 0; # TIOCSCTTY
      POSIX::dup2(4, $_) for 0 .. 2;
      fcntl $slave, 2, 1; # FD_CLOEXEC
      POSIX::close(3);
    }
    if ($ENV{FLAGS}) { require POSIX; POSIX::close($_) for 3, 4 }
    exec "sh", "-c", $ENV{COMMAND};
  }
  if ($ENV{TERMINAL}) { require POSIX; POSIX::close(4) }
  if ($ENV{LATE}) { 1 until "Z" eq (split " ", do { open my $f, "<", "/proc/$pid/stat"; <$f> })[2] }
  open my $cleanup, "<", $ENV{CLEANUP};
  open my $out, ">", $ENV{CONFIG};
  print $out join("\\0", "tsrunm1", $pid, -1, $ENV{TERMINAL} ? 3 : -1, split /\\n/, $ENV{FLAGS}), "\\0", <$cleanup>;
  close $out;
  open my $config, "<", $ENV{CONFIG};
  if ($ENV{PENDING}) {
    require POSIX;
    select undef, undef, undef, 0.3; # the container has its trap by then
    my $number = { CONT => POSIX::SIGCONT(), WINCH => 28 }->{$ENV{PENDING}};
    POSIX::sigprocmask(POSIX::SIG_BLOCK(), POSIX::SigSet->new($number));
    kill $ENV{PENDING}, $$;
  }
  exec { $ENV{INIT} } "tsrun-monitor", fileno $config;
`;

export function makePty(): { master: number; slave: number } {
  const master = open("/dev/ptmx", O_RDWR_NOCTTY);
  ioctl(master, TIOCSPTLCK, new Uint8Array(4));
  return { master, slave: ioctl(master, TIOCGPTPEER, O_RDWR_NOCTTY) };
}
