/** What Docker's daemon has to be set up for: user namespaces and a bridge. It has a network and an /etc of its own. */
import { spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Docker, IMAGE, startDocker } from "../../helpers/docker.ts";
import { describeNeeds } from "../../helpers/needs.ts";
import { until } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const commands = ["dockerd", "docker", "unshare", "nsenter", "iptables", "ip"];
const docker = describeNeeds({
  root: true,
  tsrun: true,
  native: true,
  commands,
  files: ["/bin/busybox", "/etc/subuid"],
});

docker("docker, remapped users and a bridge", () => {
  let engine: Docker;
  const ok = (...args: string[]) => engine.ok(args);
  /** In the network namespace of the daemon. */
  const outside = (...command: string[]) =>
    spawnSync("nsenter", ["--net", "--target", String(engine.pid), "--", ...command], { encoding: "utf8" });

  beforeAll(async () => {
    const dir = scratch("etc");
    for (const name of ["subuid", "subgid"]) writeFileSync(join(dir, name), "daemon:200000:65536\n");
    const bind = (name: string) => `mount --bind ${dir}/${name} /etc/${name}`;
    const before = `ip link set lo up && ${bind("subuid")} && ${bind("subgid")}`;
    engine = await startDocker(["--userns-remap=daemon:daemon"], {}, before);
  }, 90_000);
  afterAll(() => engine?.stop(), 60_000);

  test("root in a container is another user outside, and owns the image's files", () => {
    const script = "id -u; cat /proc/self/uid_map; stat -c '%u %g' /etc; touch /x && echo written";
    const seen = ok("run", "--rm", "--network=none", IMAGE, "sh", "-c", script);
    expect(seen.replaceAll(/ +/g, " ")).toBe("0\n 0 200000 65536\n0 0\nwritten");
    const id = ok("run", "-d", "--network=none", IMAGE, "sleep", "1000");
    const pid = ok("inspect", "-f", "{{.State.Pid}}", id);
    expect(spawnSync("stat", ["-c", "%u", `/proc/${pid}`], { encoding: "utf8" }).stdout).toBe("200000\n");
    expect(ok("exec", id, "sh", "-c", "id -u; cat /proc/self/uid_map").replaceAll(/ +/g, " ")).toBe(
      "0\n 0 200000 65536",
    );
    ok("rm", "-f", id);
  });

  test("a port that is published leads into the container", async () => {
    const script = "echo from inside > /tmp/index.html; exec httpd -f -p 80 -h /tmp";
    const id = ok("run", "-d", "-p", "127.0.0.1:8099:80", IMAGE, "sh", "-c", script);
    expect(ok("exec", id, "ip", "-o", "-4", "addr", "show", "eth0")).toContain("inet 172.17.");
    const fetch = () => outside("/bin/busybox", "wget", "-q", "-O", "-", "http://127.0.0.1:8099/").stdout;
    await until(() => fetch() === "from inside\n", "the container answers");
    ok("rm", "-f", id);
  });
});
