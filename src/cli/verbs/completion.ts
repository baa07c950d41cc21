import type { Shell } from "../completion.ts";
import { defineVerb, type Verb } from "../flags.ts";
import { GLOBAL_FLAGS } from "../globals.ts";
import { writeOut } from "../output.ts";

/** By shell, as the build of dist/tsrun has written them. Elsewhere they are made when one is asked for, as help is. */
export const COMPLETIONS: { texts: Readonly<Record<string, string>> | undefined } = { texts: undefined };

/** @param verbs all of them, this one too: known when it is called */
export function completionVerb(verbs: () => readonly Verb[]): Verb {
  return defineVerb({
    name: "completion",
    summary: "print what makes a shell complete commands, flags and containers",
    usage: "bash|zsh|fish",
    flags: [],
    words: ["bash", "zsh", "fish"],
    min: 1,
    max: 1,
    notes: `  source <(tsrun completion bash)                                   in ~/.bashrc
  tsrun completion zsh > "\${fpath[1]}/_tsrun"
  tsrun completion fish > ~/.config/fish/completions/tsrun.fish`,
    run({ args }) {
      const shell = args[0] as Shell;
      const text = COMPLETIONS.texts?.[shell];
      if (text === undefined) return makeScript(shell, verbs());
      writeOut(text);
      return 0;
    },
  });
}

async function makeScript(shell: Shell, verbs: readonly Verb[]): Promise<number> {
  const [{ completionScript }, { SUBVERBS }] = await Promise.all([
    import("../completion.ts"),
    import("../store/all.ts"),
  ]);
  writeOut(completionScript(shell, GLOBAL_FLAGS, [...verbs, ...SUBVERBS]));
  return 0;
}
