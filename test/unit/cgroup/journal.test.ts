import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { Journal } from "../../../src/cgroup/journal.ts";
import { applyWrites } from "../../../src/cgroup/write.ts";

const dir = mkdtempSync(join(tmpdir(), "tsrun-test-"));
afterAll(() => rmSync(dir, { recursive: true }));

const make = (name: string, text: string) => writeFileSync(join(dir, name), text);
const content = (name: string) => readFileSync(join(dir, name), "utf8");
const message = (error: unknown) => (error as Error).message;

describe("cgroup/journal", () => {
  test("what was written is set back, and the error says so before what led to it", () => {
    make("a.max", "1");
    make("b.max", "2");
    const journal = new Journal();
    applyWrites(
      dir,
      "a",
      [
        { file: "a.max", value: "7" },
        { file: "b.max", value: "8" },
      ],
      journal,
    );
    expect([content("a.max"), content("b.max")]).toEqual(["7", "8"]);
    const cause = new Error("refused");
    const error = journal.setBack(cause);
    expect([content("a.max"), content("b.max")]).toEqual(["1", "2"]);
    expect(message(error)).toBe("all limits are as before");
    expect((error as Error).cause).toBe(cause);
  });

  test("with nothing written the error is that of the write", () => {
    const cause = new Error("refused");
    expect(new Journal().setBack(cause)).toBe(cause);
  });

  test("the last change comes first, and one that fails is named and does not stop the others", () => {
    const journal = new Journal();
    const order: string[] = [];
    const add = (name: string, fails = false) =>
      journal.add({
        name,
        setBack: () => {
          order.push(name);
          if (fails) throw new Error("gone");
        },
      });
    add("first");
    add("second", true);
    add("third");
    expect(message(journal.setBack(new Error("refused")))).toBe(
      "not all limits are as before: could not set back second (gone)",
    );
    expect(order).toEqual(["third", "second", "first"]);
  });

  test("a file whose content does not tell is named", () => {
    make("x.reclaim", "");
    const journal = new Journal();
    applyWrites(dir, "x", [{ file: "x.reclaim", value: "1M" }], journal);
    expect(message(journal.setBack(new Error("refused")))).toContain(
      `could not set back ${dir}/x.reclaim (what it had cannot be read from it)`,
    );
  });

  test("a group that was not idle has its weight back, which the kernel forgets meanwhile", () => {
    make("cpu.idle", "0");
    make("cpu.weight", "39");
    const journal = new Journal();
    applyWrites(dir, "cpu", [{ file: "cpu.idle", value: "1" }], journal);
    make("cpu.weight", "0");
    journal.setBack(new Error("refused"));
    expect([content("cpu.idle"), content("cpu.weight")]).toEqual(["0", "39"]);
  });
});
