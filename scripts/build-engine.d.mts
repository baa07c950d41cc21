/** Types of build-engine.mjs, for the tests that use it. */
export function bundle(entry: string, outdir: string, defines?: readonly string[]): string[];
