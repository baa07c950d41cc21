import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { enableControllers } from "../../../../src/cgroup/v2/controllers.ts";

const scratch = mkdtempSync(join(tmpdir(), "tsrun-controllers-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Plain files where the kernel would have its own: what is written to them stays. */
function tree(name: string, ...levels: { has: string; hands: string }[]): string[] {
  let dir = join(scratch, name);
  return levels.map(({ has, hands }, i) => {
    if (i > 0) dir = join(dir, "sub");
    mkdirSync(dir, { recursive: true });
    writeFileSync(join(dir, "cgroup.controllers"), `${has}\n`);
    writeFileSync(join(dir, "cgroup.subtree_control"), hands);
    return dir;
  });
}

const written = (dir: string | undefined) => readFileSync(join(dir ?? "", "cgroup.subtree_control"), "utf8");

describe("cgroup/v2/controllers", () => {
  test("all that the top has are handed down, each only where it is not yet", () => {
    const all = "cpuset cpu io memory pids rdma misc";
    const [top, middle, leaf] = tree(
      "all",
      { has: all, hands: all },
      { has: all, hands: "" },
      { has: "cpu pids", hands: "" },
    );
    enableControllers([top, middle, leaf] as string[], [], ["pids"]);
    expect(written(top)).toBe(all);
    expect(written(middle)).toBe("+cpuset +cpu +io +memory +pids +rdma +misc");
    expect(written(leaf)).toBe("");
  });

  test("where the cgroup has all there is nothing to do", () => {
    const dirs = tree("done", { has: "cpu pids", hands: "" }, { has: "cpu pids", hands: "" });
    enableControllers(dirs, [], ["cpu"]);
    expect(dirs.map(written)).toEqual(["", ""]);
  });

  describe("below a cgroup with processes", () => {
    const all = "cpu memory pids";
    function occupied(name: string): string[] {
      const dirs = tree(name, { has: all, hands: all }, { has: all, hands: "" }, { has: "pids", hands: "" });
      writeFileSync(join(dirs[1] as string, "cgroup.type"), "domain\n");
      writeFileSync(join(dirs[1] as string, "cgroup.procs"), "0\n");
      return dirs;
    }

    test("nothing is handed down that nobody asks for, as it would make the cgroup threaded", () => {
      const dirs = occupied("none");
      enableControllers(dirs, [dirs[2] as string], []);
      expect(written(dirs[1])).toBe("");
    });

    test("a limit that works for threads is had, and nothing besides", () => {
      const dirs = occupied("threads");
      enableControllers(dirs, [dirs[2] as string], ["cgroup", "pids"]);
      expect(written(dirs[1])).toBe("+pids");
    });

    test("one that does not, or a cgroup that was there before, leaves it as it is", () => {
      const dirs = occupied("both");
      const create = () => enableControllers(dirs, [dirs[2] as string], ["pids", "memory"]);
      expect(create).toThrow(expect.objectContaining({ fix: expect.stringContaining("has processes of its own") }));
      enableControllers(dirs, [], ["pids"]);
      expect(written(dirs[1])).toBe("");
    });
  });

  test("a needed one that the kernel lacks is told with where", () => {
    const dirs = tree("lacks", { has: "cpu", hands: "cpu" }, { has: "cpu", hands: "" });
    expect(() => enableControllers(dirs, [], ["memory"])).toThrow("controller memory is not available");
    expect(() => enableControllers(dirs, [], ["cgroup"])).not.toThrow();
  });
});
