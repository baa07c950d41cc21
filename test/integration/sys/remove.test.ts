import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./remove.checks.ts";

underBothEngines("sys/remove", checks, new URL("./remove.checks.ts", import.meta.url), { root: true, kernel: [5, 12] });
