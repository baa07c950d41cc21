import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./process.checks.ts";

underBothEngines("sys/process", checks, new URL("./process.checks.ts", import.meta.url));
