/**
 * linux.netDevices: devices of the host's network namespace, moved to the container's with their addresses.
 * Rules: OCI config-linux.md "Network Devices". When the namespace ends, the kernel takes physical devices back and
 * removes the others; while the container is still being made, a failure brings them back as they were.
 */
import { isErrno, TsrunError } from "../errors.ts";
import type { LinuxNetDevice } from "../spec/types.ts";
import { O_CLOEXEC, O_RDONLY } from "../sys/constants.ts";
import { closeQuiet, open } from "../sys/file.ts";
import {
  addAddress,
  bringUp,
  type DeviceAddress,
  findDevice,
  IFNAME_MAX,
  listDevices,
  moveDevice,
  type NetDevice,
  permanentAddresses,
} from "../sys/net-device.ts";
import { netlinkSocket } from "../sys/netlink.ts";

interface Moved {
  device: NetDevice;
  addresses: readonly DeviceAddress[];
  /** Its name where it goes. */
  name: string;
}

/** A network namespace, and a socket to the kernel about it. */
interface Place {
  namespace: number;
  socket: number;
}

export class NetDevices {
  readonly #moved: Moved[] = [];
  #places: { host: Place; inside: Place } | undefined;

  /** Into the network namespace of process `pid`. @throws TsrunError that names the device; back() is then still due */
  move(pid: number, devices: Readonly<Record<string, LinuxNetDevice>>): void {
    const host = openPlace("/proc/thread-self/ns/net");
    const inside = openPlace(`/proc/${pid}/ns/net`);
    this.#places = { host, inside };
    for (const [name, { name: wanted }] of Object.entries(devices)) {
      try {
        this.#moveOne(host, inside, name, wanted);
      } catch (cause) {
        throw new TsrunError(`linux.netDevices ${name}`, { cause, ...fixFor(cause) });
      }
    }
  }

  #moveOne(host: Place, inside: Place, name: string, wanted: string | undefined): void {
    // By an alternative name, too; what it is called in the container is its own name then.
    const device = findDevice(host.socket, name);
    const addresses = permanentAddresses(host.socket, device);
    const names = listDevices(inside.socket).map((other) => other.name);
    const moved = { device, addresses, name: freeName(wanted || device.name, names) };
    this.#moved.push(moved);
    moveDevice(host.socket, device, inside.namespace, moved.name);
    settle(inside, moved, true);
  }

  /** Undoes what move() did, last first. @throws TsrunError when something could not be brought back */
  back(): void {
    if (this.#places === undefined) return;
    const { host, inside } = this.#places;
    let failure: unknown;
    for (const moved of this.#moved.splice(0).reverse()) {
      const { device, name } = moved;
      try {
        moveDevice(inside.socket, findDevice(inside.socket, name), host.namespace, device.name);
        settle(host, { ...moved, name: device.name }, device.isUp);
      } catch (error) {
        // It had not gone.
        if (!isErrno(error, "ENODEV")) failure = error;
      }
    }
    if (failure !== undefined) throw failure;
  }

  [Symbol.dispose](): void {
    for (const place of [this.#places?.host, this.#places?.inside]) {
      if (place === undefined) continue;
      closeQuiet(place.socket);
      closeQuiet(place.namespace);
    }
    this.#places = undefined;
  }
}

function openPlace(path: string): Place {
  const namespace = open(path, O_RDONLY | O_CLOEXEC);
  try {
    return { namespace, socket: netlinkSocket(namespace) };
  } catch (error) {
    closeQuiet(namespace);
    throw error;
  }
}

/** A device that has just come gets its addresses, which the move took away, and is brought up. */
function settle({ socket }: Place, { device, addresses, name }: Moved, isUp: boolean): void {
  const here = findDevice(socket, name);
  for (const address of addresses) addAddress(socket, here, address, device.name);
  if (isUp) bringUp(socket, here);
}

/**
 * "eth%d" stands for the first number that gives a name nobody has.
 *
 * @throws TsrunError when the name is taken
 */
export function freeName(wanted: string, taken: readonly string[]): string {
  const numbered = wanted.includes("%d");
  for (let number = 0; ; number++) {
    const name = wanted.replace("%d", String(number));
    if (name.length > IFNAME_MAX) throw new TsrunError(`every name like ${wanted} is taken in the container`);
    if (!taken.includes(name)) return name;
    if (!numbered) throw new TsrunError(`the container has a network device ${name} already`);
  }
}

function fixFor(cause: unknown): { fix?: string } {
  if (isErrno(cause, "ENODEV"))
    return { fix: "is it in the network namespace that tsrun runs in? ip link shows what is" };
  // A name that another device has was looked for before.
  if (isErrno(cause, "EEXIST"))
    return { fix: "the name is one of its alternative names, or the container has one of these: ip link property del" };
  if (isErrno(cause, "EINVAL")) return { fix: "devices such as lo and bridges belong to their network namespace" };
  return {};
}
