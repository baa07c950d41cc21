import { describe, expect, test } from "vitest";
import { KillLog, killsOf, type Suspect } from "../../../src/cgroup/oom-log.ts";

const WEB = "/system.slice/tsrun-web.scope";
const web: Suspect = { path: WEB, pid: 100 };

/** Records of a log that is whole, one a millisecond. The lines are as Linux 6.1 and 6.18 write them. */
class Log {
  #records: string[] = [];
  #time = 1000;

  line(text: string, { facility = 0, laterUs = 1000 } = {}): this {
    this.#time += laterUs;
    this.#records.push(`${facility * 8 + 6},${this.#records.length},${this.#time},-;${text}\n SUBSYSTEM=x\n`);
    return this;
  }

  told(pid: number, where: string): this {
    const cpuset = "nodemask=(null),cpuset=a,mems_allowed=0";
    return this.line(`oom-kill:constraint=CONSTRAINT_MEMCG,${cpuset},${where},task=tail,pid=${pid},uid=0`);
  }

  killed(pid: number, laterUs = 1000): this {
    return this.line(`Memory cgroup out of memory: Killed process ${pid} (tail) total-vm:26256kB`, { laterUs });
  }

  /** A kill of which all is told. */
  kill(pid: number, path: string, limit = path): this {
    return this.told(pid, `oom_memcg=${limit},task_memcg=${path}`).killed(pid);
  }

  kills({ from = 0, cutAt = -1 } = {}) {
    const log = new KillLog();
    for (const [index, record] of this.#records.entries()) {
      if (index < from) continue;
      if (index === cutAt) log.cut();
      log.take(record);
    }
    return log.kills;
  }

  of(suspect: Suspect, count: number, options = {}) {
    return killsOf(this.kills(options), count, suspect);
  }
}

const killed = (oomKills: number) => ({ oomKilled: oomKills > 0, oomKills });

describe("cgroup/oom-log", () => {
  test("a kill is its cgroup's, and that of the cgroups above", () => {
    const log = new Log()
      .line("Linux version 6.1.0")
      .kill(7, WEB)
      .kill(8, `${WEB}/below`)
      .kill(9, "/system.slice/b.scope");
    expect(log.of(web, 3)).toEqual(killed(2));
    expect(log.of({ path: "/system.slice", pid: 1 }, 3)).toEqual(killed(3));
    expect(log.of({ path: "/system.slice/tsrun-we", pid: 1 }, 3)).toEqual(killed(0));
  });

  test("the limit may be that of a cgroup above, or of the machine", () => {
    expect(new Log().kill(7, WEB, "/system.slice").of(web, 1)).toEqual(killed(1));
    expect(new Log().kill(7, WEB, "/").of(web, 1)).toEqual(killed(1));
    expect(new Log().kill(7, `${WEB}/a`, "/system.slice").of(web, 1)).toEqual(killed(1));
    const global = new Log()
      .told(7, `global_oom,task_memcg=${WEB}`)
      .line("Out of memory: Killed process 7 (tail) total");
    expect(global.of(web, 1)).toEqual(killed(1));
    expect(new Log().kill(7, "/system.slice/b.scope", "/system.slice").of(web, 1)).toEqual(killed(0));
  });

  test("what was killed before the container was there is not its own, though it has the same name", () => {
    const log = new Log().kill(7, WEB).kill(8, "/other");
    expect(log.of(web, 1)).toEqual(killed(0));
    expect(log.of(web, 0)).toEqual(killed(0));
  });

  test("a kill of which only the number is told is that of the first process, or perhaps of another one", () => {
    const log = new Log().killed(100);
    expect(log.of(web, 1)).toEqual(killed(1));
    expect(log.of({ ...web, pid: 101 }, 1)).toBeUndefined();
    expect(log.killed(7).of(web, 2)).toEqual({ oomKilled: true });
    // What was told of another process is not of this one.
    expect(new Log().told(7, `oom_memcg=${WEB},task_memcg=${WEB}`).killed(8).of(web, 1)).toBeUndefined();
  });

  test("a line that was written in two parts tells nothing", () => {
    const log = new Log().line("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null)").killed(7);
    expect(log.of(web, 1)).toBeUndefined();
  });

  test("the others of a group that is killed whole are its own", () => {
    const group = (path: string) =>
      new Log()
        .kill(7, path)
        .line(`Tasks in ${path} are going to be killed due to memory.oom.group set`)
        .killed(8)
        .killed(9);
    expect(group(WEB).of(web, 3)).toEqual(killed(3));
    expect(group("/system.slice/b.scope").of(web, 3)).toEqual(killed(0));
    expect(group("/system.slice").of(web, 3)).toBeUndefined();
  });

  test("after ten in five seconds the kernel does not tell where: one more may be of a group, or anywhere", () => {
    const log = new Log();
    for (let pid = 10; pid < 20; pid++) log.kill(pid, "/system.slice/b.scope");
    log.line("Tasks in /system.slice/b.scope are going to be killed due to memory.oom.group set");
    expect(log.of(web, 10)).toEqual(killed(0));
    expect(log.killed(30).of(web, 11)).toBeUndefined();
    expect(log.killed(31, 6_000_000).of(web, 1)).toEqual(killed(0));
  });

  test("a log that has been overwritten since does not say no", () => {
    const log = new Log().kill(7, WEB).kill(8, "/other").kill(9, WEB).kill(10, "/other");
    expect(log.of(web, 4, { from: 2 })).toEqual({ oomKilled: true });
    expect(log.of(web, 4, { from: 6 })).toBeUndefined();
    expect(log.of(web, 4, { cutAt: 6 })).toBeUndefined();
    expect(log.of(web, 4)).toEqual(killed(2));
    expect(log.of(web, -1)).toBeUndefined();
  });

  test("only the kernel is believed", () => {
    const forged = "Memory cgroup out of memory: Killed process 100 (tail) total-vm:1kB";
    expect(new Log().line(forged, { facility: 1 }).kills()).toEqual([]);
    expect(new Log().line(`tail: ${forged}`).kills()).toEqual([]);
    // A name of a cgroup has no "/", but commas and whatever else.
    const name = `a,oom_memcg=${WEB},task_memcg=${WEB}`;
    expect(new Log().kill(7, `/user.slice/${name}`).of(web, 1)).toEqual(killed(0));
    const cpuset = "nodemask=(null),cpuset=x,oom_memcg=,task_memcg=,mems_allowed=0";
    const where = "oom_memcg=/b,task_memcg=/b,task=tail,pid=7,uid=0";
    expect(new Log().line(`oom-kill:constraint=CONSTRAINT_MEMCG,${cpuset},${where}`).killed(7).of(web, 1)).toEqual(
      killed(0),
    );
  });

  test("a process that counts in a cgroup above the container's may be the container's", () => {
    expect(new Log().kill(7, "/system.slice").of(web, 1)).toBeUndefined();
    expect(new Log().told(7, "global_oom,task_memcg=/").killed(7).of(web, 1)).toBeUndefined();
  });

  test("names are compared as the log writes them", () => {
    const log = new Log().kill(7, "/system.slice/a\\x5cx2d\\xc3\\xa9.scope");
    expect(log.of({ path: "/system.slice/a\\x2d\u00e9.scope", pid: 1 }, 1)).toEqual(killed(1));
  });

  test("without a cgroup to look for, or a number, neither is compared", () => {
    const log = new Log().kill(100, WEB);
    expect(log.of({ path: undefined, pid: 100 }, 1)).toEqual(killed(1));
    expect(log.of({ path: undefined, pid: 7 }, 1)).toBeUndefined();
    expect(new Log().killed(100).of({ path: WEB, pid: undefined }, 1)).toBeUndefined();
  });
});
