import { execFileSync } from "node:child_process";
/**
 * Lifecycles by the thousand, and random operations of several callers: nothing may be left of them, and nothing may
 * grow. `npm run test:soak -- --minutes=3`; see CONTRIBUTING.md.
 *
 * TSRUN_SOAK_MINUTES is the time for all of it, TSRUN_SOAK_LIFECYCLES how many lifecycles at most, TSRUN_SOAK_SEED
 * chooses the random operations: those of a failure are found again with its seed.
 */
import { readdirSync, readFileSync, statfsSync } from "node:fs";
import { describe, expect } from "vitest";
import { type Bundle, makeBundle } from "../helpers/bundle.ts";
import { needs } from "../helpers/needs.ts";
import { call, faultOf, Random, randomCall } from "../helpers/random-life.ts";
import { expectNothingLeft, inventory, newId, processesNamed, run, until } from "../helpers/runtime.ts";
import { TEST_PREFIX } from "../helpers/scratch.ts";

const MINUTES = Number(process.env.TSRUN_SOAK_MINUTES ?? 2);
const LIFECYCLES = Number(process.env.TSRUN_SOAK_LIFECYCLES ?? Number.POSITIVE_INFINITY);
const SEED = Number(process.env.TSRUN_SOAK_SEED ?? Date.now() % 2 ** 31);
const HALF_MS = (MINUTES * 60_000) / 2;
/** How many lifecycles go by between two looks at what is left. */
const ROUND = 100;
const WORKERS = 4;

/** What a container can have made for it. */
function bundle(args: string[]): Bundle {
  return makeBundle({
    args,
    edit: (spec) => {
      spec.annotations = { "org.tsrun.overlay": "true" };
      spec.linux.resources = { ...spec.linux.resources, pids: { limit: 50 } };
      spec.hooks = { poststop: [{ path: "/bin/true" }] };
    },
  });
}

/** What grows when something is forgotten that no list shows. */
function figures(): Record<string, number> {
  const { files, ffree, blocks, bfree, bsize } = statfsSync("/run");
  return {
    descriptors: readdirSync("/proc/self/fd").length,
    mounts: readFileSync("/proc/self/mountinfo", "utf8").split("\n").length,
    "inodes of /run": files - ffree,
    "kilobytes of /run": ((blocks - bfree) * bsize) / 1024,
    // The store can share its file system with the log of the machine, which grows by 8 MiB at a time.
    "inodes of the store": used("/var/lib/tsrun", "--inodes"),
    "kilobytes of the store": used("/var/lib/tsrun", "--block-size=1K"),
  };
}

function used(path: string, unit: string): number {
  const printed = execFileSync("du", ["--summarize", "--one-file-system", unit, path], { encoding: "utf8" });
  return Number.parseInt(printed, 10);
}

/** One life, by one of the ways that callers take. */
async function live(random: Random, short: Bundle, long: Bundle, id: string): Promise<string | undefined> {
  const ways: string[][][] = [
    [["run", "-b", short.path, id]],
    [
      ["run", "-d", "-b", long.path, id],
      ["exec", id, "true"],
      ["delete", "--force", id],
    ],
    [
      ["create", "-b", long.path, id],
      ["delete", id],
    ],
    [
      ["create", "-b", long.path, id],
      ["start", id],
      ["state", id],
      ["kill", id, "KILL"],
      ["delete", "--force", id],
    ],
    [
      ["create", "-b", long.path, id],
      ["start", id],
      ["pause", id],
      ["resume", id],
      ["delete", "--force", id],
    ],
    [
      ["run", "-d", "-b", short.path, id],
      ["delete", "--force", id],
    ],
  ];
  for (const args of random.of(ways)) {
    const done = await call(args);
    // The process of `short` may have ended, which only the foreground has as an exit code.
    if (done.code !== 0) return `tsrun ${args.join(" ")}: ${done.signal ?? done.code}: ${done.stderr}`;
  }
  return undefined;
}

describe(`for ${MINUTES} minutes (seed ${SEED})`, () => {
  const root = (name: string, body: () => unknown) => needs({ root: true, tsrun: true })(name, body, HALF_MS + 600_000);

  root("lifecycles leave nothing, and nothing grows", async () => {
    const before = inventory();
    const random = new Random(SEED);
    const [short, long] = [bundle(["true"]), bundle(["sleep", "1000"])];
    const end = Date.now() + HALF_MS;
    let begun = 0;
    let lives = 0;
    let first: Record<string, number> | undefined;
    while (lives < LIFECYCLES && Date.now() < end) {
      let left = Math.min(ROUND, LIFECYCLES - lives);
      const worker = async () => {
        while (left-- > 0 && Date.now() < end) {
          expect(await live(random, short, long, `${TEST_PREFIX}-life${++begun}`)).toBeUndefined();
          lives++;
        }
      };
      await Promise.all(Array.from({ length: WORKERS }, worker));
      expectNothingLeft(before);
      // The first round makes what stays: the directories of the store, and of the root of states.
      first ??= figures();
      const now = figures();
      for (const [name, count] of Object.entries(first)) {
        expect(now[name], `${name} after ${lives} lives`).toBeLessThanOrEqual(count + 16);
      }
    }
    console.log(`${lives} lives: ${JSON.stringify({ first, last: figures() })}`);
    expect(lives).toBeGreaterThan(0);
  });

  root("random operations, some of them killed, leave what can be removed", async () => {
    const before = inventory();
    const random = new Random(SEED);
    const { path } = bundle(["sleep", "1000"]);
    const ids = Array.from({ length: 4 }, () => newId());
    const end = Date.now() + HALF_MS;
    let operations = 0;
    let killed = 0;
    while (Date.now() < end) {
      const pause = Math.min(end, Date.now() + 20_000);
      const worker = async () => {
        while (Date.now() < pause) {
          const args = randomCall(random, random.of(ids), path);
          operations++;
          if (random.below(10) === 0) {
            killed++;
            await call(args, { killAfterMs: random.below(20) });
          } else {
            expect(faultOf(await call(args)), `operation ${operations}`).toBeUndefined();
          }
        }
      };
      await Promise.all(Array.from({ length: WORKERS }, worker));
      for (const id of ids) {
        expect(run(["delete", "--force", id]), id).toMatchObject({ code: 0, stderr: "" });
        await until(() => processesNamed(id).length === 0, `what is left of ${id} ends`);
      }
      expectNothingLeft(before);
    }
    console.log(`${operations} operations, ${killed} of them killed`);
    expect(operations).toBeGreaterThan(0);
  });
});
