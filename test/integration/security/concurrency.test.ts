/** Many callers at once: of one container, of one root, of one store. What each does is done whole or said not to be. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { BUSYBOX, type Bundle, makeBundle } from "../../helpers/bundle.ts";
import { createContainer, sleepingBundle } from "../../helpers/container.ts";
import { missing, needs } from "../../helpers/needs.ts";
import { type Call, call, faultOf, Random, randomCall } from "../../helpers/random-life.ts";
import {
  expectNothingLeft,
  inventory,
  newId,
  processesNamed,
  ROOT,
  run,
  runOk,
  stateOf,
  until,
} from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";
import { makeTar } from "../../helpers/tar.ts";

const root = (name: string, body: () => unknown) => needs({ root: true, tsrun: true })(name, body, 300_000);
const SEED = Number(process.env.TSRUN_FUZZ_SEED ?? Date.now() % 2 ** 31);

function layered(): Bundle {
  return sleepingBundle({ edit: (spec) => (spec.annotations = { "org.tsrun.overlay": "true" }) });
}

function expectNoFault(calls: readonly Call[]): void {
  expect(calls.map(faultOf).filter((fault) => fault !== undefined)).toEqual([]);
}

async function expectGone(ids: readonly string[]): Promise<void> {
  for (const id of ids) {
    expect(run(["delete", "--force", id]), id).toMatchObject({ code: 0, stderr: "" });
    await until(() => processesNamed(id).length === 0, `what is left of ${id} ends`);
  }
}

describe("calls for one container at once", () => {
  root("start, exec, kill, pause, state and delete: each is done or says why not, and nothing is left", async () => {
    const before = inventory();
    const bundle = layered();
    for (let round = 0; round < 12; round++) {
      const { id } = createContainer(bundle);
      const verbs = [
        ["start"],
        ["exec", "ID", "true"],
        ["kill", "ID", "KILL"],
        ["pause"],
        ["resume"],
        ["state"],
        ["list"],
        ["delete", "--force"],
      ];
      const calls = await Promise.all(
        verbs.map((words) =>
          call(
            words.includes("ID")
              ? words.map((w) => (w === "ID" ? id : w))
              : [...words, ...(words[0] === "list" ? [] : [id])],
          ),
        ),
      );
      expectNoFault(calls);
      await expectGone([id]);
    }
    expectNothingLeft(before);
  });

  root("eight starts: one is the start, and the process runs once", async () => {
    const bundle = makeBundle({ args: ["sh", "-c", "echo started >> /count; exec sleep 1000"] });
    const { id } = createContainer(bundle);
    const calls = await Promise.all(Array.from({ length: 8 }, () => call(["start", id])));
    expectNoFault(calls);
    expect(calls.filter(({ code }) => code === 0)).toHaveLength(1);
    await until(() => run(["exec", id, "cat", "/count"]).stdout !== "", "it runs");
    expect(runOk(["exec", id, "cat", "/count"])).toBe("started\n");
    await expectGone([id]);
  });

  root("eight deletes: the container is removed, and no caller fails for another's work", async () => {
    const before = inventory();
    for (let round = 0; round < 5; round++) {
      const { id } = createContainer(layered());
      const calls = await Promise.all(Array.from({ length: 8 }, () => call(["delete", "--force", id])));
      expect(calls.map(({ code, stderr }) => `${code} ${stderr}`)).toEqual(calls.map(() => "0 "));
      expect(stateOf(id)).toBeUndefined();
    }
    expectNothingLeft(before);
  });

  root(`anything by six callers, some killed: afterwards everything can be removed (seed ${SEED})`, async () => {
    const before = inventory();
    const random = new Random(SEED);
    const path = layered().path;
    const ids = [newId(), newId(), newId()];
    const end = Date.now() + 20_000;
    const worker = async () => {
      while (Date.now() < end) {
        const args = randomCall(random, random.of(ids), path);
        if (random.below(8) === 0) await call(args, { killAfterMs: random.below(15) });
        else expectNoFault([await call(args)]);
      }
    };
    await Promise.all(Array.from({ length: 6 }, worker));
    await expectGone(ids);
    expectNothingLeft(before);
  });
});

describe("two programs with one root", () => {
  const other = join(ROOT, "dist/tsrun-bun");
  const both = missing({ files: [other] }) === undefined;

  root("each knows and removes what the other has made, and one id is made once", async () => {
    expect(both).toBe(true);
    const before = inventory();
    const states = scratch("states");
    const path = layered().path;
    const runtimes = [undefined, other];
    for (let round = 0; round < 4; round++) {
      const id = newId();
      const creates = await Promise.all(
        Array.from({ length: 10 }, (_, i) =>
          call(["--root", states, "create", "-b", path, id], { ...(i % 2 === 1 && { runtime: other }) }),
        ),
      );
      expectNoFault(creates);
      expect(creates.filter(({ code }) => code === 0)).toHaveLength(1);
      const use = async (args: string[], i: number) => {
        const runtime = runtimes[(round + i) % 2];
        const done = await call(["--root", states, ...args], runtime === undefined ? {} : { runtime });
        expect(done).toMatchObject({ code: 0, stderr: "" });
      };
      await use(["start", id], 0);
      await use(["exec", id, "true"], 1);
      await use(["kill", id, "KILL"], 1);
      await use(["delete", "--force", id], 0);
    }
    expectNothingLeft(before);
  });
});

describe("one store", () => {
  root(
    "imported to, committed to, run from and cleaned by many at once: every image is whole, and gc takes nothing in use",
    async () => {
      const before = inventory();
      const dir = scratch("shared");
      const store = join(dir, "store");
      const { readFileSync } = await import("node:fs");
      const busybox = readFileSync(BUSYBOX);
      const tar = (i: number) => {
        const path = join(dir, `${i}.tar`);
        writeFileSync(
          path,
          makeTar([
            { name: "bin/" },
            { name: "bin/sh", mode: 0o755, content: busybox },
            { name: "which", content: `${i}\n` },
          ]),
        );
        return path;
      };
      const at = ["--store", store];
      runOk(["image", "import", "-q", ...at, tar(0), "base"]);
      const names = [1, 2, 3, 4];
      const jobs = [
        ...names.flatMap((i) => {
          const path = tar(i);
          return [
            ["image", "import", "-q", ...at, path, `n${i}`],
            ["image", "import", "-q", ...at, path, `again${i}`],
          ];
        }),
        ...Array.from({ length: 6 }, () => [
          "run",
          ...at,
          "--image",
          "base",
          "--",
          "/bin/sh",
          "-c",
          "read x < /which; test $x = 0 && echo y > /written",
        ]),
        ...Array.from({ length: 4 }, () => ["layer", "gc", ...at]),
        ...Array.from({ length: 3 }, () => ["image", "list", ...at]),
      ];
      // In an order that is no order: three of each kind are at work at any time.
      const calls = await Promise.all(
        jobs.sort((a, b) => (a.join().length % 7) - (b.join().length % 7)).map((args) => call(args)),
      );
      expect(calls.filter(({ code }) => code !== 0)).toEqual([]);
      expect(runOk(["layer", "check", ...at])).toBe("");
      for (const i of names) {
        for (const name of [`n${i}`, `again${i}`]) {
          const { code, stderr } = run([
            "run",
            ...at,
            "--image",
            name,
            "--",
            "/bin/sh",
            "-c",
            `read x < /which; test $x = ${i}`,
          ]);
          expect({ name, code, stderr }).toEqual({ name, code: 0, stderr: "" });
        }
      }
      expectNothingLeft(before);
    },
  );
});
