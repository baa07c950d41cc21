/** An ordinary user of the machine: an entry in passwd, a range of subordinate ids, a home, and no privilege. */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RUNTIME } from "./runtime.ts";
import { scratch } from "./scratch.ts";

export const UID = 4242;
/** The first of its subordinate ids, and how many there are. */
export const SUBORDINATE = { first: 500000, count: 65536 };

export interface Output {
  status: number | null;
  stdout: string;
  stderr: string;
}

export class OrdinaryUser {
  readonly home = scratch("home");
  /** Its supplementary groups. */
  groups: readonly number[] = [];
  /** Further variables of its environment. */
  readonly env: Record<string, string> = {};

  constructor() {
    const { home } = this;
    for (const name of ["run", "data"]) mkdirSync(join(home, name), { mode: 0o700 });
    writeFileSync(join(home, "passwd"), `root:x:0:0::/root:/bin/sh\nordinary:x:${UID}:${UID}::${home}:/bin/sh\n`);
    writeFileSync(join(home, "group"), `root:x:0:\nordinary:x:${UID}:\n`);
    writeFileSync(join(home, "subuid"), `ordinary:${SUBORDINATE.first}:${SUBORDINATE.count}\n`);
    this.give(home);
  }

  give(path: string): void {
    spawnSync("chown", ["-R", `${UID}:${UID}`, path]);
  }

  /**
   * Carries out a shell script. `$R` is the runtime.
   *
   * @param before what root does first, in the mount namespace of the script
   * @param namespaces further ones that the script has to itself, as words of unshare(1)
   */
  run(script: string, before = "", namespaces: readonly string[] = []): Output {
    const { home } = this;
    const groups = this.groups.length === 0 ? "--clear-groups" : `--groups=${this.groups.join()}`;
    const setUp = `mount --bind ${home}/passwd /etc/passwd; mount --bind ${home}/group /etc/group
      for f in subuid subgid; do [ ! -e /etc/$f ] || mount --bind ${home}/subuid /etc/$f; done
      ${before}
      exec setpriv --reuid=${UID} --regid=${UID} ${groups} --inh-caps=-all "$@"`;
    return spawnSync(
      "unshare",
      [
        "--mount",
        "--propagation",
        "private",
        ...namespaces,
        "sh",
        "-c",
        setUp,
        "sh",
        "sh",
        "-c",
        `R=${RUNTIME}\n${script}`,
      ],
      {
        encoding: "utf8",
        input: "",
        timeout: process.env.TSRUN_VM === "1" ? 600_000 : 60_000,
        env: {
          PATH: process.env.PATH ?? "",
          HOME: home,
          XDG_RUNTIME_DIR: join(home, "run"),
          XDG_DATA_HOME: join(home, "data"),
          ...this.env,
        },
      },
    );
  }
}
