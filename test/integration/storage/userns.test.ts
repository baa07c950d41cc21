/** The store inside a user namespace, as for an ordinary user: overlayfs keeps its marks in user.* attributes. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect } from "vitest";
import { removePath } from "../../../src/sys/remove.ts";
import { needs } from "../../helpers/needs.ts";

const ROOT = new URL("../../..", import.meta.url).pathname;
const BUN = join(ROOT, "node_modules/bun/bin/bun.exe");
const PROGRAM = `
import { mkdirSync, readdirSync, readFileSync, rmdirSync, unlinkSync, writeFileSync, lstatSync } from "node:fs";
import { prepareRootfs, removeRootfs } from "${ROOT}src/storage/rootfs.ts";
import { mountRootfs } from "${ROOT}src/storage/mount.ts";
import { close } from "${ROOT}src/sys/file.ts";
const [scratch] = process.argv.slice(2);
const storageRoot = scratch + "/store";
const record = prepareRootfs({ id: "u", layers: [scratch + "/base"], userns: true, storageRoot, hostname: "h" });
const fd = mountRootfs(record);
const root = "/proc/self/fd/" + fd;
unlinkSync(root + "/gone");
unlinkSync(root + "/dir/x");
rmdirSync(root + "/dir");
mkdirSync(root + "/dir");
writeFileSync(root + "/new", "new");
const seen = readdirSync(root);
close(fd);
const again = mountRootfs(record);
const answer = {
  seen,
  dir: readdirSync("/proc/self/fd/" + again + "/dir"),
  whiteout: lstatSync(record.merged + "/../diff/gone").isCharacterDevice(),
  hostname: readFileSync("/proc/self/fd/" + again + "/etc/hostname", "utf8"),
};
close(again);
removeRootfs(record);
console.log(JSON.stringify({ ...answer, left: readdirSync(storageRoot + "/overlay2") }));
`;

let scratch: string | undefined;
afterAll(() => {
  if (scratch !== undefined) removePath(scratch);
});

needs({ root: true, kernel: [5, 11], commands: ["unshare", "setpriv"], files: [BUN] })(
  "an ordinary user's namespace mounts, whites out and removes",
  () => {
    mkdirSync("/var/lib/tsrun", { recursive: true });
    // On tmpfs user.* attributes need Linux 6.6; /var/lib/tsrun is ext4 in the VM.
    scratch = mkdtempSync("/var/lib/tsrun/userns-");
    mkdirSync(join(scratch, "base/dir"), { recursive: true });
    writeFileSync(join(scratch, "base/gone"), "x");
    writeFileSync(join(scratch, "base/dir/x"), "x");
    writeFileSync(join(scratch, "program.ts"), PROGRAM);
    execFileSync("chown", ["-R", "4242:4242", scratch]);
    const user = ["--reuid", "4242", "--regid", "4242", "--clear-groups"];
    const output = execFileSync(
      "setpriv",
      [...user, "unshare", "--user", "--map-root-user", "--mount", BUN, join(scratch, "program.ts"), scratch],
      { encoding: "utf8", env: { ...process.env, HOME: scratch } },
    );
    const answer = JSON.parse(output);
    expect(answer.seen).toContain("new");
    expect(answer.seen).not.toContain("gone");
    expect(answer).toMatchObject({ dir: [], whiteout: true, hostname: "h\n", left: ["l"] });
  },
);
