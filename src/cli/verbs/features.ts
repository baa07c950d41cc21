import { runtimeFeatures } from "../../index.ts";
import { defineVerb } from "../flags.ts";
import { writeOut } from "../output.ts";

export const features = defineVerb({
  name: "features",
  summary: "print what this runtime can do, as JSON (OCI features.md)",
  usage: "",
  flags: [],
  min: 0,
  max: 0,
  run() {
    writeOut(`${JSON.stringify(runtimeFeatures(), null, 2)}\n`);
    return 0;
  },
});
