/** What every file of rules/ works with. Each has the SHAPE of its section and a function that looks at the content. */
import type { LinuxNamespaceType, Spec } from "../types.ts";

export interface RuleContext {
  /** What is left of the config when everything misshapen is taken out: any member may be missing. */
  readonly spec: Spec;
  /** Layers were named beside the config, so root.path is not needed. */
  readonly hasLayers: boolean;
  /** Nothing is reported twice: a path with a structural problem, or below one, is passed over. */
  report(path: string, message: string): void;
  warn(path: string, message: string): void;
  /** `, did you mean "x"?`, or "" when no known word is near. */
  suggest(word: string, known: readonly string[]): string;
  /** Is there a new or joined namespace of this type? Yes when the list is misshapen, which is reported elsewhere. */
  has(type: LinuxNamespaceType): boolean;
}
