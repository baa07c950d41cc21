import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./file.checks.ts";

underBothEngines("sys/file", checks, new URL("./file.checks.ts", import.meta.url));
