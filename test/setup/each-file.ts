/** Around each file of the integration and conformance suites: what the file made is taken away again. */
import { afterAll } from "vitest";
import { removeCgroups } from "../helpers/leftovers.ts";
import { deleteContainers } from "../helpers/runtime.ts";
import { removeScratch } from "../helpers/scratch.ts";

afterAll(() => {
  deleteContainers();
  removeCgroups();
  removeScratch();
});
