/** What this is; the build fills the commit in. */
declare const TSRUN_COMMIT: string | undefined;

export const VERSION = "0.1.0";
/** Of the OCI runtime-spec. */
export const SPEC_VERSION = "1.3.0";
export const COMMIT = typeof TSRUN_COMMIT === "string" ? TSRUN_COMMIT : "unknown";
