/** What the tests of plan/ share: a container made of the default config, and its plan in words. */
import type { Host } from "../../../src/host.ts";
import { describeStep } from "../../../src/plan/describe.ts";
import { type PlanParameters, planContainer } from "../../../src/plan/order.ts";
import type { Plan } from "../../../src/plan/step.ts";
import type { ContainerSpec, RuntimeOptions } from "../../../src/spec/container.ts";
import { defaultSpec } from "../../../src/spec/defaults.ts";
import { resolve } from "../../../src/spec/resolve.ts";
import type { Spec } from "../../../src/spec/types.ts";
import { HOST } from "../spec/helpers.ts";

/** The default config has these sections, so a test need not ask whether they are there. */
export type FullSpec = Spec & Required<Pick<Spec, "process" | "root" | "mounts" | "linux">>;

export interface Case {
  /** Changes the default config, which has no mounts here. */
  spec?: (spec: FullSpec) => void;
  options?: Partial<RuntimeOptions>;
  host?: Partial<Host>;
  parameters?: Partial<PlanParameters>;
}

export function containerOf({ spec: change, options, host }: Case = {}): ContainerSpec {
  const spec = defaultSpec() as FullSpec;
  spec.mounts = [];
  spec.linux.maskedPaths = [];
  spec.linux.readonlyPaths = [];
  spec.process.terminal = false;
  spec.root.readonly = false;
  change?.(spec);
  return resolve(spec, { id: "web", bundle: "/bundle", ...options }, { ...HOST, ...host });
}

export const PARAMETERS: PlanParameters = {
  cgroupDirectory: false,
  cgroupReused: false,
  cgroupBySystemd: false,
  cgroupTasks: [],
  cgroupViews: [],
  rootMounted: false,
  rootParent: "/",
  hostKernelMounts: [],
  farSources: [],
  sourceLinks: new Map(),
  setgroups: true,
  waitForStart: false,
  home: "/root",
  seccomp: undefined,
};

export function planOf(wanted: Case = {}): Plan {
  return planContainer(containerOf(wanted), { ...PARAMETERS, ...wanted.parameters });
}

/** The steps in words; those that belong to a part of config.json when `about` is given. */
export function stepsOf(wanted: Case, about?: string): string[] {
  return linesOf(planOf(wanted), about);
}

export function linesOf({ steps }: Plan, about?: string): string[] {
  return steps.filter((step) => about === undefined || step.about.startsWith(about)).map(describeStep);
}
