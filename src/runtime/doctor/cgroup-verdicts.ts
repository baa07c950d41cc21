/** What `doctor` says of cgroups: pure. Rules: kernel cgroup-v2.rst "Delegation"; systemd.resource-control(5) Delegate=. */
import type { Probes } from "./probes.ts";
import { isRoot, type Verdict } from "./verdict.ts";

/** Controllers that limits of config.json need most. */
const USUAL_V1 = ["cpu", "cpuset", "blkio", "memory", "pids"];
const USUAL_V2 = ["cpu", "cpuset", "io", "memory", "pids"];

export function cgroupChecks(probes: Probes): Verdict[] {
  const { layout, made } = probes.cgroup;
  if (layout === "none") {
    const detail = "none is mounted: containers have no limits";
    return [{ name: "cgroup", status: "limited", detail, fix: "mount -t cgroup2 cgroup2 /sys/fs/cgroup" }];
  }
  if (made !== undefined) return [refused(probes)];
  const checks = [{ name: "cgroup", status: "ok", detail: `${layout}; containers get their own` } as Verdict];
  checks.push(controllerCheck(probes));
  if (isRoot(probes)) checks.push(deviceCheck(probes));
  return checks;
}

/** Root's containers must have a cgroup; those of others do without, unless a limit is asked for. */
function refused(probes: Probes): Verdict {
  const { layout, made } = probes.cgroup;
  const name = "cgroup";
  const why = made?.why ?? "";
  if (isRoot(probes)) {
    return {
      name,
      status: "missing",
      detail: `${layout}; ${why}`,
      fix: "mount /sys/fs/cgroup read-write, or run with --cgroup-manager disabled, without limits",
      isNeeded: true,
    };
  }
  const fix =
    layout === "v2" ? DELEGATE : "boot with cgroup v2 (systemd.unified_cgroup_hierarchy=1), which can be delegated";
  return { name, status: "limited", detail: `${layout}; no limits: ${why}`, fix };
}

const DELEGATE = "systemd-run --user --scope -p Delegate=yes tsrun …, or a cgroup that root has given to this user";

function controllerCheck({ cgroup: { layout, usable, known } }: Probes): Verdict {
  const name = "cgroup controllers";
  const usual = layout === "v2" ? USUAL_V2 : USUAL_V1;
  const lacking = usual.filter((controller) => !usable.includes(controller));
  if (lacking.length === 0) return { name, status: "ok", detail: usable.join(" ") };
  const detail = `${usable.join(" ") || "none"}; not ${lacking.join(" ")}`;
  const isElsewhere = lacking.some((controller) => known.includes(controller));
  const fix = isElsewhere
    ? `hand them down: systemctl edit user@.service, [Service] Delegate=${usual.join(" ")}`
    : "the kernel has them switched off (cgroup_disable=, CONFIG_*)";
  return { name, status: "limited", detail, fix };
}

function deviceCheck({ cgroup: { devices, layout } }: Probes): Verdict {
  const name = "cgroup devices";
  if (devices === undefined) return { name, status: "ok", detail: layout === "v2" ? "by eBPF" : "by their controller" };
  return { name, status: "missing", detail: devices.why, fix: "CONFIG_CGROUP_BPF, CONFIG_BPF_SYSCALL; CAP_BPF" };
}
