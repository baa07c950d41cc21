import { underBothEngines } from "../../helpers/both-engines.ts";
import { checks } from "./socket.checks.ts";

underBothEngines("sys/socket", checks, new URL("./socket.checks.ts", import.meta.url));
