/** Under containerd's CRI plugin, as the kubelet calls it for a pod with `runtimeClassName: tsrun`. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Cri, type Message, type Pod, startCri } from "../../helpers/cri.ts";
import { cgroupLayout, describeNeeds } from "../../helpers/needs.ts";
import { cgroupsNamed, processesNamed, runOk, until } from "../../helpers/runtime.ts";

const kubernetes = describeNeeds({
  root: true,
  tsrun: true,
  commands: ["containerd", "ctr", "unshare", "ip"],
  files: ["/usr/lib/cni/ptp", "/usr/lib/cni/loopback"],
});
const LONG = 240_000;
/** Where the shim of containerd has the state of Kubernetes' containers. */
const STATES = "/run/containerd/runc/k8s.io";

let cri: Cri;
let pod: Pod;

const FOREVER = ["sleep", "100000"];

async function exec(container: string, ...cmd: string[]) {
  const { stdout, stderr, exit_code } = await cri.call("ExecSync", { container_id: container, cmd });
  return { code: exit_code, stdout: stdout.toString(), stderr: stderr.toString() };
}

const sh = async (container: string, script: string) => (await exec(container, "sh", "-c", script)).stdout;
const status = async (container: string): Promise<Message> =>
  (await cri.call("ContainerStatus", { container_id: container })).status;

async function ended(container: string): Promise<Message> {
  for (;;) {
    const now = await status(container);
    if (now.state === "CONTAINER_EXITED") return now;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

const remove = (container: string) => cri.call("RemoveContainer", { container_id: container });

/** A file of the container's cgroup, by its names on v2 and on v1. */
function limit(container: string, v2: string, v1: string): string {
  const file = cgroupLayout() === "v2" ? v2 : v1;
  const dir = cgroupsNamed(container).find((path) => existsSync(join(path, file)));
  return readFileSync(join(dir ?? `no cgroup of ${container}`, file), "utf8").trim();
}

kubernetes("CRI", () => {
  beforeAll(async () => {
    cri = await startCri();
    pod = await cri.runPod("web");
  }, LONG);
  afterAll(async () => {
    if (cri === undefined) return;
    for (const { id } of (await cri.call("ListPodSandbox")).items) {
      await cri.call("StopPodSandbox", { pod_sandbox_id: id });
      await cri.call("RemovePodSandbox", { pod_sandbox_id: id });
    }
    await cri.stop();
  }, LONG);

  test("the engine says that it is ready, and so is its network", async () => {
    const { conditions } = (await cri.call("Status")).status;
    expect(conditions.filter(({ status }: Message) => !status)).toEqual([]);
    expect(conditions.map(({ type }: Message) => type)).toEqual(["RuntimeReady", "NetworkReady"]);
  });

  test("a pod of the runtime class is a container of tsrun, with an address", async () => {
    const { status } = await cri.call("PodSandboxStatus", { pod_sandbox_id: pod.id });
    expect(status).toMatchObject({ state: "SANDBOX_READY", runtime_handler: "tsrun" });
    expect(status.network.ip).toMatch(/^10\.99\.0\.\d+$/);
    const listed = JSON.parse(runOk(["--root", STATES, "list", "--format", "json"]));
    expect(listed).toEqual([expect.objectContaining({ id: pod.id, status: "running" })]);
  });

  test("a handler that is not there is refused", async () => {
    const config = { metadata: { name: "no", uid: "no", namespace: "default" }, hostname: "no" };
    await expect(cri.call("RunPodSandbox", { config, runtime_handler: "other" })).rejects.toThrow(/other/);
  });

  test("a container runs to its end: log, exit code, reason", async () => {
    const good = await pod.run("good", ["sh", "-c", "echo out; echo err >&2"]);
    expect(await ended(good)).toMatchObject({ exit_code: 0, reason: "Completed" });
    expect(pod.log("good").replace(/^\S+ /gm, "").split("\n").sort()).toEqual(["", "stderr F err", "stdout F out"]);
    const bad = await pod.run("bad", ["sh", "-c", "exit 7"]);
    expect(await ended(bad)).toMatchObject({ exit_code: 7, reason: "Error" });
    await remove(good);
    await remove(bad);
    await expect(status(bad)).rejects.toThrow(/not found/);
  });

  test("a command that is missing is a reason to read", async () => {
    const container = await pod.create("missing", ["nosuch"]);
    await expect(cri.call("StartContainer", { container_id: container })).rejects.toThrow(
      'exec: "nosuch": executable file not found in $PATH',
    );
    expect(await status(container)).toMatchObject({
      state: "CONTAINER_EXITED",
      reason: "StartError",
      exit_code: 128,
    });
    await remove(container);
  });

  test("exec gives both outputs and the exit code, and tells of a command that is missing", async () => {
    const container = await pod.run("exec", FOREVER);
    expect(await exec(container, "sh", "-c", "echo out; echo err >&2; exit 3")).toEqual({
      code: 3,
      stdout: "out\n",
      stderr: "err\n",
    });
    await expect(exec(container, "nosuch")).rejects.toThrow('exec: "nosuch": executable file not found in $PATH');
    const late = cri.call("ExecSync", { container_id: container, cmd: ["sleep", "1000"], timeout: 1 });
    await expect(late).rejects.toThrow(/timeout/);
    await remove(container);
  });

  test("limits are in the cgroup, change while it runs, and its use is told", async () => {
    const resources = { memory_limit_in_bytes: 64 << 20, cpu_period: 100_000, cpu_quota: 50_000, cpu_shares: 512 };
    const container = await pod.run("limits", FOREVER, {
      linux: { resources: { ...resources, oom_score_adj: 500 } },
    });
    const memory = () => limit(container, "memory.max", "memory.limit_in_bytes");
    const quota = () => limit(container, "cpu.max", "cpu.cfs_quota_us");
    expect(memory()).toBe(String(64 << 20));
    expect(quota()).toMatch(/^50000/);
    expect(limit(container, "cpu.weight", "cpu.shares")).toBe(cgroupLayout() === "v2" ? "59" : "512");
    expect(await sh(container, "cat /proc/1/oom_score_adj")).toBe("500\n");
    await cri.call("UpdateContainerResources", {
      container_id: container,
      linux: { memory_limit_in_bytes: 96 << 20, cpu_period: 100_000, cpu_quota: 80_000 },
    });
    expect(memory()).toBe(String(96 << 20));
    expect(quota()).toMatch(/^80000/);
    const { stats } = await cri.call("ContainerStats", { container_id: container });
    expect(stats.memory.working_set_bytes.value).toBeGreaterThan(0);
    expect(stats.cpu.usage_core_nano_seconds.value).toBeGreaterThan(0);
    await remove(container);
  });

  test("out of memory is the reason of the end", async () => {
    const resources = { memory_limit_in_bytes: 16 << 20 };
    const container = await pod.run("hungry", ["sh", "-c", "head -c 200m /dev/zero | tail"], { linux: { resources } });
    expect(await ended(container)).toMatchObject({ reason: "OOMKilled" });
    await remove(container);
  });

  test("stop is SIGTERM, whose exit code is told, and SIGKILL for who does not hear", async () => {
    // Before the trap is set the kernel keeps the signal from process 1.
    const ready = (name: string) => until(() => pod.log(name).includes("ready"), `${name} is ready`);
    const hears = await pod.run("hears", ["sh", "-c", "trap 'exit 5' TERM; echo ready; while :; do sleep 0.1; done"]);
    await ready("hears");
    await cri.call("StopContainer", { container_id: hears, timeout: 60 });
    expect(await status(hears)).toMatchObject({ state: "CONTAINER_EXITED", exit_code: 5 });
    const deaf = await pod.run("deaf", ["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]);
    await ready("deaf");
    await cri.call("StopContainer", { container_id: deaf, timeout: 1 });
    expect(await status(deaf)).toMatchObject({ state: "CONTAINER_EXITED", exit_code: 137 });
    await remove(hears);
    await remove(deaf);
  });

  test("containers of a pod share network, host name and IPC, and see only their own processes", async () => {
    const server = await pod.run("server", [
      "sh",
      "-c",
      "echo from the server > /tmp/index.html; exec httpd -f -p 127.0.0.1:80 -h /tmp",
    ]);
    const client = await pod.run("client", FOREVER);
    const fetch = "for i in $(seq 50); do wget -q -O - http://127.0.0.1/ 2>/dev/null && break; sleep 0.1; done";
    expect(await sh(client, fetch)).toBe("from the server\n");
    const names = "for n in net ipc uts pid mnt; do readlink /proc/1/ns/$n; done";
    const [here, there] = [(await sh(client, names)).split("\n"), (await sh(server, names)).split("\n")];
    expect(here.map((name: string, i: number) => name === there[i])).toEqual([true, true, true, false, false, true]);
    expect(await sh(client, "hostname; ps -o comm | grep -c httpd")).toBe("web\n0\n");
    expect(await sh(server, "echo shared > /dev/shm/file")).toBe("");
    expect(await sh(client, "cat /dev/shm/file")).toBe("shared\n");
    // A container that is added to look at another one, as `kubectl debug --target` does.
    const look = { namespace_options: { pid: "TARGET", target_id: server } };
    const debug = await pod.run("debug", FOREVER, { linux: { security_context: look } });
    expect(await sh(debug, "ps -o comm | grep httpd")).toBe("httpd\n");
    for (const container of [debug, client, server]) await remove(container);
  });

  test("a pod with one process namespace, its sysctls, and the node's network", async () => {
    const shared = await cri.runPod("shared", {
      linux: {
        security_context: { namespace_options: { pid: "POD" } },
        sysctls: { "net.ipv4.ip_unprivileged_port_start": "80", "kernel.shm_rmid_forced": "1" },
      },
    });
    const one = await shared.run("one", FOREVER);
    const two = await shared.run("two", ["sleep", "1234"]);
    expect(await sh(one, "ps -o args | grep -c '[s]leep 1234'")).toBe("1\n");
    expect(await sh(one, "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced")).toBe(
      "80\n1\n",
    );
    await cri.call("StopContainer", { container_id: two, timeout: 0 });
    await shared.remove();
    const options = { network: "NODE", pid: "CONTAINER" };
    const node = await cri.runPod("node", {
      hostname: "",
      linux: { security_context: { namespace_options: options } },
    });
    const inNode = await node.run("one", FOREVER);
    const net = spawnSync("readlink", [`/proc/${cri.daemon.pid}/ns/net`], { encoding: "utf8" }).stdout;
    expect(await sh(inNode, "readlink /proc/1/ns/net")).toBe(net);
    await node.remove();
  });

  test("a security context: user, capabilities, seccomp, no new privileges, read-only and masked places", async () => {
    const show = "id -u; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status | tr '\\t' ' '";
    const security_context = {
      run_as_user: { value: 1000 },
      capabilities: { drop_capabilities: ["ALL"], add_capabilities: ["NET_BIND_SERVICE"] },
      no_new_privs: true,
      readonly_rootfs: true,
      seccomp: { profile_type: "RuntimeDefault" },
      masked_paths: ["/proc/version"],
      readonly_paths: ["/proc/sys"],
    };
    const mounts = [{ container_path: "/share", host_path: "/usr/share", readonly: true }];
    const container = await pod.run("tight", FOREVER, { mounts, linux: { security_context } });
    expect(await sh(container, show)).toBe("1000\nCapBnd: 0000000000000400\nNoNewPrivs: 1\nSeccomp: 2\n");
    const closed = "for f in /x /tmp/x /share/x /proc/sys/kernel/hostname; do true 2>/dev/null >$f || echo no; done";
    expect(await sh(container, `(${closed}) 2>/dev/null; wc -c </proc/version`)).toBe("no\nno\nno\nno\n0\n");
    expect(await sh(container, "ls /share | wc -l")).not.toBe("0\n");
    await remove(container);
  });

  test("a privileged container has every capability of the engine, and every device", async () => {
    const all = await cri.runPod("privileged", {
      linux: { security_context: { privileged: true, namespace_options: { pid: "CONTAINER" } } },
    });
    const open = await all.run("open", FOREVER, { linux: { security_context: { privileged: true } } });
    expect(await sh(open, "mount -t tmpfs t /mnt && echo mounted; grep Seccomp: /proc/self/status")).toBe(
      "mounted\nSeccomp:\t0\n",
    );
    const bounds = (status: string) => /^CapBnd:.*$/m.exec(status)?.[0];
    const engine = readFileSync(`/proc/${cri.daemon.pid}/status`, "utf8");
    expect(bounds(await sh(open, "cat /proc/self/status"))).toBe(bounds(engine));
    const list = "cd /dev; find . -type b -o -type c | grep -vE '^./(pts/|ptmx$|console$)' | sort";
    const host = spawnSync("sh", ["-c", list], { encoding: "utf8" }).stdout;
    expect(await sh(open, list)).toBe(host);
    await all.remove();
  });

  test("ten containers of a pod start at once", async () => {
    const names = Array.from({ length: 10 }, (_, i) => `many${i}`);
    const many = await Promise.all(names.map((name) => pod.run(name, ["sh", "-c", `echo ${name}; exec sleep 100000`])));
    expect(await Promise.all(many.map((id) => sh(id, "cat /proc/1/comm")))).toEqual(names.map(() => "sleep\n"));
    expect(names.map((name) => pod.log(name).trim().split(" ").pop())).toEqual(names);
    await Promise.all(many.map(remove));
  });

  test("when the shim is killed the engine ends its pod with the runtime, and nothing is left", async () => {
    const lost = await cri.runPod("lost");
    const ids = [lost.id, await lost.run("one", FOREVER)];
    const shims = processesNamed(`-id ${lost.id}`).map((line) => Number.parseInt(line, 10));
    expect(shims).toHaveLength(1);
    process.kill(shims[0] ?? 0, "SIGKILL");
    for (;;) {
      const { status } = await cri.call("PodSandboxStatus", { pod_sandbox_id: lost.id });
      if (status.state === "SANDBOX_NOTREADY") break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    expect(await ended(ids[1] ?? "")).toMatchObject({ state: "CONTAINER_EXITED" });
    await lost.remove();
    // The engine calls the runtime for it in the background, and takes the pod for removed before that has ended.
    const left = () => readdirSync(STATES).filter((name) => ids.includes(name));
    await until(() => left().length === 0, "the runtime has forgotten the pod and its container");
    expect(ids.flatMap((id) => [...cgroupsNamed(id), ...processesNamed(id)])).toEqual([]);
  });

  test("removal of a pod leaves nothing: no cgroup, no process, no mount, no state", async () => {
    const mounts = () => readFileSync(`/proc/${cri.daemon.pid}/mountinfo`, "utf8").split("\n").sort();
    const before = mounts();
    const gone = await cri.runPod("gone");
    const ids = [gone.id, await gone.run("left", FOREVER)];
    expect(readdirSync(STATES)).toEqual(expect.arrayContaining(ids));
    await gone.remove();
    const isOurs = (text: string) => ids.some((id) => text.includes(id));
    expect((await cri.call("ListContainers")).containers.filter(({ id }: Message) => isOurs(id))).toEqual([]);
    expect((await cri.call("ListPodSandbox")).items.filter(({ id }: Message) => isOurs(id))).toEqual([]);
    expect(readdirSync(STATES).filter(isOurs)).toEqual([]);
    expect(ids.flatMap((id) => [...cgroupsNamed(id), ...processesNamed(id)])).toEqual([]);
    expect(mounts()).toEqual(before);
  });
});
