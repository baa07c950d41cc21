/** linux.namespaces and linux.timeOffsets. Rules: OCI config-linux.md "Namespaces", "Offset for Time Namespace". */
import { NAMESPACE_FLAGS } from "../namespaces.ts";
import { type ListShape, type MapShape, S } from "../structure.ts";
import { joinPath, quote } from "../text.ts";
import type { RuleContext } from "./context.ts";

const TYPES = Object.keys(NAMESPACE_FLAGS);

export const NAMESPACES: ListShape = {
  list: { members: { __proto__: null as never, type: { words: TYPES }, path: S.path }, required: ["type"] },
};

export const TIME_OFFSETS: MapShape = {
  map: { members: { __proto__: null as never, secs: S.int64, nanosecs: S.uint32 } },
};

const CLOCKS: readonly string[] = ["monotonic", "boottime"];

export function checkNamespaces(context: RuleContext): void {
  const namespaces = context.spec.linux?.namespaces ?? [];
  let seen = 0;
  namespaces.forEach(({ type, path }, i) => {
    if (type === undefined) return;
    if ((seen & NAMESPACE_FLAGS[type]) !== 0) {
      const first = namespaces.findIndex((namespace) => namespace.type === type);
      context.report(
        `linux.namespaces[${i}].type`,
        `${quote(type)} is there twice, first as linux.namespaces[${first}]`,
      );
    }
    seen |= NAMESPACE_FLAGS[type];
    if (path !== undefined && path !== "" && !path.startsWith("/")) {
      context.report(`linux.namespaces[${i}].path`, `must be absolute, not ${quote(path)}`);
    }
  });
}

export function checkTimeOffsets(context: RuleContext): void {
  const offsets = context.spec.linux?.timeOffsets ?? {};
  const clocks = Object.keys(offsets);
  if (clocks.length === 0) return;
  if (!context.has("time")) {
    context.report("linux.timeOffsets", 'needs a time namespace: add {"type": "time"} to linux.namespaces');
  }
  const joined = (context.spec.linux?.namespaces ?? []).findIndex(({ type, path }) => type === "time" && path);
  if (joined !== -1) {
    context.report(
      "linux.timeOffsets",
      `cannot be set in a time namespace that is joined (linux.namespaces[${joined}].path): it has processes already`,
    );
  }
  for (const clock of clocks) {
    const path = joinPath("linux.timeOffsets", clock);
    if (!CLOCKS.includes(clock)) {
      context.report(path, `there is no offset for the clock ${quote(clock)}${context.suggest(clock, CLOCKS)}`);
    }
    if ((offsets[clock]?.nanosecs ?? 0) > 999_999_999) context.report(`${path}.nanosecs`, "is a second or more");
  }
}
