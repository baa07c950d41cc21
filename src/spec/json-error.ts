/**
 * Where a text stops being JSON. Engines word this differently and some do not say the place at all; this runs only
 * when JSON.parse has already refused. Rules: RFC 8259.
 */

const TOKEN =
  // biome-ignore lint/suspicious/noControlCharactersInRegex: JSON strings may not hold them
  /[ \t\n\r]*(?:([{}[\],:])|("[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\u0000-\u001f]*)*")|(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)(?![\w.+-]))/y;

type Expect = "value" | "value or ]" | "key or }" | "key" | ":" | ", or end" | "nothing";

/** Offset of the first character that cannot be there, the length of the text when it ends too early; undefined: it is JSON. */
export function jsonErrorOffset(text: string): number | undefined {
  const open: string[] = [];
  let expect: Expect = "value";
  TOKEN.lastIndex = 0;
  for (;;) {
    const start = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) return endOrGarbage(text, start, expect);
    const offset = TOKEN.lastIndex - (match[1] ?? match[2] ?? match[3] ?? "").length;
    const next = advance(expect, match, open);
    if (next === undefined) return offset;
    expect = next;
  }
}

/** What may come after this token; undefined when the token may not be here. */
function advance(expect: Expect, match: RegExpExecArray, open: string[]): Expect | undefined {
  const mark = match[1];
  const isString = match[2] !== undefined;
  if (expect === "key" || expect === "key or }") {
    if (isString) return ":";
    return mark === "}" && expect === "key or }" ? close(open) : undefined;
  }
  if (expect === ":") return mark === ":" ? "value" : undefined;
  if (expect === ", or end") {
    const inObject = open.at(-1) === "{";
    if (mark === ",") return inObject ? "key" : "value";
    return mark === (inObject ? "}" : "]") ? close(open) : undefined;
  }
  if (expect === "nothing") return undefined;
  if (mark === undefined) return afterValue(open);
  if (mark === "]" && expect === "value or ]") return close(open);
  if (mark !== "{" && mark !== "[") return undefined;
  open.push(mark);
  return mark === "{" ? "key or }" : "value or ]";
}

function close(open: string[]): Expect {
  open.pop();
  return afterValue(open);
}

function afterValue(open: string[]): Expect {
  return open.length === 0 ? "nothing" : ", or end";
}

function endOrGarbage(text: string, start: number, expect: Expect): number | undefined {
  let offset = start;
  while (offset < text.length && " \t\n\r".includes(text.charAt(offset))) offset++;
  if (offset >= text.length && expect === "nothing") return undefined;
  return offset;
}
