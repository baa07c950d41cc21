/**
 * Project quotas: what all files of one project take of a file system together. quotactl_fd(2) has them by a descriptor
 * (Linux 5.14); one set of calls serves ext4 and xfs, in units of xfs (kernel fs/quota/quota.c).
 */
import { check } from "./call.ts";
import { syscall } from "./ffi.ts";
import { SYS } from "./numbers.ts";
import { getU64, setU64, viewOf } from "./structs.ts";

// ioctl_xfs_fsgetxattr(2): struct fsxattr is fsx_xflags, extsize, nextents, projid, cowextsize, all u32, and 8 bytes.
const FS_IOC_FSGETXATTR = 0x801c581f;
const FS_IOC_FSSETXATTR = 0x401c5820;
const FSXATTR_SIZE = 28;
const FS_XFLAG_PROJINHERIT = 0x200;

// linux/dqblk_xfs.h: XQM_CMD is 'X' << 8, QCMD is (command << 8) + PRJQUOTA.
const Q_XGETQUOTA = 0x580302;
const Q_XSETQLIM = 0x580402;
const Q_XGETQSTATV = 0x580802;
const FS_QUOTA_PDQ_ENFD = 0x20;
const FS_DQUOT_VERSION = 1;
const FS_PROJ_QUOTA = 2;
const FS_DQ_BSOFT_BHARD = 0x0c;
const FS_DISK_QUOTA_SIZE = 112;
/** Of what the kernel counts in: a "basic block". */
const BLOCK = 512;

/** Does the file system of this descriptor keep projects to their limits? */
export function enforcesProjects(fd: number): boolean {
  const state = new Uint8Array(256);
  state[0] = 1; // FS_QSTATV_VERSION1
  // Any failure is a kernel or a file system that has no such quotas, or none turned on.
  if (syscall(SYS.quotactl_fd, fd, Q_XGETQSTATV, 0, state) < 0) return false;
  return (viewOf(state).getUint16(2, true) & FS_QUOTA_PDQ_ENFD) !== 0;
}

export interface ProjectUse {
  limitBytes: number;
  usedBytes: number;
  usedInodes: number;
}

/** @returns all 0 for a project that the file system has never heard of */
export function projectUse(fd: number, project: number): ProjectUse {
  const quota = new Uint8Array(FS_DISK_QUOTA_SIZE);
  const result = syscall(SYS.quotactl_fd, fd, Q_XGETQUOTA, project, quota);
  // xfs has no record of a project without files; ext4 makes one up.
  if (result === -2 || result === -3) return { limitBytes: 0, usedBytes: 0, usedInodes: 0 };
  check(result, "quotactl get");
  const view = viewOf(quota);
  return {
    limitBytes: Number(getU64(view, 8)) * BLOCK,
    usedBytes: Number(getU64(view, 40)) * BLOCK,
    usedInodes: Number(getU64(view, 48)),
  };
}

/** 0 is no limit. */
export function setProjectLimit(fd: number, project: number, bytes: number): void {
  const quota = new Uint8Array(FS_DISK_QUOTA_SIZE);
  const view = viewOf(quota);
  view.setInt8(0, FS_DQUOT_VERSION);
  view.setInt8(1, FS_PROJ_QUOTA);
  view.setUint16(2, FS_DQ_BSOFT_BHARD, true);
  view.setUint32(4, project, true);
  setU64(view, 8, Math.ceil(bytes / BLOCK));
  check(syscall(SYS.quotactl_fd, fd, Q_XSETQLIM, project, quota), "quotactl set limit");
}

/** Puts a directory (O_RDONLY) into a project, and with it what is made in it from now on. */
export function setProject(fd: number, project: number, path: string): void {
  const attributes = new Uint8Array(FSXATTR_SIZE);
  check(syscall(SYS.ioctl, fd, FS_IOC_FSGETXATTR, attributes), "FS_IOC_FSGETXATTR", path);
  const view = viewOf(attributes);
  view.setUint32(0, view.getUint32(0, true) | FS_XFLAG_PROJINHERIT, true);
  view.setUint32(12, project, true);
  check(syscall(SYS.ioctl, fd, FS_IOC_FSSETXATTR, attributes), "FS_IOC_FSSETXATTR", path);
}
