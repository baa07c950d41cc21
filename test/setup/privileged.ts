/**
 * Runs before the integration and conformance suites. A container runtime run as root can delete the
 * machine it runs on, so these tests refuse to run as root where the machine is writable.
 */
import { removeStaleCgroups } from "../helpers/leftovers.ts";

export default function setup(): void {
  const isRoot = process.getuid?.() === 0;
  const isSafe = process.env.TSRUN_SANDBOX === "1" || process.env.TSRUN_VM === "1";
  if (isRoot && !isSafe) {
    throw new Error("as root these tests run in the sandbox: npm run test:integration [-- FILTER]");
  }
  if (isRoot) removeStaleCgroups();
}
