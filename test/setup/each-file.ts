/** Around each file of the integration and conformance suites: what the file made is taken away again. */
import { afterAll } from "vitest";
import { deleteContainers } from "../helpers/runtime.ts";
import { removeScratch } from "../helpers/scratch.ts";

afterAll(() => {
  deleteContainers();
  removeScratch();
});
