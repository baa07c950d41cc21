/** A process that is cloned into a frozen v2 cgroup stands still before its first instruction. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { spawnInit } from "../../../src/init/spawn.ts";
import { PlanBuilder } from "../../../src/plan/builder.ts";
import { converse } from "../../../src/runtime/converse.ts";
import { O_PATH } from "../../../src/sys/constants.ts";
import { close, open } from "../../../src/sys/file.ts";
import { needs } from "../../helpers/needs.ts";
import { newId } from "../../helpers/runtime.ts";

const TOP = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].find((dir) => existsSync(`${dir}/cgroup.controllers`)) ?? "";

describe("born into a frozen cgroup", () => {
  const unified = needs({ root: true, tsrun: true, files: [`${TOP}/cgroup.controllers`] });

  unified("it is known all the same, and ended when nobody wants to wait", () => {
    const dir = `${TOP}/${newId()}`;
    mkdirSync(dir);
    const fd = open(dir, O_PATH);
    try {
      writeFileSync(`${dir}/cgroup.freeze`, "1");
      const b = new PlanBuilder(3);
      for (const name of ["sync", "plan"]) b.inherit(name);
      b.add("test", "clone", 0, b.inherit("cgroup"));
      b.add("test", "await", 2);
      const plan = b.plan();
      const init = spawnInit({ plan, fds: new Map([["cgroup", fd]]), preserved: 0 });
      let born = 0;
      const onSilence = () => {
        expect(readFileSync(`${dir}/cgroup.procs`, "utf8")).toBe(`${born}\n`);
        throw new Error("nobody waits");
      };
      const onPid = (pid: number) => {
        born = pid;
      };
      expect(() => converse({ init, plan, onPid, onSilence })).toThrow("nobody waits");
      init.sync[Symbol.dispose]();
      expect(readFileSync(`${dir}/cgroup.procs`, "utf8")).toBe("");
      expect(existsSync(`/proc/${born}`)).toBe(false);
    } finally {
      close(fd);
      rmdirSync(dir);
    }
  });
});
