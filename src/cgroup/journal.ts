/** What was written, and what was there before: an update that is refused half-way leaves nothing changed. */
import { TsrunError } from "../errors.ts";
import { readGroupFile } from "./files.ts";
import { ALSO_CHANGED, formerText } from "./former.ts";
import { type CgroupWrite, writeFile } from "./write.ts";

/** Something that was changed, and how it is brought back. */
export interface Change {
  /** A file, or what else it is, for the one who is told that it could not be brought back. */
  name: string;
  /** @throws when it cannot be brought back */
  setBack: () => void;
}

export class Journal {
  readonly #changes: Change[] = [];

  add(change: Change): void {
    this.#changes.push(change);
  }

  /** To be called before a write to a file of the cgroup `dir`. @returns what to call when the write was taken */
  before(dir: string, { file, value }: Pick<CgroupWrite, "file" | "value">): () => void {
    const changes = [fileChange(`${dir}/${file}`, file, value)];
    // Of an idle group the weight cannot be written: it comes before, and so is set back after.
    for (const other of ALSO_CHANGED[file] ?? []) {
      const path = `${dir}/${other}`;
      if (read(path) !== undefined && read(`${dir}/${file}`) === "0") changes.unshift(fileChange(path, other, ""));
    }
    return () => this.#changes.push(...changes);
  }

  /**
   * Brings all of it back, the last change first, so that values that bound each other are always within bounds.
   *
   * @returns the error that led here, and what has become of the rest
   */
  setBack(cause: unknown): unknown {
    if (this.#changes.length === 0) return cause;
    const left: string[] = [];
    for (const { name, setBack } of this.#changes.splice(0).reverse()) {
      try {
        setBack();
      } catch (error) {
        left.push(`${name} (${error instanceof Error ? error.message : String(error)})`);
      }
    }
    if (left.length === 0) return new TsrunError("all limits are as before", { cause });
    return new TsrunError(`not all limits are as before: could not set back ${left.join(", ")}`, { cause });
  }
}

function fileChange(path: string, file: string, written: string): Change {
  const before = read(path);
  const former = before === undefined ? undefined : formerText(file, before, written);
  const inEffect = former === "\n" ? read(`${path}.effective`) : undefined;
  const now = () => formerText(file, read(path) ?? "", written);
  return {
    name: path,
    setBack: () => {
      if (former === undefined) throw new TsrunError("what it had cannot be read from it");
      if (now() === former) return;
      try {
        writeFile(path, former);
      } catch (error) {
        // Linux 6.1 does not make a set with processes empty again: the same in effect is what it had from above.
        if (inEffect === undefined) throw error;
        writeFile(path, inEffect);
        if (read(`${path}.effective`) === inEffect) return;
        throw error;
      }
      // A limit may have been taken, and rounded or ignored.
      const found = now();
      if (found !== former) throw new TsrunError(`has ${JSON.stringify(found)}, not ${JSON.stringify(former)}`);
    },
  };
}

/** Not every file can be read. */
function read(path: string): string | undefined {
  try {
    return readGroupFile(path);
  } catch {
    return undefined;
  }
}
