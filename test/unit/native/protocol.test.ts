import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { protocolHeader } from "../../../scripts/gen-protocol.ts";

describe("native/protocol.h", () => {
  test("says what src/plan/step.ts says (else: npx bun scripts/gen-protocol.ts)", () => {
    const header = readFileSync(new URL("../../../native/protocol.h", import.meta.url), "utf8");
    expect(header).toBe(protocolHeader());
  });
});
