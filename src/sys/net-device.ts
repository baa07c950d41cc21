/**
 * Network devices through a socket to their namespace: found, moved, named, given addresses, brought up.
 * Layouts: struct ifinfomsg, linux/if_link.h; struct ifaddrmsg, linux/if_addr.h.
 */
import {
  type NetlinkAttribute,
  type NetlinkMessage,
  NLM_F_CREATE_NEW,
  NLM_F_DUMP,
  netlinkRequest,
  textAttribute,
  textOf,
  uint32Attribute,
} from "./netlink.ts";
import { viewOf } from "./structs.ts";

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;

const IFLA_IFNAME = 3;
const IFLA_NET_NS_FD = 28;
const IFLA_ALT_IFNAME = 53;
const IFF_UP = 1;

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_LABEL = 3;
const IFA_BROADCAST = 4;
const IFA_FLAGS = 8;
const IFA_RT_PRIORITY = 9;
const IFA_F_PERMANENT = 0x80;
const RT_SCOPE_UNIVERSE = 0;
/** What an address was given: no duplicate detection, home address, managed temporary ones, no route, joined group. */
const GIVEN_FLAGS = 0x2 | 0x10 | 0x100 | 0x200 | 0x400;

/** Longest name of a device, without its NUL; alternative ones may have 127. */
export const IFNAME_MAX = 15;

export interface NetDevice {
  index: number;
  name: string;
  isUp: boolean;
}

/** An address as the kernel told of it, ready to be given to another device. */
export type DeviceAddress = Pick<NetlinkMessage, "fixed" | "attributes">;

/** @param name its own, or an alternative one @throws SyscallError ENODEV */
export function findDevice(socket: number, name: string): NetDevice {
  const attribute = textAttribute(name.length > IFNAME_MAX ? IFLA_ALT_IFNAME : IFLA_IFNAME, name);
  const request = { type: RTM_GETLINK, fixed: linkHeader(0), attributes: [attribute] };
  const [answer] = netlinkRequest(socket, request, 0, "look for network device", name);
  // The kernel answers or says why not.
  return readDevice(answer as NetlinkMessage);
}

export function listDevices(socket: number): NetDevice[] {
  const request = { type: RTM_GETLINK, fixed: linkHeader(0), attributes: [] };
  return netlinkRequest(socket, request, NLM_F_DUMP, "list network devices").map(readDevice);
}

/** To the network namespace of a descriptor, under a name; down from then on, and without its addresses. */
export function moveDevice(socket: number, { index, name }: NetDevice, namespace: number, as: string): void {
  const attributes = [uint32Attribute(IFLA_NET_NS_FD, namespace), textAttribute(IFLA_IFNAME, as)];
  const request = { type: RTM_NEWLINK, fixed: linkHeader(index), attributes };
  netlinkRequest(socket, request, 0, "move network device", name);
}

export function bringUp(socket: number, { index, name }: NetDevice): void {
  const request = { type: RTM_NEWLINK, fixed: linkHeader(index, IFF_UP), attributes: [] };
  netlinkRequest(socket, request, 0, "bring up network device", name);
}

/** Those that are permanent and of global scope: none that a server lends, and none that the device makes itself. */
export function permanentAddresses(socket: number, { index }: NetDevice): DeviceAddress[] {
  const request = { type: RTM_GETADDR, fixed: new Uint8Array(8), attributes: [] };
  const all = netlinkRequest(socket, request, NLM_F_DUMP, "list network addresses");
  return all.filter(({ fixed }) => {
    const flags = fixed[2] ?? 0;
    return (
      viewOf(fixed).getUint32(4, true) === index && (flags & IFA_F_PERMANENT) !== 0 && fixed[3] === RT_SCOPE_UNIVERSE
    );
  });
}

/** @param from the name that the device had when it had the address */
export function addAddress(socket: number, device: NetDevice, address: DeviceAddress, from: string): void {
  const { fixed, attributes } = addressFor(device, address, from);
  netlinkRequest(socket, { type: RTM_NEWADDR, fixed, attributes }, NLM_F_CREATE_NEW, "add address to", device.name);
}

/** What asks for the same address on a device: without what the kernel notes about it, and with the label renamed. */
export function addressFor(device: NetDevice, address: DeviceAddress, from: string): DeviceAddress {
  const fixed = address.fixed.slice();
  fixed[2] = 0;
  viewOf(fixed).setUint32(4, device.index, true);
  const attributes: NetlinkAttribute[] = [];
  for (const { type, value } of address.attributes) {
    if ([IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST, IFA_RT_PRIORITY].includes(type)) attributes.push({ type, value });
    if (type === IFA_FLAGS) {
      const given = viewOf(value).getUint32(0, true) & GIVEN_FLAGS;
      if (given !== 0) attributes.push(uint32Attribute(IFA_FLAGS, given));
    }
    if (type === IFA_LABEL) {
      const label = textOf(value);
      const renamed = label.startsWith(from) ? device.name + label.slice(from.length) : label;
      // Without one it is labelled as its device.
      if (renamed.length <= IFNAME_MAX) attributes.push(textAttribute(IFA_LABEL, renamed));
    }
  }
  return { fixed, attributes };
}

/** struct ifinfomsg; `flags` are those to set, and no other is changed. */
function linkHeader(index: number, flags = 0): Uint8Array {
  const header = new Uint8Array(16);
  const view = viewOf(header);
  view.setInt32(4, index, true);
  view.setUint32(8, flags, true);
  view.setUint32(12, flags, true);
  return header;
}

function readDevice({ fixed, attributes }: NetlinkMessage): NetDevice {
  const view = viewOf(fixed);
  const name = attributes.find(({ type }) => type === IFLA_IFNAME);
  return {
    index: view.getInt32(4, true),
    name: name === undefined ? "" : textOf(name.value),
    isUp: (view.getUint32(8, true) & IFF_UP) !== 0,
  };
}
