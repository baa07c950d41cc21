import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./confined.checks.ts";

underBothEngines("sys/confined", checks, new URL("./confined.checks.ts", import.meta.url));
