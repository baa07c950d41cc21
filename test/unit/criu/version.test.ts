import { expect, test } from "vitest";
import { versionProblem } from "../../../src/criu/version.ts";

test("criu 3.17 and what came later will do, older ones and programs that do not say will not", () => {
  expect(versionProblem("Version: 3.17.1\n")).toBeUndefined();
  expect(versionProblem("Version: 4.1\nGitID: v4.1\n")).toBeUndefined();
  expect(versionProblem("Version: 3.16.1\n")).toBe("it is criu 3.16, and 3.17 is needed");
  expect(versionProblem("Version: 2.20\n")).toContain("2.20");
  expect(versionProblem("")).toContain("does not tell");
});

test("what came later needs that version", () => {
  const feature = { name: "--network-lock skip", since: [3, 18] as const };
  expect(versionProblem("Version: 3.17.1\n", feature)).toBe(
    "it is criu 3.17, and 3.18 is needed for --network-lock skip",
  );
  expect(versionProblem("Version: 3.18\n", feature)).toBeUndefined();
  expect(versionProblem("Version: 4.0\n", feature)).toBeUndefined();
});
