/** The types of compiled.mjs. */
export type CompiledProgram = "attacker" | "fault" | "call";
export function compiled(name: CompiledProgram, directory: string): string;
export function notCompiled(name: CompiledProgram): string | undefined;
export function compileAll(): string;
