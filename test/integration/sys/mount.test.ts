import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./mount.checks.ts";

underBothEngines("sys/mount", checks, new URL("./mount.checks.ts", import.meta.url), { root: true, kernel: [5, 12] });
