/**
 * The `--user UID[:GID]` of exec. Strict: anything that is not a number is an error and never a default, since
 * a fallback is uid 0 (crun CVE-2026-30892).
 */
import { SpecError } from "../errors.ts";
import { quote } from "./text.ts";

/** 2^32-1 is "leave as it is" to setresuid(2), so it is nobody's id. */
const MAX_ID = 0xffff_fffe;

export interface ParsedUser {
  uid: number;
  /** Undefined when none was given. */
  gid: number | undefined;
}

/** @throws SpecError when `text` is not decimal `uid` or `uid:gid`, each 0 to 2^32-2 */
export function parseUser(text: string): ParsedUser {
  const parts = text.split(":");
  const uid = parseId(parts[0]);
  const gid = parts.length > 1 ? parseId(parts[1]) : undefined;
  const isWrong = uid === undefined || (parts.length > 1 && gid === undefined) || parts.length > 2;
  if (isWrong) {
    throw new SpecError([
      { path: "user", message: `${quote(text)} is not UID or UID:GID, in numbers up to ${MAX_ID}` },
    ]);
  }
  return { uid, gid };
}

/** A user or group id in decimal; undefined when `text` is anything else. */
function parseId(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= MAX_ID ? id : undefined;
}
