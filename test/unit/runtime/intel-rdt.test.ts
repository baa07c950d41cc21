import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmdirSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import {
  createRdt,
  joinAllRdt,
  joinRdt,
  planRdt,
  removeRdt,
  schemata,
  updateRdt,
} from "../../../src/runtime/intel-rdt.ts";

/** As resctrl is, but that the kernel makes the files of a group, and takes them away with it. */
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "tsrun-resctrl-"));
  mkdirSync(join(root, "mon_groups"));
  mkdirSync(join(root, "info"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function makeClass(name: string, text: string): string {
  mkdirSync(join(root, name, "mon_groups"), { recursive: true });
  writeFileSync(join(root, name, "schemata"), text);
  writeFileSync(join(root, name, "tasks"), "");
  return join(root, name);
}

const content = (...path: string[]) => readFileSync(join(root, ...path), "utf8");

/** Removes the files of a group first, as rmdir(2) does there. */
function remove(record: Parameters<typeof removeRdt>[0], ...files: string[]): void {
  for (const file of files) unlinkSync(join(root, file));
  removeRdt(record);
}

describe("runtime/intel-rdt", () => {
  test("who asks for nothing needs no resctrl", () => {
    expect(planRdt("web", undefined)).toBeUndefined();
    expect(planRdt("web", { closID: "", schemata: [], enableMonitoring: false })).toBeUndefined();
  });

  test("without an id of its own the group is named as the container, and goes with it", () => {
    const rdt = { l3CacheSchema: "L3:0=ff" };
    const record = planRdt("web", rdt, root);
    if (record === undefined) throw new Error("there is no plan");
    expect(record).toEqual({ group: join(root, "web"), isOurs: true });
    expect(existsSync(record.group)).toBe(false);
    createRdt(record, rdt);
    joinRdt(record, 42);
    expect(content("web/schemata")).toBe("L3:0=ff\n");
    expect(content("web/tasks")).toBe("42");
    remove(record, "web/schemata", "web/tasks");
    expect(existsSync(record.group)).toBe(false);
    removeRdt(record);
  });

  test("a class of service that is there is joined as it is, and stays", () => {
    makeClass("gold", "    L3:0=00ff;1=00ff\n    MB:0= 50;1=100\n");
    const record = planRdt("web", { closID: "gold" }, root);
    if (record === undefined) throw new Error("there is no plan");
    createRdt(record, { closID: "gold" });
    joinRdt(record, 42);
    expect(content("gold/tasks")).toBe("42");
    removeRdt(record);
    expect(existsSync(record.group)).toBe(true);
    expect(() => updateRdt(record, { l3CacheSchema: "L3:0=1" })).toThrow("was not made for this container");
  });

  test("its shares must be those asked for, however the kernel writes them", () => {
    makeClass("gold", "    L3:0=00ff;1=00ff\n    MB:0= 50;1=100\n");
    const plan = (more: object) => () => planRdt("web", { closID: "gold", ...more }, root);
    expect(plan({ l3CacheSchema: "L3:0=FF;1=ff", memBwSchema: "MB:0=50" })()).toMatchObject({ isOurs: false });
    expect(plan({ schemata: ["MB:1=100"] })()).toMatchObject({ isOurs: false });
    expect(plan({ l3CacheSchema: "L3:1=f" })).toThrow("class of service gold has L3:1=ff, not f");
    expect(plan({ schemata: ["L2:0=f"] })).toThrow("class of service gold has L2:0=(nothing), not f");
  });

  test("one that is not there is made when its shares are said, and else refused", () => {
    expect(() => planRdt("web", { closID: "silver" }, root)).toThrow("resctrl has no class of service silver");
    const rdt = { closID: "silver", schemata: ["L3:0=f", "MB:0=10"] };
    const record = planRdt("web", rdt, root);
    if (record === undefined) throw new Error("there is no plan");
    createRdt(record, rdt);
    expect(content("silver/schemata")).toBe("L3:0=f\nMB:0=10\n");
    // Somebody else has joined it: it stays.
    writeFileSync(join(record.group, "tasks"), `${process.pid}\n`);
    removeRdt(record);
    expect(existsSync(record.group)).toBe(true);
    // Nobody has: no process has this id.
    writeFileSync(join(record.group, "tasks"), "4194305\n");
    unlinkSync(join(record.group, "schemata"));
    expect(() => removeRdt(record)).toThrow("ENOTEMPTY");
    unlinkSync(join(record.group, "tasks"));
    removeRdt(record);
    expect(existsSync(record.group)).toBe(false);
  });

  test('"/" is the class that everything is in', () => {
    writeFileSync(join(root, "schemata"), "L3:0=ff\n");
    expect(planRdt("web", { closID: "/" }, root)).toEqual({ group: root, isOurs: false, isNamed: true });
  });

  test("monitoring has a group of its own in the class of service, which is removed again", () => {
    makeClass("gold", "L3:0=ff\n");
    const rdt = { closID: "gold", enableMonitoring: true };
    const record = planRdt("web", rdt, root);
    if (record === undefined) throw new Error("there is no plan");
    expect(record.monitor).toBe(join(root, "gold/mon_groups/web"));
    createRdt(record, rdt);
    joinRdt(record, 7);
    expect([content("gold/tasks"), content("gold/mon_groups/web/tasks")]).toEqual(["7", "7"]);
    remove(record, "gold/mon_groups/web/tasks");
    expect(existsSync(join(root, "gold/mon_groups/web"))).toBe(false);
    rmdirSync(join(root, "gold/mon_groups"));
    expect(() => createRdt(record, rdt)).toThrow("this machine cannot monitor");
  });

  test("a bandwidth in the cache schema gives way to the one that is said", () => {
    const l3CacheSchema = "L3:0=f\nMB:0=10\n";
    expect(schemata({ l3CacheSchema })).toEqual(["L3:0=f", "MB:0=10"]);
    expect(schemata({ l3CacheSchema, memBwSchema: "MB:0=20" })).toEqual(["L3:0=f", "MB:0=20"]);
    expect(schemata({ memBwSchema: "MB:0=20", schemata: ["L3:0=1"] })).toEqual(["MB:0=20", "L3:0=1"]);
  });

  test("what the kernel says of a refusal is passed on", () => {
    const group = makeClass("web", "L3:0=ff\n");
    const record = planRdt("web", { l3CacheSchema: "L3:0=5" }, root);
    if (record === undefined) throw new Error("there is no plan");
    writeFileSync(join(root, "info/last_cmd_status"), "mask 5 has non-consecutive 1-bits\n");
    unlinkSync(join(group, "schemata"));
    mkdirSync(join(group, "schemata"));
    expect(() => createRdt(record, { l3CacheSchema: "L3:0=5" })).toThrow(
      `write "L3:0=5" to ${group}/schemata: the kernel says: mask 5 has non-consecutive 1-bits`,
    );
  });

  test("every thread of a process joins", () => {
    const group = makeClass("web", "");
    joinAllRdt({ group, isOurs: true }, [process.pid, 4194305]);
    // One write a thread; in a file the last one is seen.
    expect(existsSync(`/proc/${process.pid}/task/${content("web/tasks")}`)).toBe(true);
  });
});
