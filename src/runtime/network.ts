/** What the network interfaces of a container have carried. Rules: proc_pid_net(5), `dev`; runc's types/events.go. */
import type { NetworkInterface } from "../cgroup/stats.ts";
import { CLONE_NEWNET } from "../linux.ts";
import { readFileSync } from "../sys/fs.ts";
import type { StateRecord } from "./state.ts";

/** Of its own network namespace, but for lo; null when it has none, or has ended. */
export function networkInterfaces(record: StateRecord): NetworkInterface[] | null {
  if ((record.namespaces & CLONE_NEWNET) === 0) return null;
  let text: string;
  try {
    text = readFileSync(`/proc/${record.pid}/net/dev`);
  } catch {
    // It has ended.
    return null;
  }
  const interfaces = parseNetDev(text).filter(({ Name }) => Name !== "lo");
  return interfaces.length > 0 ? interfaces : null;
}

/** Two lines of headings, then "name: " and eight numbers for what came in and eight for what went out. */
export function parseNetDev(text: string): NetworkInterface[] {
  const interfaces: NetworkInterface[] = [];
  for (const line of text.split("\n").slice(2)) {
    // A name may have a colon in it (those of old aliases), the numbers have none.
    const colon = line.lastIndexOf(":");
    if (colon < 0) continue;
    const numbers = line
      .slice(colon + 1)
      .split(" ")
      .filter(Boolean)
      .map(Number);
    const [RxBytes = 0, RxPackets = 0, RxErrors = 0, RxDropped = 0] = numbers;
    const [TxBytes = 0, TxPackets = 0, TxErrors = 0, TxDropped = 0] = numbers.slice(8);
    const Name = line.slice(0, colon).trim();
    interfaces.push({ Name, RxBytes, RxPackets, RxErrors, RxDropped, TxBytes, TxPackets, TxErrors, TxDropped });
  }
  return interfaces;
}
