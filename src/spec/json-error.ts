/**
 * Where a text stops being JSON. Engines word this differently and some do not say the place at all; this runs only
 * when JSON.parse has already refused. Rules: RFC 8259.
 *
 * Nearly one loop, for an engine that only interprets: for each token a regular expression takes a microsecond, and a
 * call a tenth of one. And no expression with a group that repeats: it keeps a place for every escape of a string.
 */

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const COLON = 0x3a;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;
const MINUS = 0x2d;
const ZERO = 0x30;
const NINE = 0x39;

/** No engine that has a limit goes as deep. */
const MAX_DEPTH = 1 << 20;

/** What may stand at a place. */
const VALUE = 0;
const VALUE_OR_END = 1;
const KEY = 2;
const KEY_OR_END = 3;
const AFTER_KEY = 4;
const AFTER_VALUE = 5;

/** Offset of the first character that cannot be there, the length of the text when it ends too early; undefined: it is JSON. */
export function jsonErrorOffset(text: string): number | undefined {
  const open: number[] = [];
  let inObject = false;
  let expect = VALUE;
  let at = 0;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09) {
      at++;
    } else if (code === COMMA) {
      if (expect !== AFTER_VALUE || open.length === 0) return at;
      expect = inObject ? KEY : VALUE;
      at++;
    } else if (code === COLON) {
      if (expect !== AFTER_KEY) return at;
      expect = VALUE;
      at++;
    } else if (code === OPEN_LIST || code === OPEN_OBJECT) {
      if (expect > VALUE_OR_END) return at;
      if (open.push(code) > MAX_DEPTH) return undefined;
      inObject = code === OPEN_OBJECT;
      expect = inObject ? KEY_OR_END : VALUE_OR_END;
      at++;
    } else if (code === CLOSE_LIST || code === CLOSE_OBJECT) {
      const isEnd = expect === AFTER_VALUE || expect === (inObject ? KEY_OR_END : VALUE_OR_END);
      if (!isEnd || open.length === 0 || (code === CLOSE_OBJECT) !== inObject) return at;
      open.pop();
      inObject = open[open.length - 1] === OPEN_OBJECT;
      expect = AFTER_VALUE;
      at++;
    } else if (!(code >= 0)) {
      // NaN is the end.
      return expect === AFTER_VALUE && open.length === 0 ? undefined : at;
    } else {
      if (expect >= AFTER_KEY) return at;
      const isKey = expect >= KEY;
      if (code !== QUOTE && isKey) return at;
      const end = code === QUOTE ? stringEnd(text, at) : wordEnd(text, at);
      if (end < 0) return ~end;
      expect = isKey ? AFTER_KEY : AFTER_VALUE;
      at = end;
    }
  }
}

/** The end of the string whose quote is at `start`; negative: ~ of the first character that cannot be there. */
export function stringEnd(text: string, start: number): number {
  let at = start + 1;
  for (;;) {
    const code = text.charCodeAt(at);
    if (code === QUOTE) return at + 1;
    // NaN at the end of the text, too.
    if (!(code >= 0x20)) return ~at;
    at++;
    if (code !== BACKSLASH) continue;
    if (text[at] === "u" && /^[0-9a-fA-F]{4}$/.test(text.slice(at + 1, at + 5))) at += 5;
    else if (at < text.length && '"\\/bfnrt'.includes(text.charAt(at))) at++;
    else return ~at;
  }
}

/** The same for a number or one of three words; what is neither is wrong from its start. */
function wordEnd(text: string, start: number): number {
  let at = start;
  let code = text.charCodeAt(at);
  if (code > ZERO && code <= NINE) {
    do code = text.charCodeAt(++at);
    while (code >= ZERO && code <= NINE);
    if (code === COMMA || code === CLOSE_LIST || code === CLOSE_OBJECT) return at;
  }
  code = text.charCodeAt(start);
  const end = code === MINUS || (code >= ZERO && code <= NINE) ? numberEnd(text, start) : literalEnd(text, start);
  return end === undefined || /[\w.+-]/.test(text.charAt(end)) ? ~start : end;
}

function literalEnd(text: string, start: number): number | undefined {
  for (const word of ["true", "false", "null"]) if (text.startsWith(word, start)) return start + word.length;
  return undefined;
}

function numberEnd(text: string, start: number): number | undefined {
  let at = text.charCodeAt(start) === MINUS ? start + 1 : start;
  const whole = text.charCodeAt(at) === ZERO ? at + 1 : digitsEnd(text, at);
  if (whole === at) return undefined;
  at = whole;
  if (text[at] === ".") {
    const fraction = digitsEnd(text, at + 1);
    if (fraction === at + 1) return undefined;
    at = fraction;
  }
  if (text[at] !== "e" && text[at] !== "E") return at;
  const digits = text[at + 1] === "+" || text[at + 1] === "-" ? at + 2 : at + 1;
  const exponent = digitsEnd(text, digits);
  return exponent === digits ? undefined : exponent;
}

function digitsEnd(text: string, start: number): number {
  let at = start;
  for (let code = text.charCodeAt(at); code >= ZERO && code <= NINE; code = text.charCodeAt(at)) at++;
  return at;
}
