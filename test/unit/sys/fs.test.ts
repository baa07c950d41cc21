import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./fs.checks.ts";

underBothEngines("sys/fs", checks, new URL("./fs.checks.ts", import.meta.url));
