import { describe, expect, test } from "vitest";
import { Undo } from "../../../src/runtime/undo.ts";

function undone(fill: (undo: Undo, done: string[]) => void): string[] {
  const done: string[] = [];
  {
    using undo = new Undo();
    fill(undo, done);
  }
  return done;
}

describe("runtime/undo", () => {
  test("the last thing is taken back first", () => {
    const done = undone((undo, done) => {
      undo.addRecord(() => done.push("record"));
      undo.add(() => done.push("one"));
      undo.add(() => done.push("two"));
    });
    expect(done).toEqual(["two", "one", "record"]);
  });

  test("the record of what could not be taken back stays, and the rest goes", () => {
    const done = undone((undo, done) => {
      undo.addRecord(() => done.push("record"));
      undo.add(() => done.push("one"));
      undo.add(() => {
        throw new Error("busy");
      });
    });
    expect(done).toEqual(["one"]);
  });

  test("nothing is taken back of a job that is done", () => {
    const done = undone((undo, done) => {
      undo.add(() => done.push("one"));
      undo.keep();
    });
    expect(done).toEqual([]);
  });
});
