/**
 * `tsrun --help` and `tsrun <verb> --help`: a commander program built from the tables that the parser reads. They are
 * handed in: what both this and the program import, Bun would put into a file of its own, 0.3 ms of every start.
 */
import { Command, Option } from "commander";
import type { Flag, Verb } from "./flags.ts";

/** The help of a verb, or of tsrun itself. */
export function helpText(globals: readonly Flag[], verbs: readonly Verb[], verb?: Verb): string {
  const program = buildProgram(globals, verbs);
  const command = verb === undefined ? program : program.commands.find((candidate) => candidate.name() === verb.name);
  const notes = verb === undefined ? PROGRAM_NOTES : verb.notes;
  const { name, summary } =
    verb === undefined ? PROGRAM : { name: `${PROGRAM.name} ${verb.name}`, summary: verb.summary };
  const text = `NAME:\n   ${name} - ${summary}\n\n${(command ?? program).helpInformation()}`;
  return notes === undefined ? text : `${text}\n${notes}\n`;
}

/** Said as runc says it: scripts look for it. */
const PROGRAM = { name: "tsrun", summary: "Open Container Initiative runtime" };

const PROGRAM_NOTES = `A bundle is a directory with a config.json (OCI runtime specification) and, usually, a root filesystem.

  tsrun spec -b <bundle>           write a config.json to start from
  tsrun run <bundle>               run it, exit with its exit code
  tsrun run -b <bundle> <id>       the same under a name, as engines call it
  tsrun plan <bundle>              see what it would do`;

/** The titles of sections, as runc writes them. */
const LAYOUT = { showGlobalOptions: false, styleTitle: (title: string) => title.toUpperCase() };

function buildProgram(globals: readonly Flag[], verbs: readonly Verb[]): Command {
  const program = new Command(PROGRAM.name)
    .usage("[global flags] <command> [flags] [arguments]")
    .helpOption("-h, --help", "print this help")
    .helpCommand("help [command]", "print the help of a command")
    .configureHelp(LAYOUT);
  addFlags(program, globals);
  for (const verb of verbs) {
    // Not program.command(): that takes the second word of "image list" for an argument.
    const command = new Command(verb.name)
      .summary(verb.summary)
      .usage(`${verb.flags.length > 0 ? "[flags] " : ""}${verb.usage}`)
      .helpOption("-h, --help", "print this help")
      .configureHelp(LAYOUT);
    addFlags(command, verb.flags);
    program.addCommand(command);
  }
  return program;
}

function addFlags(command: Command, flags: readonly Flag[]): void {
  for (const flag of flags) {
    const names = `${flag.short === undefined ? "" : `-${flag.short}, `}--${flag.name}`;
    const value = flag.kind === "bool" ? "" : ` <${flag.argument ?? "value"}>`;
    command.addOption(new Option(names + value, flag.help));
  }
}
