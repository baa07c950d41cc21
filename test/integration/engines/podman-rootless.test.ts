/** Under the Podman of an ordinary user: tsrun is root of the user namespace that Podman made, and of nothing else. */
import { chownSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { busyboxRootfs } from "../../helpers/bundle.ts";
import { missing } from "../../helpers/needs.ts";
import { OrdinaryUser, type Output, SUBORDINATE, UID } from "../../helpers/ordinary-user.ts";
import { processesNamed } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const reason = missing({
  root: true,
  tsrun: true,
  native: true,
  commands: ["podman", "setpriv", "unshare", "newuidmap", "tar"],
  files: ["/etc/subuid"],
});

let user: OrdinaryUser;

// Podman takes the unified hierarchy of a hybrid layout for v2, wants to write below /var/cache, and a tun device that
// anybody may open.
const BEFORE = `umount /sys/fs/cgroup/unified 2>/dev/null; mount -t tmpfs t /var/cache
  [ ! -e /dev/net/tun ] || mount --bind $HOME/tun /dev/net/tun`;

/** A shell script with `$P`, podman. */
function script(text: string): Output {
  return user.run(`P="podman --runtime $R"\n${text}`, BEFORE);
}

/** Podman asks for higher limits than an ordinary user has, in most CI. */
const RUN = "$P run --rm --ulimit nofile=1024:1024 --ulimit nproc=1000:1000";

(reason === undefined ? describe : describe.skip)(`rootless podman${reason ? ` (skipped: ${reason})` : ""}`, () => {
  beforeAll(() => {
    user = new OrdinaryUser();
    const { home, env } = user;
    const at = (name: string) => join(home, name);
    const rootfs = scratch("image");
    busyboxRootfs(rootfs);
    for (const name of ["graph", "runroot"]) mkdirSync(at(name));
    env.CONTAINERS_STORAGE_CONF = at("storage.conf");
    env.CONTAINERS_CONF = at("containers.conf");
    writeFileSync(
      at("storage.conf"),
      `[storage]\ndriver = "vfs"\ngraphroot = "${at("graph")}"\nrunroot = "${at("runroot")}"\n`,
    );
    writeFileSync(
      at("containers.conf"),
      '[engine]\nruntime_supports_json = ["tsrun", "crun", "runc"]\nevents_logger = "none"\ncgroup_manager = "cgroupfs"\n[containers]\nlog_driver = "k8s-file"\n',
    );
    writeFileSync(at("policy.json"), '{"default":[{"type":"insecureAcceptAnything"}]}\n');
    user.give(home);
    const made = user.run(
      `tar -C ${rootfs} -c . | podman import --signature-policy ${at("policy.json")} - bb`,
      `mknod -m 666 ${at("tun")} c 10 200; ${BEFORE}`,
    );
    expect(made.status, made.stderr).toBe(0);
  }, 120_000);

  afterAll(() => {
    if (user === undefined) return;
    // Ends the process that holds the user namespace between two calls, too.
    script("podman rm -f -a -t 0; podman system migrate");
    expect(processesNamed(user.home)).toEqual([]);
  }, 60_000);

  test("run prints what the container prints and exits as it does; root in it is the user", () => {
    const { stdout, status } = script(`${RUN} --network=none bb sh -c 'id -u; cat /proc/self/uid_map; exit 5'`);
    expect(stdout.trim().split(/\s+/)).toEqual(
      ["0", "0", UID, "1", "1", SUBORDINATE.first, SUBORDINATE.count].map(String),
    );
    expect(status).toBe(5);
  });

  test("--group-add keep-groups: the user's groups open files in the container, too", () => {
    const dir = scratch("shared");
    writeFileSync(join(dir, "file"), "of the group\n", { mode: 0o640 });
    chownSync(join(dir, "file"), 0, 7001);
    user.groups = [7001];
    const cat = (flags: string) => script(`${RUN} --network=none ${flags} -v ${dir}:/shared bb cat /shared/file`);
    expect(cat("").status).toBe(1);
    expect(cat("--group-add keep-groups")).toMatchObject({ status: 0, stdout: "of the group\n" });
    user.groups = [];
  });

  test("another user, the caller's own id, and the host's network", () => {
    expect(script(`${RUN} --network=none --user 1000 bb sh -c 'touch /tmp/x; stat -c %u /tmp/x'`).stdout).toBe(
      "1000\n",
    );
    expect(script(`${RUN} --network=none --userns=keep-id bb id -u`).stdout).toBe(`${UID}\n`);
    expect(script(`${RUN} --network=host bb sh -c 'ls /sys/class/net'`).stdout).toContain("lo\n");
  });

  test("devices, seccomp and a read-only root are there", () => {
    const seen = "echo x > /dev/null && head -c 1 /dev/zero | wc -c; grep Seccomp: /proc/self/status; touch /x";
    const { stdout, stderr } = script(`${RUN} --network=none --read-only bb sh -c '${seen}'`);
    expect(stdout).toBe("1\nSeccomp:\t2\n");
    expect(stderr).toContain("Read-only file system");
  });

  test("a network by slirp4netns, made for the namespace that podman has made", () => {
    if (missing({ commands: ["slirp4netns"], files: ["/dev/net/tun"] }) !== undefined) return;
    const { stdout, stderr } = script(`${RUN} --network=slirp4netns bb sh -c 'ip -o -4 addr show tap0'`);
    expect(stdout, stderr).toContain("10.0.2.100");
  });

  test("detached: exec, a terminal, logs, stop and rm", () => {
    const { stdout, stderr, status } = script(`
      $P run -d --name web --network=none --ulimit nofile=1024:1024 --ulimit nproc=1000:1000 bb \\
        sh -c "trap 'echo bye; exit 3' TERM; echo started; while :; do sleep 0.1; done" > /dev/null || exit 1
      $P exec web sh -c 'id -u; exit 4'; echo $?
      $P exec -t web tty
      until $P logs web | grep -q started; do sleep 0.1; done
      $P stop -t 10 web
      $P inspect --format '{{.State.Status}} {{.State.ExitCode}}' web
      $P logs web
      $P rm web`);
    expect(stdout.replaceAll("\r", ""), stderr).toBe("0\n4\n/dev/pts/0\nweb\nexited 3\nstarted\nbye\nweb\n");
    expect(status).toBe(0);
  }, 120_000);
});
