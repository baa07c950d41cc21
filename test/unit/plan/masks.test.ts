import { describe, expect, test } from "vitest";
import { type FullSpec, stepsOf } from "./helpers.ts";

const paths =
  (maskedPaths: string[], readonlyPaths: string[] = []) =>
  ({ linux }: FullSpec) => {
    linux.maskedPaths = maskedPaths;
    linux.readonlyPaths = readonlyPaths;
  };

describe("plan/masks", () => {
  test("what covers a path is the host's null device, checked, or one empty read-only tmpfs", () => {
    const lines = stepsOf({ spec: paths(["/etc/shadow", "/root"]) }, "linux.maskedPaths");
    expect(lines[0]).toMatch(/^open \/dev\/null as \d+$/);
    expect(lines[1]).toMatch(/^check that \d+ is c 1:3$/);
    expect(lines[2]).toMatch(/^fsmount tmpfs \[.*\] rdonly,nosuid,nodev,noexec as \d+$/);
    expect(lines.filter((line) => line.startsWith("mask")).map((line) => line.replace(/ in \d+/, ""))).toEqual([
      "mask /etc/shadow",
      "mask /root",
    ]);
  });

  test("without a masked path nothing is opened for it", () => {
    expect(stepsOf({ spec: paths([], ["/etc"]) }, "linux.maskedPaths")).toEqual([]);
    expect(stepsOf({ spec: paths([], ["/etc"]) }, "linux.readonlyPaths")[0]).toMatch(/^read-only \/etc in \d+$/);
  });

  test("a path below a mount of the list is found through that mount, not by its name", () => {
    const lines = stepsOf({
      spec: (spec) => {
        spec.mounts = [{ destination: "/proc", type: "proc" }];
        paths(["/proc/kcore"], ["/proc/sys", "/etc"])(spec);
      },
    });
    const mount = /as (\d+)$/.exec(lines.find((line) => line.startsWith("fsmount proc")) ?? "")?.[1];
    expect(lines).toContain(`mask /kcore in ${mount}`);
    expect(lines).toContain(`read-only /sys in ${mount}`);
    expect(lines.some((line) => line.startsWith("read-only /etc in") && line !== `read-only /etc in ${mount}`)).toBe(
      true,
    );
    expect(lines.filter((line) => line === `close ${mount}`)).toHaveLength(1);
  });

  test("a mount that a later one covers is no way to a path", () => {
    const lines = stepsOf({
      spec: (spec) => {
        spec.mounts = [
          { destination: "/data", type: "tmpfs", source: "one" },
          { destination: "/data", type: "tmpfs", source: "two" },
        ];
        paths(["/data/secret"])(spec);
      },
    });
    const second = /as (\d+)/.exec(lines.find((line) => line.includes("source=two")) ?? "")?.[1];
    expect(lines).toContain(`mask /secret in ${second}`);
  });

  test("masks come after every mount and before the change of root", () => {
    const lines = stepsOf({
      spec: (spec) => {
        spec.mounts = [{ destination: "/data", source: "/src", options: ["bind"] }];
        paths(["/data/secret"])(spec);
      },
    });
    const at = (start: string) => lines.findIndex((line) => line.startsWith(start));
    expect(at("mask")).toBeGreaterThan(at("open_tree /src"));
    expect(at("mask")).toBeLessThan(at("pivot_root"));
  });
});
