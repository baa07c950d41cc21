/**
 * A bridge network under Podman: the engine makes the network namespace and the runtime joins it. All of it in a network
 * namespace of its own, so that the machine's own network is not touched.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { busyboxTar } from "../../helpers/engine-image.ts";
import { needs } from "../../helpers/needs.ts";
import { RUNTIME } from "../../helpers/runtime.ts";
import { scratch } from "../../helpers/scratch.ts";

const podman = needs({
  root: true,
  tsrun: true,
  native: true,
  commands: ["podman", "unshare", "iptables", "ip"],
  files: ["/usr/lib/podman/netavark", "/bin/busybox"],
});

podman(
  "podman: a port that is published on the host leads into the container",
  () => {
    const dir = scratch("podman");
    for (const name of ["root", "run", "home", "net"]) mkdirSync(join(dir, name));
    const file = (name: string, text: string) => {
      writeFileSync(join(dir, name), text);
      return join(dir, name);
    };
    const env = {
      PATH: process.env.PATH ?? "",
      HOME: join(dir, "home"),
      XDG_RUNTIME_DIR: join(dir, "run"),
      CONTAINERS_STORAGE_CONF: file(
        "storage.conf",
        `[storage]\ndriver = "vfs"\ngraphroot = "${dir}/root"\nrunroot = "${dir}/run"\n`,
      ),
      CONTAINERS_CONF: file(
        "containers.conf",
        `[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "none"\n[containers]\nlog_driver = "k8s-file"\n[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "${dir}/net"\n`,
      ),
    };
    const policy = file("policy.json", '{"default":[{"type":"insecureAcceptAnything"}]}\n');
    // Where root may not raise its own limits, Podman's defaults fail under every runtime.
    const limits = "--ulimit nofile=1024:1024 --ulimit nproc=1000:1000";
    const script = `
    mount -t tmpfs t /var/cache; umount /sys/fs/cgroup/unified 2>/dev/null; ip link set lo up
    p="podman --runtime ${RUNTIME}"
    $p import --signature-policy ${policy} ${busyboxTar()} bb >/dev/null 2>&1 || exit 1
    $p run -d --name web ${limits} -p 127.0.0.1:8099:80 bb \\
      sh -c 'echo from inside > /tmp/index.html; exec httpd -f -p 80 -h /tmp' >/dev/null || exit 2
    for i in 1 2 3 4 5 6 7 8 9 10; do busybox wget -q -O - http://127.0.0.1:8099/ 2>/dev/null && break; sleep 0.3; done
    $p exec web ip -o addr show eth0 | grep -c 'inet 10[.]'
    $p rm -f -t 0 web >/dev/null; echo ended $?`;
    const result = spawnSync("unshare", ["--mount", "--net", "sh", "-c", script], { encoding: "utf8", env });
    expect(result.stderr).toBe("");
    expect(result.stdout).toBe("from inside\n1\nended 0\n");
  },
  120_000,
);
