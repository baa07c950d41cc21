import { describe, expect, test } from "vitest";
import { planOf, stepsOf } from "./helpers.ts";

const parameters = { notifyDirectory: "/run/tsrun/web/notify" };
const environment = (plan: ReturnType<typeof planOf>) => plan.steps.at(-1)?.args[1] as string[];

describe("plan/notify", () => {
  test("who has rights over the machine mounts it on the host's side", () => {
    const wanted = { parameters, host: { privileged: true } };
    expect(planOf(wanted).inherit.map(({ name }) => name)).toContain("notify");
    const [target, attach] = stepsOf(wanted, "NOTIFY_SOCKET");
    expect(target).toMatch(/^target \/run\/notify in \d+, directory/);
    expect(attach).toMatch(/^move_mount/);
  });

  test("who has none mounts it inside, by its path, with nothing to be written or executed", () => {
    const wanted = { parameters, host: { privileged: false } };
    expect(planOf(wanted).inherit.map(({ name }) => name)).not.toContain("notify");
    const [tree, attributes] = stepsOf(wanted, "NOTIFY_SOCKET");
    expect(tree).toMatch(/^open_tree \/run\/tsrun\/web\/notify as \d+$/);
    expect(attributes).toMatch(/set rdonly,nosuid,nodev,noexec$/);
  });

  test("the process is told of it, in place of what its config says", () => {
    const wanted = {
      parameters,
      spec: ({ process }: { process: { env?: string[] } }) => void process.env?.push("NOTIFY_SOCKET=/x"),
    };
    expect(environment(planOf(wanted)).filter((entry) => entry.startsWith("NOTIFY_SOCKET"))).toEqual([
      "NOTIFY_SOCKET=/run/notify/notify.sock",
    ]);
  });

  test("nothing of it when nobody waits", () => {
    expect(stepsOf({}, "NOTIFY_SOCKET")).toEqual([]);
    expect(environment(planOf()).filter((entry) => entry.startsWith("NOTIFY_SOCKET"))).toEqual([]);
  });
});
