import { describe, expect, test } from "vitest";
import { runtimeFeatures } from "../../../src/runtime/features.ts";
import { validatorOf } from "../../helpers/oci-schema.ts";

describe("features", () => {
  const features = runtimeFeatures() as { linux: Record<string, { enabled?: boolean }>; mountOptions: string[] };

  test("fits the schema of the spec", () => {
    const isValid = validatorOf("features-schema.json");
    expect(isValid(features), JSON.stringify(isValid.errors)).toBe(true);
    expect(isValid({ ...features, mountOptions: 1 })).toBe(false);
  });

  test("says what engines look for: recursive read-only and idmapped mounts", () => {
    expect(features.mountOptions).toContain("rro");
    expect(features.linux.mountExtensions).toEqual({ idmap: { enabled: true } });
    expect(features.mountOptions).toContain("copy-symlink");
  });
});
