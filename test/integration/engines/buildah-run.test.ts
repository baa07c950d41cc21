/** Under buildah: what `buildah from` and `buildah run` can ask for, in a working container. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, expect, test } from "vitest";
import { type Buildah, FLAGS, startBuildah } from "../../helpers/buildah.ts";
import { describeNeeds } from "../../helpers/needs.ts";
import { ENGINE_MS } from "../../helpers/patience.ts";
import { scratch } from "../../helpers/scratch.ts";

const needed = describeNeeds({ root: true, tsrun: true, commands: ["buildah", "unshare", "script"] });

let engine: Buildah;

needed("buildah run", () => {
  beforeAll(() => {
    engine = startBuildah();
    engine.build();
  }, 240_000);

  test("what a command writes is in the image that commit makes", () => {
    expect(engine.runIn("c", [], "sh", "-c", "echo written > /new").code).toBe(0);
    engine.ok("commit", "-q", "c", "committed");
    engine.ok("from", "--name", "again", "localhost/committed");
    expect(engine.runIn("again", [], "cat", "/new", "/built").stdout).toBe("written\nbuilt by 0\n");
  });

  test("limits, seccomp and capabilities are those of the working container", () => {
    const limits = ["-m", "64m", "--cpu-quota", "50000"];
    engine.ok("from", ...limits, "--security-opt", "seccomp=unconfined", "--name", "limited", "localhost/built");
    const cgroup = "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes cpu/cpu.cfs_quota_us memory.max cpu.max";
    const status = "grep -E 'CapEff|Seccomp:' /proc/self/status | tr '\\t' ' '";
    const seen = engine.runIn("limited", ["--cap-drop=CAP_CHOWN"], "sh", "-c", `${status}; ${cgroup} 2>/dev/null || :`);
    expect(seen.stdout, seen.stderr).toMatch(
      new RegExp(`^CapEff: [0-9a-f]{16}\\nSeccomp: 0\\n${64 << 20}\\n50000( 100000)?\\n$`),
    );
    const usual = engine.runIn("c", [], "sh", "-c", status).stdout;
    expect(usual).toContain("Seccomp: 2\n");
    const capabilities = (text: string) => BigInt(`0x${/^CapEff: (\S+)$/m.exec(text)?.[1]}`);
    expect(capabilities(seen.stdout) ^ capabilities(usual)).toBe(1n << 0n);
  });

  test("user, working directory, environment, binds, a tmpfs and a terminal", () => {
    const dir = scratch("bound");
    writeFileSync(join(dir, "file"), "bound\n");
    const flags = ["--user", "5:6", "--workingdir", "/etc", "--env", "A=b", "-v", `${dir}:/data:ro`];
    const tmpfs = ["--mount", "type=tmpfs,dst=/scratch,tmpfs-size=1048576,tmpfs-mode=1777"];
    const script =
      "id -u; id -g; pwd; echo $A; cat /data/file; touch /scratch/x && touch /data/x 2>/dev/null || echo read-only; df -k /scratch | tail -n 1";
    const { stdout, stderr } = engine.runIn("c", [...flags, ...tmpfs], "sh", "-c", script);
    expect(stdout.replaceAll(/ +/g, " "), stderr).toBe(
      "5\n6\n/etc\nb\nbound\nread-only\ntmpfs 1024 0 1024 0% /scratch\n",
    );
    const terminal = engine.shell(
      `script -qec "buildah run -t ${FLAGS.join(" ")} c -- sh -c 'test -t 0 && echo yes'" /dev/null`,
    );
    expect(terminal.stdout, terminal.stderr).toContain("yes");
  });

  test("a user namespace has the ids that are asked for, and owns the image's files", () => {
    const maps = ["--userns-uid-map", "0:200000:65536", "--userns-gid-map", "0:300000:65536"];
    engine.ok("from", ...maps, "--name", "mapped", "localhost/built");
    const script = "cat /proc/self/uid_map /proc/self/gid_map; stat -c '%u %g' /etc; touch /etc/x && echo written";
    const { stdout, stderr } = engine.runIn("mapped", [], "sh", "-c", script);
    expect(stdout.replaceAll(/ +/g, " "), stderr).toBe(" 0 200000 65536\n 0 300000 65536\n0 0\nwritten\n");
  });

  test("twenty at once", { timeout: ENGINE_MS + 10_000 }, () => {
    // Each with a working container of its own: buildah takes away what it put into one when a run ends.
    const one = `buildah from -q --name many$i localhost/built >/dev/null && buildah run ${FLAGS.join(" ")} many$i`;
    const { stdout, stderr } = engine.shell(`for i in $(seq 20); do { ${one} -- echo c$i; } & done; wait`);
    expect(stdout.trim().split("\n").sort(), stderr).toEqual(Array.from({ length: 20 }, (_, i) => `c${i + 1}`).sort());
  });
});
