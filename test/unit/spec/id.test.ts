import { describe, expect, test } from "vitest";
import { SpecError } from "../../../src/errors.ts";
import { checkId, nameProblem } from "../../../src/spec/id.ts";

describe("spec/id", () => {
  test.each(["a", "web-1", "A_b+c.d", "...", ".hidden", "0".repeat(255)])("%s is an id", (id) => {
    expect(() => checkId(id)).not.toThrow();
  });

  test.each(["", ".", "..", "/", "a/b", "../x", "a b", "a\n", "a\0", "é", "a:b", "x".repeat(256)])(
    "%j is refused before it becomes a path",
    (id) => {
      expect(() => checkId(id)).toThrow(SpecError);
    },
  );

  test("every character but [A-Za-z0-9_+.-] is refused", () => {
    for (let code = 0; code < 0x300; code++) {
      const id = `a${String.fromCharCode(code)}`;
      expect(nameProblem(id) === undefined, id).toBe(/^[A-Za-z0-9_+.-]+$/.test(id));
    }
  });

  test("a value that is no string is refused", () => {
    expect(() => checkId(undefined as unknown as string)).toThrow(SpecError);
  });

  test("the refusal cannot forge a line", () => {
    expect(() => checkId("a\nlevel=error")).toThrow(/"a\\nlevel=error"/);
  });
});
