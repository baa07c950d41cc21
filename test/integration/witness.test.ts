/** A container at its limits leaves the host unharmed: a process beside it keeps answering. */
import { type ChildProcess, spawn as nodeSpawn } from "node:child_process";
import { afterAll, afterEach, beforeAll, describe, expect } from "vitest";
import { type Bundle, makeBundle } from "../helpers/bundle.ts";
import { cgroupFile } from "../helpers/cgroup.ts";
import { runDetached } from "../helpers/container.ts";
import { needs } from "../helpers/needs.ts";
import {
  deleteContainers,
  expectNothingLeft,
  inventory,
  type Leftovers,
  newId,
  run,
  runOk,
  until,
} from "../helpers/runtime.ts";

const own = (...controllers: string[]) => needs({ root: true, tsrun: true, cgroup: ["v1", "v2"], controllers });
const MEGABYTE = 2 ** 20;

/** Slower where the CPU is emulated. */
const ANSWER_MS = process.env.TSRUN_VM === "1" ? 20_000 : 2_000;

/** A shell that forks for each question: it needs a process, memory and the CPU. */
class Witness {
  readonly #shell: ChildProcess;
  #count = 0;
  #answered: (answer: string) => void = () => {};

  constructor() {
    const script = "while read line; do echo $(echo $line); done";
    this.#shell = nodeSpawn("sh", ["-c", script], { stdio: ["pipe", "pipe", "ignore"] });
    this.#shell.stdout?.on("data", (text: Buffer) => this.#answered(text.toString().trim()));
    this.#shell.once("exit", () => this.#answered("the witness has ended"));
  }

  /** How long the answer took, in milliseconds. */
  async ask(): Promise<number> {
    const question = `question ${++this.#count}`;
    const start = performance.now();
    const answer = new Promise<string>((resolve) => {
      this.#answered = resolve;
    });
    this.#shell.stdin?.write(`${question}\n`);
    expect(await answer).toBe(question);
    return performance.now() - start;
  }

  end(): void {
    this.#shell.stdin?.end();
  }
}

let before: Leftovers;
let witness: Witness;
beforeAll(() => {
  before = inventory();
  witness = new Witness();
});
afterEach(deleteContainers);
afterAll(() => {
  witness.end();
  expectNothingLeft(before);
});

function start(bundle: Bundle): string {
  const id = newId();
  const { code, stderr } = runDetached(["run", "-d", "-b", bundle.path, id]);
  if (code !== 0) throw new Error(stderr());
  return id;
}

function limited(script: string, resources: object): Bundle {
  return makeBundle({
    args: ["sh", "-c", script],
    edit: (spec) => {
      spec.linux.resources = { ...spec.linux.resources, ...resources };
    },
  });
}

describe("a host beside a container at its limits", () => {
  own("pids", "cpu")("a fork bomb stays within its processes, and the host forks on", async () => {
    // A copy that cannot fork ends, and another takes its place: the bomb is there for as long as the container.
    const id = start(
      limited("bomb() { while :; do bomb & done; }; bomb 2>/dev/null & exec sleep 1000", {
        pids: { limit: 40 },
        cpu: { quota: 20_000, period: 100_000 },
      }),
    );
    await until(() => Number(cgroupFile(id, "pids", "pids.current", "pids.current")) >= 40, "it is at its limit");
    for (let round = 0; round < 20; round++) {
      expect(Number(cgroupFile(id, "pids", "pids.current", "pids.current"))).toBeLessThanOrEqual(40);
      expect(await witness.ask()).toBeLessThan(ANSWER_MS);
    }
    expect(Number(/^max (\d+)$/m.exec(cgroupFile(id, "pids", "pids.events", "pids.events"))?.[1])).toBeGreaterThan(0);
    runOk(["delete", "--force", id]);
    expect(await witness.ask()).toBeLessThan(ANSWER_MS);
  });

  own("memory", "cpu")(
    "one that takes all the memory it can get dies of it, again and again, and nobody else",
    async () => {
      const limit = 24 * MEGABYTE;
      const id = start(
        limited("while :; do head -c 200m /dev/zero | tail; done 2>/dev/null", {
          memory: { limit, swap: limit },
          cpu: { quota: 50_000, period: 100_000 },
        }),
      );
      const kills = () =>
        Number(/^oom_kill (\d+)$/m.exec(cgroupFile(id, "memory", "memory.oom_control", "memory.events"))?.[1]);
      await until(() => kills() >= 2, "it is killed twice", 20_000);
      for (let round = 0; round < 10; round++) expect(await witness.ask()).toBeLessThan(ANSWER_MS);
      const peak = Number(cgroupFile(id, "memory", "memory.max_usage_in_bytes", "memory.peak"));
      expect(peak).toBeLessThanOrEqual(limit);
      // Its first process was not the one to go.
      expect(JSON.parse(runOk(["state", id])).status).toBe("running");
      runOk(["kill", id, "KILL"]);
      await until(() => JSON.parse(runOk(["state", id])).status === "stopped", "it ends");
      expect(JSON.parse(runOk(["state", id])).exit).toMatchObject({ oomKilled: true });
      runOk(["delete", id]);
    },
  );

  own("memory")("files in a tmpfs count too: one that fills /dev/shm is stopped by its limit", async () => {
    const limit = 24 * MEGABYTE;
    const id = newId();
    const bundle = limited("dd if=/dev/zero of=/dev/shm/file bs=1M count=60", { memory: { limit, swap: limit } });
    const result = run(["run", "--keep", "-b", bundle.path, id]);
    expect(result.code).not.toBe(0);
    expect(JSON.parse(runOk(["state", id])).exit).toMatchObject({ oomKilled: true });
    expect(await witness.ask()).toBeLessThan(ANSWER_MS);
    runOk(["delete", id]);
  });
});
