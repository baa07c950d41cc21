/**
 * containerd as the kubelet has it: with its CRI plugin, the runtime class of config/engines/containerd.toml, and a network
 * of CNI plugins; and a client that speaks to it as the kubelet does. All of it in a network namespace of its own.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { credentials, loadPackageDefinition, type ServiceClientConstructor, type ServiceError } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { busyboxTar, type Daemon, directories, ociArchive, startDaemon } from "./engine-image.ts";
import { hasCapability } from "./needs.ts";
import { ENGINE_MS } from "./patience.ts";
import { ROOT, RUNTIME } from "./runtime.ts";
import { TEST_PREFIX } from "./scratch.ts";

export const IMAGE = "localhost/busybox:test";
const PAUSE_IMAGE = "localhost/pause:test";
/** Process 1 of a pod: it waits, reaps what it inherits, and ends when it is told to. */
const PAUSE = ["sh", "-c", "trap 'exit 0' TERM INT; while :; do sleep 1000 & wait $!; done"];

/** An answer of the interface: its messages have other fields each, see cri.proto. */
// biome-ignore lint/suspicious/noExplicitAny: the loader makes the messages when the test runs
export type Message = Record<string, any>;

export interface Cri {
  daemon: Daemon;
  isSystemd: boolean;
  /** Calls a method of the interface, as `ContainerStatus`; fails with what the engine says. */
  call(method: string, request?: Message): Promise<Message>;
  /** A pod under the runtime class, and how its containers are asked for. */
  runPod(name: string, config?: Message): Promise<Pod>;
  stop(): Promise<void>;
}

export interface Pod {
  id: string;
  /** Makes a container, and starts it; its id. */
  run(name: string, command: readonly string[], config?: Message): Promise<string>;
  create(name: string, command: readonly string[], config?: Message): Promise<string>;
  /** What the container has written, as the kubelet keeps it. */
  log(name: string): string;
  /** Stops and removes all of it. */
  remove(): Promise<void>;
}

/** Starts it all, with two images made from busybox. */
export async function startCri(): Promise<Cri> {
  const [root, state, run, logs, cni] = directories("root", "state", "run", "logs", "cni") as [
    string,
    string,
    string,
    string,
    string,
  ];
  const isSystemd = spawnSync("test", ["-d", "/run/systemd/system"]).status === 0;
  const config = join(run, "config.toml");
  writeFileSync(config, configuration(cni, isSystemd));
  writeFileSync(join(cni, "10-pods.conflist"), network(cni));
  const address = join(run, "containerd.sock");
  const command = `containerd --config ${config} --root ${root} --state ${state} --address ${address}`;
  // CNI keeps its results in /var/lib/cni, which is not to be written to here.
  const script = `ip link set lo up && mount -t tmpfs cni /var/lib && exec ${command}`;
  const ctr = (...args: string[]) =>
    spawnSync("ctr", ["--address", address, "-n", "k8s.io", ...args], { encoding: "utf8" });
  const daemon = await startDaemon(
    ["unshare", "--net", "--mount", "sh", "-c", script],
    () => ctr("version").status === 0,
  );
  const client = connect(address);
  const stop = async () => {
    client.close();
    await daemon.stop();
  };
  const { call } = client;
  try {
    const tar = busyboxTar();
    for (const archive of [ociArchive(tar, IMAGE, ["sh"]), ociArchive(tar, PAUSE_IMAGE, PAUSE)]) {
      const imported = ctr("images", "import", archive);
      if (imported.status !== 0) throw new Error(imported.stderr);
    }
    await call("Status");
  } catch (error) {
    await stop();
    throw new Error(`${(error as Error).message}\n${daemon.log().slice(-2000)}`);
  }
  const runPodHere = (name: string, more?: Message) =>
    runPod(call, join(logs, name), podConfig(name, join(logs, name), isSystemd, more));
  return { daemon, isSystemd, call, runPod: runPodHere, stop };
}

/** The configuration that users are told of, and what is of this machine. */
function configuration(cni: string, isSystemd: boolean): string {
  const ours = readFileSync(join(ROOT, "config/engines/containerd.toml"), "utf8")
    .replaceAll("/usr/local/bin/tsrun", RUNTIME)
    .replaceAll("SystemdCgroup = true", `SystemdCgroup = ${isSystemd}`);
  // A pod is to be the last that the kernel ends; root of most CI machines may not ask for it (CAP_SYS_RESOURCE).
  const mayLowerScores = hasCapability(24);
  return `version = 2
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  restrict_oom_score_adj = ${!mayLowerScores}

  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${cni}"

${ours}`;
}

/** Each pod has an address of its own, and the host can reach it. */
function network(cni: string): string {
  const ipam = { type: "host-local", subnet: "10.99.0.0/24", dataDir: join(cni, "addresses") };
  return JSON.stringify({ cniVersion: "0.4.0", name: "pods", plugins: [{ type: "ptp", ipam }] });
}

function podConfig(name: string, logs: string, isSystemd: boolean, more: Message = {}): Message {
  const { linux = {}, ...rest } = more;
  const parent = isSystemd ? `${TEST_PREFIX.replaceAll("-", "_")}.slice` : `/${TEST_PREFIX}-pods/${name}`;
  return {
    metadata: { name, uid: `uid-${name}`, namespace: "default", attempt: ++attempts },
    hostname: name,
    log_directory: logs,
    ...rest,
    // What the kubelet asks for when the pod says nothing.
    linux: { cgroup_parent: parent, security_context: { namespace_options: { pid: "CONTAINER" } }, ...linux },
  };
}

/** The kubelet counts the tries of one pod or container; so a test that is tried again does not meet its own name. */
let attempts = 0;

async function runPod(call: Cri["call"], logs: string, config: Message): Promise<Pod> {
  mkdirSync(logs, { recursive: true });
  const { pod_sandbox_id: id } = await call("RunPodSandbox", { config, runtime_handler: "tsrun" });
  const create = async (name: string, command: readonly string[], more: Message = {}) => {
    const { linux = {}, ...rest } = more;
    const security_context = { ...config.linux.security_context, ...linux.security_context };
    const container = {
      metadata: { name, attempt: ++attempts },
      image: { image: IMAGE },
      command,
      log_path: `${name}.log`,
      ...rest,
      linux: { ...linux, security_context },
    };
    const request = { pod_sandbox_id: id, config: container, sandbox_config: config };
    return (await call("CreateContainer", request)).container_id as string;
  };
  return {
    id,
    create,
    async run(name, command, more) {
      const container = await create(name, command, more);
      await call("StartContainer", { container_id: container });
      return container;
    },
    log: (name) => readFileSync(join(logs, `${name}.log`), "utf8"),
    async remove() {
      await call("StopPodSandbox", { pod_sandbox_id: id });
      await call("RemovePodSandbox", { pod_sandbox_id: id });
    },
  };
}

function connect(address: string): { call: Cri["call"]; close(): void } {
  const file = fileURLToPath(new URL("cri.proto", import.meta.url));
  const definition = loadSync(file, { keepCase: true, enums: String, longs: Number, defaults: true });
  const { runtime } = loadPackageDefinition(definition) as unknown as {
    runtime: { v1: { RuntimeService: ServiceClientConstructor } };
  };
  const client = new runtime.v1.RuntimeService(`unix://${address}`, credentials.createInsecure());
  type Answer = (error: ServiceError | null, response: Message) => void;
  const methods = client as unknown as Record<string, (request: Message, limit: object, answer: Answer) => void>;
  return {
    call: (method, request = {}) =>
      new Promise((resolve, reject) => {
        const deadline = Date.now() + ENGINE_MS;
        methods[method]!.call(client, request, { deadline }, (error, response) => {
          if (error === null) resolve(response);
          else reject(new Error(`${method}: ${error.details}`));
        });
      }),
    close: () => client.close(),
  };
}
