/**
 * A process of the container may signal whatever comes into its pid namespace, an exec that is being set up too. It can
 * end that one, and nothing of it is forgotten. Who is stopped: test/unit/runtime/next-message.test.ts.
 */
import { readFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { execProcess } from "../../../src/index.ts";
import { withAttacker } from "../../helpers/attacker.ts";
import { busyboxRootfs, makeBundle } from "../../helpers/bundle.ts";
import { startContainer } from "../../helpers/container.ts";
import { needs } from "../../helpers/needs.ts";
import { runOk, stateOf, until } from "../../helpers/runtime.ts";

/** The attacker is seldom quicker than the first message: of 40 of them three were. */
const EXECS = 100;

describe("a process of the container that kills whoever comes", () => {
  const hostile = needs({ root: true, tsrun: true, compiled: "attacker", native: true });

  hostile("leaves nobody behind whom the program that executed it does not wait for", async () => {
    const bundle = makeBundle({
      args: ["attacker", "kill"],
      rootfs(path) {
        busyboxRootfs(path);
        withAttacker(path);
      },
    });
    const { id, waitFor } = startContainer(bundle);
    await waitFor("waiting");
    const children = () => readFileSync(`/proc/self/task/${process.pid}/children`, "utf8");
    const earlier = children();
    const errors = new Set<string>();
    for (let i = 0; i < EXECS; i++) {
      await execProcess({ id, args: ["true"] }).catch(({ message }: Error) => errors.add(message));
    }
    expect([...errors]).toEqual(["the container's process was killed by SIGKILL while it was being set up"]);
    expect(children()).toBe(earlier);
    // A pid namespace ends when each of its processes was waited for.
    runOk(["kill", id, "KILL"]);
    await until(() => stateOf(id)?.status === "stopped", "the container has ended");
    runOk(["delete", id]);
  });
});
