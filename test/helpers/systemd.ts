/** What systemd says of a unit of the machine. */
import { spawnSync } from "node:child_process";

/** A property of a unit, as `MemoryMax`, without its name. */
export function unitProperty(unit: string, property: string): string {
  const { stdout } = spawnSync("systemctl", ["show", "--value", "-p", property, unit], { encoding: "utf8" });
  return stdout.trim();
}

/** systemd writes what it knows of all units into their cgroups again. */
export function reloadSystemd(): void {
  const { status, stderr } = spawnSync("systemctl", ["daemon-reload"], { encoding: "utf8" });
  if (status !== 0) throw new Error(`systemctl daemon-reload: ${stderr}`);
}
