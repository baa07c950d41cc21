/** hooks. Rules: OCI config.md "POSIX-platform Hooks". */
import { type ListShape, type ObjectShape, S } from "../structure.ts";
import { quote } from "../text.ts";
import type { RuleContext } from "./context.ts";

const HOOK_LIST: ListShape = {
  list: {
    members: {
      __proto__: null as never,
      path: S.path,
      args: { list: S.argument },
      env: { list: S.argument },
      timeout: S.int64,
    },
    required: ["path"],
  },
};

export const HOOK_STAGES = [
  "prestart",
  "createRuntime",
  "createContainer",
  "startContainer",
  "poststart",
  "poststop",
] as const;

export const HOOKS: ObjectShape = {
  members: {
    __proto__: null as never,
    prestart: HOOK_LIST,
    createRuntime: HOOK_LIST,
    createContainer: HOOK_LIST,
    startContainer: HOOK_LIST,
    poststart: HOOK_LIST,
    poststop: HOOK_LIST,
  },
};

export function checkHooks({ spec, report }: RuleContext): void {
  if (spec.hooks === undefined) return;
  for (const stage of HOOK_STAGES) {
    spec.hooks[stage]?.forEach((hook, i) => {
      const path = `hooks.${stage}[${i}]`;
      if (hook.path !== undefined && !hook.path.startsWith("/")) {
        report(`${path}.path`, `must be absolute, not ${quote(hook.path)}`);
      }
      if (hook.timeout !== undefined && hook.timeout <= 0) {
        report(`${path}.timeout`, `${hook.timeout} is out of range: seconds, 1 or more`);
      }
    });
  }
}
