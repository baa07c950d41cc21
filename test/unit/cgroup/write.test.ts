import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { applyWrites, decimal, fixFor } from "../../../src/cgroup/write.ts";

const dir = mkdtempSync(join(tmpdir(), "tsrun-test-"));
afterAll(() => rmSync(dir, { recursive: true }));

const make = (...names: string[]) => {
  for (const name of names) writeFileSync(join(dir, name), "");
};
const content = (name: string) => readFileSync(join(dir, name), "utf8");

describe("cgroup/write", () => {
  test("writes land in their files in order", () => {
    make("a.max", "b.max");
    applyWrites(dir, "a", [
      { file: "a.max", value: "1" },
      { file: "a.max", value: "2" },
      { file: "b.max", value: "3" },
    ]);
    expect([content("a.max"), content("b.max")]).toEqual(["12", "3"]);
  });

  test("a device that is not there: the RDMA devices are named, disks are spoken of as such", () => {
    expect(fixFor(dir, "rdma", "ENODEV")).toBe("RDMA devices of this machine: none");
    writeFileSync(join(dir, "rdma.max"), "mlx5_0 hca_handle=max hca_object=max\nrxe0 hca_handle=3 hca_object=max\n");
    expect(fixFor(dir, "rdma", "ENODEV")).toBe("RDMA devices of this machine: mlx5_0, rxe0");
    expect(fixFor(dir, "io", "ENODEV")).toContain("no whole disk");
    // The kernel says the same of a cgroup that goes meanwhile.
    expect(fixFor(dir, "memory", "ENODEV")).toBeUndefined();
    expect(fixFor(join(dir, "gone"), "io", "ENODEV")).toBeUndefined();
  });

  test("a missing file names the controller and never reads like a missing command", () => {
    const write = () => applyWrites(dir, "memory", [{ file: "memory.nothing", value: "1" }]);
    expect(write).toThrow("cannot set memory limit: missing cgroup file");
    expect(write).not.toThrow(/no such file or directory/i);
  });

  test("a missing file that the caller has named is told of as runc does", () => {
    const write = () => applyWrites(dir, "memory", [{ file: "memory.nothing", value: "1", named: true }]);
    expect(write).toThrow(`cannot set memory.nothing: open ${dir}/memory.nothing: no such file or directory`);
  });

  test("a missing file is made up for by another, or does not matter", () => {
    make("other.weight");
    applyWrites(dir, "io", [
      { file: "bfq.weight", value: "1", otherwise: { file: "other.weight", value: "10" } },
      { file: "absent", value: "1", optional: true },
    ]);
    expect(content("other.weight")).toBe("10");
  });

  test("a missing file is never created", () => {
    expect(() => applyWrites(dir, "x", [{ file: "x.max", value: "1" }])).toThrow();
    expect(() => content("x.max")).toThrow("ENOENT");
  });

  test("numbers are decimal, whatever their size", () => {
    expect([-1, 0, 2 ** 53 - 1, 2 ** 62, 1e21].map(decimal)).toEqual([
      "-1",
      "0",
      "9007199254740991",
      "4611686018427387904",
      "9223372036854775807",
    ]);
  });
});
