/** The native init (and monitor), as a sealed memfd that no one can write to: the only copy that ever meets a container. */
import { INIT_BASE64 } from "../../build/init-binary.ts";
import { base64Bytes } from "../sys/call.ts";
import { addSeals, memfdCreate, write } from "../sys/file.ts";

const F_SEAL_ALL = 0xf; // SEAL | SHRINK | GROW | WRITE

/** @returns a close-on-exec descriptor; it can be executed as /proc/self/fd/<n> */
export function openInitBinary(): number {
  const fd = memfdCreate("tsrun-init", { executable: true });
  write(fd, base64Bytes(INIT_BASE64));
  addSeals(fd, F_SEAL_ALL);
  return fd;
}
