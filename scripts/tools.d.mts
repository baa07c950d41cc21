/** The types of what tests take from tools.mjs. */
export const ROOT: string;
export const isRoot: boolean;
export function findBun(): string;
