import { expect, test } from "vitest";
import { versionProblem } from "../../../src/criu/version.ts";

test("criu 3.17 and what came later will do, older ones and programs that do not say will not", () => {
  expect(versionProblem("Version: 3.17.1\n")).toBeUndefined();
  expect(versionProblem("Version: 4.1\nGitID: v4.1\n")).toBeUndefined();
  expect(versionProblem("Version: 3.16.1\n")).toBe("it is criu 3.16, and 3.17 is needed");
  expect(versionProblem("Version: 2.20\n")).toContain("2.20");
  expect(versionProblem("")).toContain("does not tell");
});
