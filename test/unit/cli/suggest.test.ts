import { describe, expect, test } from "vitest";
import { nearest } from "../../../src/cli/suggest.ts";

const verbs = ["create", "start", "state", "delete", "exec"];

describe("cli/suggest", () => {
  test("a typing error finds its word", () => {
    expect(nearest("crate", verbs)).toBe("create");
    expect(nearest("exce", verbs)).toBe("exec");
    expect(nearest("--bundel", ["--bundle", "--detach"])).toBe("--bundle");
    expect(nearest("DELETE", verbs)).toBe("delete");
  });

  test("what is nothing like a known word gets no suggestion", () => {
    expect(nearest("frobnicate", verbs)).toBeUndefined();
    expect(nearest("", verbs)).toBeUndefined();
    expect(nearest("x".repeat(1_000_000), verbs)).toBeUndefined();
  });
});
