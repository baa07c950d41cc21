/** A tar archive of walked entries, as a stream. */
import { TsrunError } from "../errors.ts";
import { O_NOFOLLOW, O_NONBLOCK, O_RDONLY } from "../sys/constants.ts";
import { pread } from "../sys/entries.ts";
import { Fd, openat } from "../sys/file.ts";
import { shown } from "./tar/bytes.ts";
import { roundUp } from "./tar/reader.ts";
import { formatHeader, TRAILER } from "./tar/writer.ts";
import { unlessGone, type Walked } from "./walk.ts";

const CHUNK = 1 << 18;

/**
 * @throws TsrunError when a file becomes shorter while it is read; one that grows is cut at the length it had
 */
export function* tarOf(entries: Iterable<Walked>): Generator<Uint8Array> {
  for (const { entry, parent, name } of entries) {
    const hasContent = entry.type === "file" && entry.size > 0;
    using file = hasContent
      ? unlessGone(() => new Fd(openat(parent, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)))
      : undefined;
    if (hasContent && file === undefined) continue;
    yield formatHeader(entry);
    if (file === undefined) continue;
    let at = 0;
    while (at < entry.size) {
      const buffer = new Uint8Array(Math.min(CHUNK, entry.size - at));
      const count = pread(file.fd, buffer, at);
      if (count === 0) {
        throw new TsrunError(`${shown(entry.name)} became shorter while it was read`, {
          fix: "pause or stop the container first",
        });
      }
      at += count;
      yield buffer.subarray(0, count);
    }
    const padding = roundUp(entry.size) - entry.size;
    if (padding > 0) yield new Uint8Array(padding);
  }
  yield TRAILER;
}
