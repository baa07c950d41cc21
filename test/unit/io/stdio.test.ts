import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./stdio.checks.ts";

underBothEngines("io/stdio", checks, new URL("./stdio.checks.ts", import.meta.url));
