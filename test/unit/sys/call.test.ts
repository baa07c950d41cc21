import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./call.checks.ts";

underBothEngines("sys/call", checks, new URL("./call.checks.ts", import.meta.url));
