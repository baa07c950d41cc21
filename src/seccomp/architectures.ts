/**
 * The architectures of a profile, and which of them a machine can run. Sources: OCI config-linux.md "Seccomp",
 * linux/audit.h AUDIT_ARCH_*.
 */

/** An architecture with a system call table. */
export type ArchitectureName = "x86_64" | "i386" | "x32" | "aarch64" | "arm";

/** What the kernel of a machine was built for. */
export type NativeArchitecture = "x86_64" | "aarch64";

/** One value of `arch` in struct seccomp_data, and the system call tables that live under it. */
export interface Abi {
  name: ArchitectureName;
  /** The name in a profile. */
  profileName: string;
  /** AUDIT_ARCH_*. */
  audit: number;
  /** Are arguments 64 bits wide? Of narrower ones only the lower half is compared, as libseccomp does. */
  wide: boolean;
}

const X86_64: Abi = { name: "x86_64", profileName: "SCMP_ARCH_X86_64", audit: 0xc000003e, wide: true };
/** x32 shares the audit value of x86_64; bit 30 of the system call number tells them apart. */
export const X32: Abi = { name: "x32", profileName: "SCMP_ARCH_X32", audit: 0xc000003e, wide: false };
const I386: Abi = { name: "i386", profileName: "SCMP_ARCH_X86", audit: 0x40000003, wide: false };
const AARCH64: Abi = { name: "aarch64", profileName: "SCMP_ARCH_AARCH64", audit: 0xc00000b7, wide: true };
const ARM: Abi = { name: "arm", profileName: "SCMP_ARCH_ARM", audit: 0x40000028, wide: false };

/** What a machine can run beside its own architecture. */
export const NATIVE: Record<NativeArchitecture, { own: Abi; others: readonly Abi[] }> = {
  x86_64: { own: X86_64, others: [I386] },
  aarch64: { own: AARCH64, others: [ARM] },
};
