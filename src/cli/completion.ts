/**
 * Scripts that complete tsrun's command line in bash, zsh and fish, made of the tables that the parser reads. They are
 * handed in, as for help. Rules: bash(1) "Programmable Completion", zshcompsys(1), fish-completions(7).
 */
import type { Flag, Verb } from "./flags.ts";

export const SHELLS = ["bash", "zsh", "fish"] as const;
export type Shell = (typeof SHELLS)[number];

/** @param verbs those of a second level too, as "image list" */
export function completionScript(shell: Shell, globals: readonly Flag[], verbs: readonly Verb[]): string {
  const commands: Command[] = [{ name: "", flags: globals, summary: "", subjects: [] }, ...verbs.map(commandOf)];
  return { bash, zsh, fish }[shell](commands);
}

interface Command {
  /** "" is tsrun itself. */
  name: string;
  summary: string;
  flags: readonly Flag[];
  /** What its arguments are: words, or one of CONTAINERS, LAYERS and FILES. */
  subjects: readonly string[];
}

const CONTAINERS = "<containers>";
const LAYERS = "<layers>";
const FILES = "<files>";

function commandOf({ name, summary, flags, usage, words }: Verb): Command {
  const subjects: string[] = words === undefined ? [] : [words.join(" ")];
  if (/^(add\|remove )?<container-id>|<container>/.test(usage)) subjects.push(CONTAINERS);
  if (usage.startsWith("<rw-layer>")) subjects.push(LAYERS);
  return { name, summary, flags, subjects };
}

/** Verbs that have verbs: "image". */
function groupsOf(commands: readonly Command[]): string[] {
  return [...new Set(commands.filter(({ name }) => name.includes(" ")).map(({ name }) => firstWord(name)))];
}

function firstWord(name: string): string {
  return name.split(" ")[0] ?? "";
}

/** The verbs at one level, with their summaries. */
function verbsBelow(commands: readonly Command[], group: string): Command[] {
  if (group === "") return commands.filter(({ name }) => name !== "" && !name.includes(" "));
  return commands.filter(({ name }) => name.startsWith(`${group} `));
}

function lastWord(name: string): string {
  return name.slice(name.lastIndexOf(" ") + 1);
}

/**
 * Shell functions that bash and zsh understand alike: _tsrun_value VERB FLAG says what the value of a flag is,
 * _tsrun_subject VERB N what an argument is; both print words, or <files>, <containers>, <layers>, or nothing.
 */
function posixTables(commands: readonly Command[]): string {
  const values = commands.flatMap(({ name, flags }) =>
    flags
      .filter(({ kind }) => kind !== "bool")
      .map((flag) => `    ${flagPattern(name, flag)}) echo ${quote(argumentOf(flag))} ;;`),
  );
  const subjects = commands.flatMap(({ name, subjects: list }) =>
    list.map((subject, i) => `    ${quote(`${name} ${i}`)}) echo ${quote(subject)} ;;`),
  );
  const groups = groupsOf(commands);
  return `_tsrun_value() {
  case "$1 $2" in
${values.join("\n")}
  esac
}

_tsrun_subject() {
  case "$1 $2" in
${subjects.join("\n")}
    *) echo '${FILES}' ;;
  esac
}

_tsrun_is_group() {
  case $1 in ${groups.join("|")}) return 0 ;; esac
  return 1
}`;
}

function flagPattern(verb: string, { name, short }: Flag): string {
  const patterns = [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];
  return patterns.map((pattern) => quote(`${verb} ${pattern}`)).join(" | ");
}

function argumentOf({ values }: Flag): string {
  return values === undefined ? FILES : values.join(" ");
}

/** Single quotes for sh, bash and zsh. */
function quote(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** The walk over what is written already, the same in bash and zsh but for how words are reached. */
function bash(commands: readonly Command[]): string {
  const flags = commands.map(
    ({ name, flags: list }) =>
      `    ${quote(name)}) echo ${quote([...list.map((flag) => `--${flag.name}`), "--help"].join(" "))} ;;`,
  );
  const verbs = ["", ...groupsOf(commands)].map(
    (group) =>
      `    ${quote(group)}) echo ${quote(
        verbsBelow(commands, group)
          .map(({ name }) => lastWord(name))
          .join(" "),
      )} ;;`,
  );
  return `# bash completion of tsrun. To use it: source <(tsrun completion bash)
${posixTables(commands)}

_tsrun_flags() {
  case $1 in
${flags.join("\n")}
  esac
}

_tsrun_verbs() {
  case $1 in
${verbs.join("\n")}
  esac
}

_tsrun() {
  local cur=\${COMP_WORDS[COMP_CWORD]} verb= word= kind= value=
  local -a root=()
  local -i i=1 count=0
  while ((i < COMP_CWORD)); do
    word=\${COMP_WORDS[i]}
    if [[ $word == -* ]]; then
      value=$(_tsrun_value "$verb" "$word")
      if [[ -n $value ]]; then
        i+=1
        # readline splits --flag=value into three words.
        [[ \${COMP_WORDS[i]} == = ]] && ((i < COMP_CWORD)) && i+=1
        [[ $word == --root ]] && root=(--root "\${COMP_WORDS[i]}")
        ((i >= COMP_CWORD)) && kind=$value
      fi
    elif [[ -z $verb ]]; then
      verb=$word
    elif ((count == 0)) && _tsrun_is_group "$verb"; then
      verb="$verb $word"
    else
      count+=1
    fi
    i+=1
  done
  [[ $cur == = ]] && cur=
  if [[ -z $kind && $cur == -* ]]; then
    kind=$(_tsrun_flags "$verb")
  elif [[ -z $kind && -z $verb ]] || { [[ -z $kind ]] && _tsrun_is_group "$verb"; }; then
    kind=$(_tsrun_verbs "$verb")
  elif [[ -z $kind ]]; then
    kind=$(_tsrun_subject "$verb" "$count")
  fi
  case $kind in
    '${FILES}')
      compopt -o filenames 2>/dev/null
      mapfile -t COMPREPLY < <(compgen -f -- "$cur")
      ;;
    '${CONTAINERS}')
      kind=$("\${COMP_WORDS[0]}" "\${root[@]}" list --quiet 2>/dev/null)
      mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur")
      ;;
    '${LAYERS}')
      kind=$("\${COMP_WORDS[0]}" container layers --quiet 2>/dev/null)
      mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur")
      ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$kind" -- "$cur") ;;
  esac
}

complete -F _tsrun tsrun
`;
}

function zsh(commands: readonly Command[]): string {
  const described = (name: string, text: string) => quote(`${name.replaceAll(":", "\\:")}:${text}`);
  const flags = commands.map(({ name, flags: list }) => {
    const lines = [...list.map((flag) => described(`--${flag.name}`, flag.help)), described("--help", "print help")];
    return `    ${quote(name)}) reply=(${lines.join(" ")}) ;;`;
  });
  const verbs = ["", ...groupsOf(commands)].map((group) => {
    const lines = verbsBelow(commands, group).map(({ name, summary }) => described(lastWord(name), summary));
    return `    ${quote(group)}) reply=(${lines.join(" ")}) ;;`;
  });
  return `#compdef tsrun
# zsh completion of tsrun. To use it: tsrun completion zsh > a directory of $fpath/_tsrun
${posixTables(commands)}

_tsrun_flags() {
  case $1 in
${flags.join("\n")}
  esac
}

_tsrun_verbs() {
  case $1 in
${verbs.join("\n")}
  esac
}

_tsrun() {
  local cur=$words[CURRENT] verb= word= kind= value=
  local -a root reply
  local -i i=2 count=0
  while ((i < CURRENT)); do
    word=$words[i]
    if [[ $word == --root=* ]]; then
      root=($word)
    elif [[ $word == -*=* ]]; then
      :
    elif [[ $word == -* ]]; then
      value=$(_tsrun_value "$verb" "$word")
      if [[ -n $value ]]; then
        ((i += 1))
        [[ $word == --root ]] && root=(--root "$words[i]")
        ((i >= CURRENT)) && kind=$value
      fi
    elif [[ -z $verb ]]; then
      verb=$word
    elif ((count == 0)) && [[ $verb != *' '* ]] && _tsrun_is_group "$verb"; then
      verb="$verb $word"
    else
      ((count += 1))
    fi
    ((i += 1))
  done
  if [[ -z $kind && $cur == -*=* ]]; then
    kind=$(_tsrun_value "$verb" "\${cur%%=*}")
    compset -P '*='
  elif [[ -z $kind && $cur == -* ]]; then
    _tsrun_flags "$verb"
    _describe flag reply
    return
  elif [[ -z $kind && -z $verb ]] || { [[ -z $kind ]] && _tsrun_is_group "$verb" }; then
    _tsrun_verbs "$verb"
    _describe command reply
    return
  elif [[ -z $kind ]]; then
    kind=$(_tsrun_subject "$verb" "$count")
  fi
  case $kind in
    '${FILES}') _files ;;
    '${CONTAINERS}') compadd -- \${(f)"$($words[1] $root list --quiet 2>/dev/null)"} ;;
    '${LAYERS}') compadd -- \${(f)"$($words[1] container layers --quiet 2>/dev/null)"} ;;
    *) compadd -- \${=kind} ;;
  esac
}

# Sourced, it is told to the shell; from $fpath it is the function itself.
if [[ $funcstack[1] == _tsrun ]]; then _tsrun "$@"; else compdef _tsrun tsrun; fi
`;
}

function fish(commands: readonly Command[]): string {
  const valued = commands.flatMap(({ name, flags }) =>
    flags
      .filter(({ kind }) => kind !== "bool")
      .flatMap((flag) => fishNames(flag).map((word) => fishQuote(`${name} ${word}`))),
  );
  const groups = groupsOf(commands);
  const lines = commands.flatMap((command) => fishCommand(commands, command));
  return `# fish completion of tsrun. To use it: tsrun completion fish > ~/.config/fish/completions/tsrun.fish
set -g __tsrun_valued ${valued.join(" ")}

# The command that is written, such as "run" or "image list", and how many arguments it has.
function __tsrun_state
    set -l words (commandline -opc)
    set -l verb ''
    set -l count 0
    set -e words[1]
    while set -q words[1]
        switch $words[1]
            case '-*'
                contains -- "$verb $words[1]" $__tsrun_valued; and set -e words[1]
            case '*'
                if test -z "$verb"
                    set verb $words[1]
                else if test $count = 0; and contains -- "$verb" ${groups.join(" ")}
                    set verb "$verb $words[1]"
                else
                    set count (math $count + 1)
                end
        end
        set -e words[1]
    end
    echo "$verb/$count"
end

function __tsrun_at
    string match -q -- $argv[1] (__tsrun_state)
end

function __tsrun_containers
    set -l root (commandline -opc | string match -rg -- '^--root=(.*)')
    set -l words (commandline -opc)
    set -l at (contains -i -- --root $words); and set root $words[(math $at + 1)]
    $words[1] --root="$root" list --quiet 2>/dev/null
end

function __tsrun_layers
    set -l words (commandline -opc)
    $words[1] container layers --quiet 2>/dev/null
end

complete -c tsrun -e
${lines.join("\n")}
`;
}

function fishCommand(commands: readonly Command[], { name, flags, subjects }: Command): string[] {
  const at = (count: string) => `complete -c tsrun -n ${fishQuote(`__tsrun_at ${fishQuote(`${name}/${count}`)}`)}`;
  const lines = flags.map((flag) => {
    const short = flag.short === undefined ? "" : ` -s ${flag.short}`;
    const value =
      flag.kind === "bool" ? "" : flag.values === undefined ? " -r -F" : ` -x -a ${fishQuote(flag.values.join(" "))}`;
    return `${at("*")} -l ${flag.name}${short}${value} -d ${fishQuote(flag.help)}`;
  });
  for (const below of name.includes(" ") ? [] : verbsBelow(commands, name)) {
    lines.push(`${at("0")} -f -a ${lastWord(below.name)} -d ${fishQuote(below.summary)}`);
  }
  subjects.forEach((subject, i) => {
    lines.push(`${at(String(i))} -f -a ${fishQuote(FISH_SUBJECTS[subject] ?? subject)}`);
  });
  return lines;
}

const FISH_SUBJECTS: Readonly<Record<string, string>> = {
  [CONTAINERS]: "(__tsrun_containers)",
  [LAYERS]: "(__tsrun_layers)",
};

function fishNames({ name, short }: Flag): string[] {
  return [`--${name}`, ...(short === undefined ? [] : [`-${short}`])];
}

function fishQuote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
