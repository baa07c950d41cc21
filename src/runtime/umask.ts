/** The umask of a program that makes files for itself. */
import { umask } from "../sys/process.ts";

const OWNER = 0o700;

/**
 * Takes out of this process's umask what would keep its user from the directories that tsrun makes: with 0777 an ordinary
 * user could make no state. For programs of their own; what a container has does not depend on it.
 */
export function keepOwnerRights(): void {
  const before = umask(0o077);
  umask(before & ~OWNER);
}
