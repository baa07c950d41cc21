/** Under Podman, as its own runtime would be: what `podman run` is asked for. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { describeNeeds } from "../../helpers/needs.ts";
import { ENGINE_MS } from "../../helpers/patience.ts";
import { type Podman, startPodman } from "../../helpers/podman.ts";
import { scratch } from "../../helpers/scratch.ts";

const needed = describeNeeds({ root: true, tsrun: true, native: true, commands: ["podman", "unshare", "nsenter"] });
const RUN = ["run", "--rm", "--network=none"];

let podman: Podman;
const runArgs = (...args: string[]) => podman.run(...RUN, ...args);
const shell = (script: string, input?: string) => podman.inside(["sh", "-c", script], input);

needed("podman run", () => {
  beforeAll(async () => {
    podman = await startPodman("cgroupfs");
  }, 120_000);
  afterAll(() => podman?.stop());

  test("prints what the container prints", () => {
    expect(runArgs("bb", "echo", "hi")).toEqual({ code: 0, stdout: "hi\n", stderr: "" });
  });

  test("exit codes: the program's, 126 and 127", () => {
    expect(runArgs("bb", "sh", "-c", "exit 5").code).toBe(5);
    expect(runArgs("bb", "nosuch").code).toBe(127);
    expect(runArgs("bb", "/nonexistent/program").code).toBe(127);
    expect(runArgs("bb", "/etc").code).toBe(126);
    expect(runArgs("bb", "/etc/passwd").code).toBe(126);
  });

  test("--sdnotify=container: whoever waits is told when the container is ready", () => {
    const socket = join(scratch("manager"), "notify.sock");
    const listen = `use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0); bind($s, sockaddr_un(shift)); alarm 50;
      while (1) { recv($s, my $said, 4096, 0); print "$said|"; last if $said =~ /READY/ }`;
    const say = `use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0); print "$ENV{NOTIFY_SOCKET}\\n";
      send($s, "READY=1", 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or print "$!\\n"`;
    const machine = ["/usr", "/lib", "/lib64"]
      .filter((path) => existsSync(path))
      .map((path) => `-v ${path}:${path}:ro`);
    const { stdout, stderr } = shell(
      `perl -e '${listen}' ${socket} & until [ -S ${socket} ]; do sleep 0.02; done
       NOTIFY_SOCKET=${socket} $P ${RUN.join(" ")} --sdnotify=container ${machine.join(" ")} bb perl -e '${say}'; wait`,
    );
    expect(stderr).toBe("");
    expect(stdout).toContain("/run/notify/notify.sock\n");
    expect(stdout).toMatch(/READY=1/);
  });

  test("standard input goes to the container", () => {
    expect(shell(`$P ${RUN.join(" ")} -i bb cat`, "to it").stdout).toBe("to it");
  });

  test("a terminal is one", () => {
    const command = `$P ${RUN.join(" ")} -t bb sh -c 'tty; test -t 1 && echo yes'`;
    const { stdout } = podman.inside(["script", "-qec", command, "/dev/null"]);
    expect(stdout.replaceAll("\r", "")).toBe("/dev/pts/0\nyes\n");
  });

  test("seccomp, capabilities, no new privileges, user, read-only root, environment and working directory", () => {
    const tight = ["--cap-drop=all", "--cap-add=CHOWN", "--user=1000:1000"];
    const status = runArgs(...tight, "bb", "cat", "/proc/self/status").stdout;
    expect(status).toMatch(/^Seccomp:\t2$/m);
    expect(status).toMatch(/^Uid:\t1000\t1000\t1000\t1000$/m);
    expect(status).toMatch(/^CapBnd:\t0000000000000001$/m);
    expect(status).toMatch(/^CapEff:\t0000000000000001$/m);
    expect(status).toMatch(/^NoNewPrivs:\t0$/m);
    const open = ["--security-opt=no-new-privileges", "--security-opt=seccomp=unconfined"];
    expect(runArgs(...open, "bb", "grep", "-E", "NoNewPrivs|Seccomp:", "/proc/self/status").stdout).toBe(
      "NoNewPrivs:\t1\nSeccomp:\t0\n",
    );
    const readOnly = ["--read-only", "--read-only-tmpfs=false"];
    expect(runArgs(...readOnly, "bb", "touch", "/x").stderr).toContain("Read-only file system");
    const seen = runArgs("-e", "A=b", "-w", "/tmp", "--hostname", "web", "bb", "sh", "-c", "echo $A $PWD $(hostname)");
    expect(seen.stdout, seen.stderr).toBe("b /tmp web\n");
    expect(runArgs("--privileged", "bb", "sh", "-c", "grep -c Seccomp:.0 /proc/self/status").stdout).toBe("1\n");
  });

  test("a user namespace has the ids that are asked for, and owns the image's files", () => {
    const maps = ["--uidmap", "0:200000:65536", "--gidmap", "0:300000:65536"];
    const script = "id -u; cat /proc/self/uid_map /proc/self/gid_map; stat -c '%u %g' /etc; touch /x && echo written";
    const { stdout, stderr } = runArgs(...maps, "bb", "sh", "-c", script);
    expect(stdout.replaceAll(/ +/g, " "), stderr).toBe("0\n 0 200000 65536\n 0 300000 65536\n0 0\nwritten\n");
  });

  test("binds are mounted, read-only where asked", () => {
    const dir = scratch("volume");
    writeFileSync(join(dir, "file"), "bound\n");
    expect(runArgs("-v", `${dir}:/data`, "bb", "sh", "-c", "cat /data/file; echo new > /data/new").stdout).toBe(
      "bound\n",
    );
    expect(runArgs("-v", `${dir}:/data:ro`, "bb", "sh", "-c", "cat /data/new; echo x > /data/x").stdout).toBe("new\n");
    expect(runArgs("-v", `${dir}:/data:ro`, "bb", "touch", "/data/x").stderr).toContain("Read-only file system");
  });

  test("a bind hears of later mounts as slave, and tells of its own as shared", () => {
    const dir = scratch("shared");
    for (const name of ["theirs", "ours"]) mkdirSync(join(dir, name));
    const { stdout, stderr } = shell(`mount --bind ${dir} ${dir} && mount --make-rshared ${dir} || exit
      $P run -d --name hears --network=none -v ${dir}:/m:rslave bb sleep 1000 >/dev/null
      $P run -d --name tells --network=none -v ${dir}:/m:rshared --privileged bb sleep 1000 >/dev/null
      mount -t tmpfs t ${dir}/theirs && echo from outside >${dir}/theirs/file
      $P exec hears cat /m/theirs/file
      $P exec tells sh -c 'mount -t tmpfs t /m/ours && echo from inside >/m/ours/file'
      cat ${dir}/ours/file
      $P exec hears cat /m/ours/file
      $P rm -f -t 0 hears tells >/dev/null
      umount ${dir}/ours ${dir}/theirs ${dir}`);
    expect(stderr).toBe("");
    expect(stdout).toBe("from outside\nfrom inside\nfrom inside\n");
  });

  test("a tmpfs has the size that is asked for, and what the image has there", () => {
    const tmpfs = runArgs("--tmpfs", "/etc:size=1m", "bb", "sh", "-c", "df -k /etc | tail -n 1; wc -l </etc/passwd");
    expect(tmpfs.stdout, tmpfs.stderr).toMatch(/^tmpfs +1024 .* \/etc\n[1-9]\d*\n$/);
  });

  test("a volume keeps what was written, and begins with what the image has there", () => {
    const volume = ["-v", "kept:/etc"];
    expect(runArgs(...volume, "bb", "sh", "-c", "echo kept >/etc/new; test -s /etc/passwd").code).toBe(0);
    expect(runArgs(...volume, "bb", "cat", "/etc/new").stdout).toBe("kept\n");
    podman.ok("volume", "rm", "kept");
  });

  test("--init is process 1, and reaps", () => {
    const init = "/usr/bin/docker-init";
    if (!existsSync(init)) return;
    const command = ["sh", "-c", "(sleep 0 &); sleep 0.2; ps -o pid,comm,stat"];
    const { stdout, stderr } = runArgs("--init", "--init-path", init, "bb", ...command);
    expect(stdout, stderr).toMatch(/^ +1 \S*init/m);
    expect(stdout).not.toContain(" Z");
  });

  test("limits are those of the container's cgroup", () => {
    const show =
      "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null";
    expect(runArgs("--memory=64m", "--pids-limit=33", "bb", "sh", "-c", show).stdout).toBe("67108864\n33\n");
  });

  test("twenty at once", { timeout: ENGINE_MS + 10_000 }, () => {
    const { stdout, stderr } = shell(`for i in $(seq 20); do $P ${RUN.join(" ")} bb echo c$i & done; wait`);
    expect(stdout.trim().split("\n").sort(), stderr).toEqual(Array.from({ length: 20 }, (_, i) => `c${i + 1}`).sort());
  });
});
