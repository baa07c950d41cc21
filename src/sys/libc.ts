/** The kernel as functions that throw SyscallError. One file a subject; this is the list. */
export { type PathArg, pathText } from "./call.ts";
export * from "./confined.ts";
export * from "./file.ts";
export * from "./mount.ts";
export * from "./process.ts";
export * from "./remove.ts";
export * from "./socket.ts";
export * from "./spawn.ts";
