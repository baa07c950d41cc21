import { execInForeground } from "../../index.ts";
import { defineVerb } from "../flags.ts";
import { optionalPath } from "../globals.ts";
import { UsageError } from "../parse.ts";

export const exec = defineVerb({
  name: "exec",
  summary: "run another process in a running container",
  usage: "<container-id> <command> [args...] | --process <file> <container-id>",
  flags: [
    {
      name: "process",
      short: "p",
      kind: "string",
      argument: "file",
      help: "an OCI process object as JSON, instead of a command",
    },
    { name: "cwd", kind: "string", argument: "dir", help: "working directory in the container" },
    { name: "env", short: "e", kind: "list", argument: "NAME=value", help: "add to the environment (repeatable)" },
    { name: "tty", short: "t", kind: "bool", help: "give the process a terminal" },
    { name: "user", short: "u", kind: "string", argument: "uid[:gid]", help: "run as this user" },
    { name: "additional-gids", short: "g", kind: "list", argument: "gid", help: "a further group (repeatable)" },
    { name: "cap", short: "c", kind: "list", argument: "name", help: "a further capability (repeatable)" },
    { name: "no-new-privs", kind: "bool", help: "set no_new_privs" },
    { name: "detach", short: "d", kind: "bool", help: "return when the process runs" },
    { name: "pid-file", kind: "string", argument: "path", help: "write the pid of the process there" },
    {
      name: "console-socket",
      kind: "string",
      argument: "path",
      help: "an AF_UNIX socket that receives the master of the terminal",
    },
    {
      name: "pidfd-socket",
      kind: "string",
      argument: "path",
      help: "an AF_UNIX socket that receives a pidfd of the process",
    },
    { name: "preserve-fds", kind: "number", argument: "n", help: "pass n more descriptors to the process" },
    { name: "ignore-paused", kind: "bool", help: "go ahead in a paused container; the process waits for `resume`" },
    {
      name: "cgroup",
      kind: "list",
      argument: "[controller:]path",
      help: "a cgroup below the container's (repeatable)",
    },
    {
      name: "apparmor",
      kind: "string",
      argument: "profile",
      help: "AppArmor profile of the process",
    },
    {
      name: "process-label",
      kind: "string",
      argument: "label",
      help: "SELinux label of the process",
    },
  ],
  min: 1,
  max: Number.POSITIVE_INFINITY,
  stopAtId: true,
  errorCode: 255,
  notes: `Flags after the container id belong to the command.
The exit code is that of the process, 128 + n when signal n ended it, and 255 when it could not be run.`,
  run({ values, args, globals }) {
    const file = optionalPath(values.process);
    if (file === undefined && args.length < 2) {
      throw new UsageError('"exec" requires a command', { fix: "tsrun exec <container-id> <command> [args...]" });
    }
    const result = execInForeground({
      root: globals.root,
      id: args[0] as string,
      process: file,
      args: args.length > 1 ? args.slice(1) : undefined,
      cwd: values.cwd || undefined,
      env: values.env,
      tty: values.tty,
      user: values.user,
      additionalGids: values["additional-gids"]?.map(gid),
      caps: values.cap,
      noNewPrivs: values["no-new-privs"],
      apparmor: values.apparmor || undefined,
      processLabel: values["process-label"] || undefined,
      detach: values.detach,
      pidFile: optionalPath(values["pid-file"]),
      consoleSocket: optionalPath(values["console-socket"]),
      pidfdSocket: optionalPath(values["pidfd-socket"]),
      preserveFds: values["preserve-fds"],
      ignorePaused: values["ignore-paused"],
      cgroup: values.cgroup,
    });
    return result.exitCode ?? 0;
  },
});

/** Group ids are numbers; a name would have to be looked up in files of the container. */
function gid(text: string): number {
  const number = /^[0-9]{1,10}$/.test(text) ? Number(text) : Number.NaN;
  // 2^32-1 is -1 to the kernel: "no change".
  if (number < 0xffff_ffff) return number;
  throw new UsageError(`invalid value ${JSON.stringify(text)} for flag --additional-gids: a group id is needed`);
}
