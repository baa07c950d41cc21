/** What the tests of spec/ share: a valid config to start from, and a host. */
import type { Host } from "../../../src/host.ts";
import { defaultSpec } from "../../../src/spec/defaults.ts";
import { inspect } from "../../../src/spec/validate.ts";

/** The default config, with what `change` does to it. Typed loosely: most tests put something wrong in. */
// biome-ignore lint/suspicious/noExplicitAny: a config that is wrong has no type
export function config(change: (spec: any) => void = () => {}): unknown {
  const spec = defaultSpec();
  change(spec);
  return spec;
}

/** The problems of the default config after `change`, one line each. */
// biome-ignore lint/suspicious/noExplicitAny: a config that is wrong has no type
export function problemsOf(change: (spec: any) => void): string[] {
  return inspect(config(change)).problems.map(({ path, message }) => `${path}: ${message}`);
}

// biome-ignore lint/suspicious/noExplicitAny: a config that is wrong has no type
export function warningsOf(change: (spec: any) => void): string[] {
  return inspect(config(change)).warnings.map(({ path, message }) => `${path}: ${message}`);
}

export const HOST: Host = {
  kernel: [6, 18],
  privileged: true,
  euid: 0,
  egid: 0,
  cgroup: "v2",
  userns: false,
  hardLimits: {},
  scheduling: { nice: 0, priority: 0 },
  mayHaveOomScore: (score) => score >= 0,
  apparmor: true,
  selinux: false,
  hasKcore: true,
  ownIds: { uids: [{ first: 0, count: 4294967295 }], gids: [{ first: 0, count: 4294967295 }] },
  subordinate: { uids: [], gids: [], hasPrograms: true, isComplete: true },
  lastCap: 40,
  capabilities: 2n ** 41n - 1n,
};
