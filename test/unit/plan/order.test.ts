import { describe, expect, test } from "vitest";
import { AWAIT, OPS } from "../../../src/plan/step.ts";
import { type Case, planOf } from "./helpers.ts";

const FULL: Case = {
  options: { detach: true, consoleSocket: "/s", preserveFds: 1 },
  parameters: {
    cgroupTasks: ["memory"],
    waitForStart: true,
    seccomp: { flags: 0, program: new Uint8Array(8) },
  },
  spec: (spec) => {
    spec.process.terminal = true;
    spec.process.oomScoreAdj = 1;
    spec.root.readonly = true;
    spec.mounts.push({ destination: "/data", source: "/src", options: ["rbind", "ro", "rslave"] });
    spec.linux.sysctl = { "net.ipv4.ip_forward": "1" };
    spec.linux.maskedPaths = ["/x"];
    spec.linux.readonlyPaths = ["/y"];
    spec.linux.rootfsPropagation = "rslave";
  },
};

describe("plan/order", () => {
  test("root, mounts, devices, terminal, masks, sysctls, change of root, limits, credentials, exec", () => {
    const abouts = planOf(FULL).steps.map(({ about }) => about.split(" ")[0] ?? "");
    const order = [
      "linux.namespaces",
      "root.path",
      "mounts[0]",
      "linux.devices",
      "process.terminal",
      "linux.readonlyPaths",
      "linux.maskedPaths",
      "linux.sysctl",
      "root.readonly",
      "process.user.umask",
      "process.capabilities.bounding",
      "linux.seccomp",
    ];
    const places = order.map((about) => abouts.indexOf(about));
    expect(places).not.toContain(-1);
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });

  test("every step has the arguments that its operation takes", () => {
    for (const { op, args } of planOf(FULL).steps) {
      expect(args.map(kind), op).toEqual([...OPS[op]].map((letter) => (letter === "u" ? "n" : letter)));
    }
  });

  test("what is opened is opened once, used after that, and closed or inherited", () => {
    const { steps, inherit } = planOf(FULL);
    const open = new Set(inherit.map(({ fd }) => fd));
    for (const { op, args } of steps) {
      const fd = args[0] as number;
      if (["open", "openIn", "openTree", "fsmount", "fsmountLike", "target", "pty"].includes(op)) {
        expect(open.has(fd), `${op} ${fd}`).toBe(false);
        open.add(fd);
      } else if (op === "close") {
        expect(open.delete(fd), `close ${fd}`).toBe(true);
      }
    }
  });

  test("with --detach or create the process waits for start as the last thing before its execution", () => {
    const { steps, inherit } = planOf(FULL);
    const fd = inherit.find(({ name }) => name === "start")?.fd;
    const at = steps.findIndex(({ op }) => op === "awaitStart");
    expect(steps[at]?.args).toEqual([fd]);
    expect(steps.slice(at + 1).every(({ about }) => about === "process.args" || about === "linux.seccomp")).toBe(true);
    expect(planOf({}).steps.some(({ op }) => op === "awaitStart")).toBe(false);
  });

  test("what ends a container that waits for its start is heeded before anybody is told of it", () => {
    const { steps } = planOf(FULL);
    const at = steps.findIndex(({ op }) => op === "endOnSignals");
    // SIGHUP, SIGINT, SIGQUIT, SIGTERM.
    expect(steps[at]?.args).toEqual([0x4007n]);
    expect(at).toBeLessThan(steps.findIndex(({ op, args }) => op === "await" && args[0] === AWAIT.READY));
  });

  test("every step says what asked for it", () => {
    expect(planOf(FULL).steps.filter(({ about }) => about === "")).toEqual([]);
  });
});

function kind(arg: unknown): string {
  if (arg instanceof Uint8Array) return "b";
  if (Array.isArray(arg)) return "l";
  return typeof arg === "string" ? "s" : "n";
}
