/** `plan`: what `run` would do, without root and without touching anything. */
import { planContainer as planSteps } from "../plan/order.ts";
import type { Plan } from "../plan/step.ts";
import { newId } from "./id.ts";
import type { PlanOptions } from "./options.ts";
import { loadContainer, planParameters } from "./prepare.ts";

/** @throws SpecError */
export function planContainer(options: PlanOptions): Plan {
  const loaded = loadContainer({ ...options, id: options.id ?? newId() });
  const { container } = loaded;
  const hasHome = container.spec.process.env.some((entry) => entry.startsWith("HOME=") && entry.length > 5);
  return planSteps(
    container,
    planParameters(loaded, undefined, {
      rootMounted: container.rootfs.layers !== undefined,
      waitForStart: false,
      // Which directory it is the container's /etc/passwd will say.
      home: hasHome ? undefined : "~",
    }),
  );
}
