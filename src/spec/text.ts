/** Words for problems: quoted values, JSON paths, and what was perhaps meant. Used only when there is a problem. */

/** A value of a config as it may stand in a message: one line, no control characters, not too long. */
export function quote(value: unknown): string {
  const text = typeof value === "bigint" ? String(value) : (JSON.stringify(value) ?? String(value));
  const short = text.length > 80 ? `${text.slice(0, 76)}..."` : text;
  // JSON leaves DEL, C1 controls and bidirectional marks as they are; a terminal does not.
  return short.replace(/[\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, (c) => {
    return `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

/** Length in UTF-8. Counted here because the mere mention of Buffer in a function costs Bun 0.15 ms at its first call. */
export function byteLength(text: string): number {
  let bytes = 0;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // Half of a surrogate pair: two of them make four bytes.
    if (unit >= 0xd800 && unit <= 0xdfff) bytes += 2;
    else bytes += unit < 0x80 ? 1 : unit < 0x800 ? 2 : 3;
  }
  return bytes;
}

/** `parent.key`, or `parent["key"]` when the key is no plain name. */
export function joinPath(parent: string, key: string): string {
  if (!/^[A-Za-z_][\w-]*$/.test(key)) return `${parent}[${quote(key)}]`;
  return parent === "" ? key : `${parent}.${key}`;
}

/** `, did you mean "x"?` for the known word nearest to `word`, "" when none is near. */
export function didYouMean(word: string, known: readonly string[]): string {
  const nearest = nearestWord(word, known);
  return nearest === undefined ? "" : `, did you mean ${quote(nearest)}?`;
}

/** The known word that `word` was probably meant to be; a typo in a short word leaves too little to tell. */
export function nearestWord(word: string, known: readonly string[]): string | undefined {
  const allowed = word.length < 3 ? 0 : word.length < 6 ? 1 : word.length < 14 ? 2 : 4;
  let best: string | undefined;
  let bestDistance = allowed + 1;
  for (const candidate of known) {
    if (Math.abs(candidate.length - word.length) >= bestDistance) continue;
    const found = distance(word.toLowerCase(), candidate.toLowerCase());
    if (found < bestDistance) {
      best = candidate;
      bestDistance = found;
    }
  }
  return best;
}

/** Edits that make `b` of `a`: insert, delete, replace, swap two neighbours (optimal string alignment). */
export function distance(a: string, b: string): number {
  let before: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replace = (last[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      let least = Math.min(replace, (last[j] ?? 0) + 1, (row[j - 1] ?? 0) + 1);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (before[j - 2] ?? 0) + 1);
      }
      row.push(least);
    }
    before = last;
    last = row;
  }
  return last[b.length] ?? 0;
}

/** More CPUs or memory nodes than a kernel may be built for. */
const NUMBERS_MAX = 8192;

/**
 * Is this a list of CPUs or memory nodes, as "0-3,7"? Blanks around an entry and empty entries are allowed, as runc
 * allows them. Rules: cpuset(7) "List format".
 */
export function isNumberList(text: string): boolean {
  return text.split(",").every((part) => {
    const entry = part.trim();
    if (entry === "") return true;
    const [, first, last = first] = /^(\d+)(?:-(\d+))?$/.exec(entry) ?? [];
    return first !== undefined && Number(first) <= Number(last) && Number(last) < NUMBERS_MAX;
  });
}
