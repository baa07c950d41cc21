/** What this is; the build fills the commit in. */
declare const TSRUN_COMMIT: string | undefined;

/** Of tsrun. */
export const VERSION = "0.1.0";
/** Of the OCI runtime-spec. */
export const SPEC_VERSION = "1.3.0";
/** Of git, that this was built of; "unknown" where the sources did not say. */
export const COMMIT = typeof TSRUN_COMMIT === "string" ? TSRUN_COMMIT : "unknown";
