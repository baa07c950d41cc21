import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./errno.checks.ts";

underBothEngines("sys/ffi", checks, new URL("./errno.checks.ts", import.meta.url));
