import { type RuntimeInfo, runtimeInfo } from "../../index.ts";
import { escapeControl } from "../../log.ts";
import { defineVerb } from "../flags.ts";
import { writeOut } from "../output.ts";

export const info = defineVerb({
  name: "info",
  summary: "print what this program and this machine are",
  usage: "",
  flags: [{ name: "json", kind: "bool", help: "print an object" }],
  min: 0,
  max: 0,
  notes: "For a bug report. Nothing is tried: whether containers can be run here, `tsrun doctor` says.",
  run({ values, globals }) {
    const about = runtimeInfo(globals.root);
    writeOut(values.json ? `${JSON.stringify(about, null, 2)}\n` : table(about));
    return 0;
  },
});

function table({ version, host, cgroups, security, namespaces, storage, state }: RuntimeInfo): string {
  const { creating, created, running, paused, stopped } = state.containers;
  const rows: [string, string][] = [
    ["version", `${version.tsrun} (commit ${version.commit})`],
    ["runtime-spec", version.runtimeSpec],
    ["kernel", `${host.kernel} ${host.architecture}`],
    ["distribution", host.distribution],
    ["cpus", String(host.cpus)],
    ["memory", `${mebibytes(host.memory)} and ${mebibytes(host.swap)} swap`],
    ["cgroups", `${cgroups.layout}${cgroups.mounts.length === 0 ? "" : ` at ${cgroups.mounts.join(" ")}`}`],
    ["controllers", cgroups.controllers.join(" ") || "none"],
    ["rootless", yes(security.rootless)],
    ["in a user namespace", yes(security.userNamespace)],
    ["security modules", ["apparmor", "selinux", "seccomp"].filter((name) => security[name as "seccomp"]).join(" ")],
    ["namespaces", namespaces.join(" ")],
    ["storage driver", `${storage.driver} (of ${storage.drivers.join(", ")})`],
    ["layers and images", storage.root],
    ["container states", state.root],
    ["containers", `${running} running, ${paused} paused, ${created + creating} created, ${stopped} stopped`],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return rows.map(([name, value]) => `${name.padEnd(width)}  ${escapeControl(value || "none")}\n`).join("");
}

function mebibytes(bytes: number): string {
  return `${Math.round(bytes / 2 ** 20)} MiB`;
}

function yes(value: boolean): string {
  return value ? "yes" : "no";
}
