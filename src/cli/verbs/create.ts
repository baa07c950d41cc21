import { createContainer } from "../../index.ts";
import { CONTAINER_FLAGS, CREATE_FLAGS, defineVerb } from "../flags.ts";
import { absolute } from "../globals.ts";
import { createOptions } from "../options.ts";
import { UsageError } from "../parse.ts";

export const create = defineVerb({
  name: "create",
  summary: "make a container; `start` runs its process",
  usage: "<container-id>",
  flags: [...CONTAINER_FLAGS, ...CREATE_FLAGS],
  min: 1,
  max: 1,
  run({ values, args, globals }) {
    const id = args[0] as string;
    // `run` takes a bundle here, so people try; the id of `create` is the caller's handle and is never made up.
    if (id.includes("/"))
      throw new UsageError(`${id} is not a container id`, { fix: `create --bundle ${id} <container-id>` });
    const target = { id, bundle: absolute(values.bundle || ".") };
    createContainer({ ...createOptions(values, globals, target), id });
    return 0;
  },
});
