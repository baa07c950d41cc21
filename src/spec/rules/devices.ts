/** linux.devices. Rules: OCI config-linux.md "Devices"; mknod(2), the kernel's 12-bit majors and 20-bit minors. */
import { type ListShape, S } from "../structure.ts";
import { quote } from "../text.ts";
import type { LinuxDevice } from "../types.ts";
import type { RuleContext } from "./context.ts";

export const DEVICES: ListShape = {
  list: {
    members: {
      __proto__: null as never,
      path: S.path,
      type: { words: ["c", "b", "u", "p"] },
      major: S.int64,
      minor: S.int64,
      fileMode: S.uint32,
      uid: S.id,
      gid: S.id,
    },
    required: ["type", "path"],
  },
};

const MAX_MAJOR = 0xfff;
const MAX_MINOR = 0xfffff;
/** Callers send the S_IF* bits along with the permissions. */
const MODE_BITS = 0o177777;

export function checkDevices(context: RuleContext): void {
  context.spec.linux?.devices?.forEach((device, i) => {
    checkDevice(context, device, `linux.devices[${i}]`);
  });
}

function checkDevice({ report }: RuleContext, device: LinuxDevice, path: string): void {
  if (device.path !== undefined && (!device.path.startsWith("/") || device.path.endsWith("/"))) {
    report(`${path}.path`, `must be the absolute path of a file, not ${quote(device.path)}`);
  }
  if (device.fileMode !== undefined && device.fileMode > MODE_BITS) {
    report(`${path}.fileMode`, `${device.fileMode} is no file mode`);
  }
  if (device.type === undefined || device.type === "p") return;
  for (const [field, max] of [["major", MAX_MAJOR] as const, ["minor", MAX_MINOR] as const]) {
    const number = device[field];
    if (number === undefined) report(`${path}.${field}`, `is needed for a device of type ${quote(device.type)}`);
    else if (number < 0 || number > max) report(`${path}.${field}`, `${number} is out of range, 0 to ${max}`);
  }
}
