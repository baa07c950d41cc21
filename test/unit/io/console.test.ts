import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./console.checks.ts";

underBothEngines("io/console", checks, new URL("./console.checks.ts", import.meta.url));
