import { describe, expect, test } from "vitest";
import { completionScript, SHELLS } from "../../../src/cli/completion.ts";
import type { Flag, Verb } from "../../../src/cli/flags.ts";
import { distributionOf } from "../../../src/runtime/info.ts";

const verb = (name: string, more: Partial<Verb> = {}): Verb => ({
  name,
  summary: `what '${name}' does`,
  usage: "",
  flags: [],
  min: 0,
  max: 0,
  run: () => 0,
  ...more,
});
const GLOBALS: Flag[] = [{ name: "root", kind: "string", help: "a dir: of states" }];
const FORMAT: Flag = { name: "format", short: "f", kind: "string", values: ["table", "json"], help: "it's how" };
const VERBS = [
  verb("list", { flags: [FORMAT, { name: "quiet", kind: "bool", help: "ids" }] }),
  verb("start", { usage: "<container-id>" }),
  verb("layer"),
  verb("layer forget", { usage: "<rw-layer> <name>" }),
  verb("image"),
  verb("image save", { flags: [{ name: "output", short: "o", kind: "string", help: "where" }] }),
];

describe("cli/completion", () => {
  test.each(SHELLS)("%s has every verb, flag and value, and quotes what it must", (shell) => {
    const script = completionScript(shell, GLOBALS, VERBS);
    for (const word of ["root", "list", "format", "quiet", "table json", "start", "save", "output"]) {
      expect(script, word).toContain(word);
    }
    if (shell === "bash") return;
    expect(script).toContain(shell === "zsh" ? "--format:it'\\''s how" : "it\\'s how");
    expect(script).toContain(shell === "zsh" ? "--root:a dir: of states" : "'a dir: of states'");
  });

  test("a switch takes no value, other flags do by both of their names", () => {
    const script = completionScript("bash", GLOBALS, VERBS);
    expect(script).toContain("    'list --format' | 'list -f') echo 'table json' ;;\n");
    expect(script).toContain("    'image save --output' | 'image save -o') echo '<files>' ;;\n");
    expect(script).not.toContain("'list --quiet'");
    expect(script).toContain("    'start 0') echo '<containers>' ;;\n");
    expect(script).toContain("    'layer forget 0') echo '<layers>' ;;\n");
    expect(script).toContain("  case $1 in layer|image) return 0 ;; esac\n");
  });
});

describe("runtime/info", () => {
  test("the name of the distribution, with and without quotes", () => {
    expect(distributionOf('NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')).toBe(
      "Debian GNU/Linux 12 (bookworm)",
    );
    expect(distributionOf("PRETTY_NAME=Alpine\n")).toBe("Alpine");
    expect(distributionOf("")).toBe("unknown");
  });
});
