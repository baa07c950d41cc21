/**
 * Numbers of the Linux ABI that the pure parts of tsrun put into plans; the same on x86_64 and aarch64.
 * Sources: linux/mount.h, linux/sched.h, linux/fcntl.h, linux/openat2.h, linux/stat.h.
 */
export const CLONE_NEWTIME = 0x80;
export const CLONE_NEWNS = 0x20000;
export const CLONE_NEWCGROUP = 0x2000000;
export const CLONE_NEWUTS = 0x4000000;
export const CLONE_NEWIPC = 0x8000000;
export const CLONE_NEWUSER = 0x10000000;
export const CLONE_NEWPID = 0x20000000;
export const CLONE_NEWNET = 0x40000000;

export const MS_RDONLY = 0x1;
export const MS_REC = 0x4000;
export const MS_UNBINDABLE = 0x20000;
export const MS_PRIVATE = 0x40000;
export const MS_SLAVE = 0x80000;
export const MS_SHARED = 0x100000;

export const MOUNT_ATTR_RDONLY = 0x1;
export const MOUNT_ATTR_NOSUID = 0x2;
export const MOUNT_ATTR_NODEV = 0x4;
export const MOUNT_ATTR_NOEXEC = 0x8;
export const MOUNT_ATTR_IDMAP = 0x100000;

export const AT_FDCWD = -1; // as the plan writes it; the init knows the kernel's -100
export const AT_RECURSIVE = 0x8000;
export const AT_EMPTY_PATH = 0x1000;
export const AT_SYMLINK_NOFOLLOW = 0x100;

export const PROC_MAGIC = 0x9fa0;
/** statfs(2) f_type of the kernel's own file systems, by their names. Source: linux/magic.h. Without prototype: "toString" is none. */
export const FS_MAGIC: Readonly<Record<string, number>> = {
  __proto__: null as never,
  proc: PROC_MAGIC,
  sysfs: 0x62656572,
  mqueue: 0x19800202,
};

export const O_WRONLY = 0x1;
export const O_RDWR = 0x2;
export const O_PATH = 0x200000;
export const O_CLOEXEC = 0x80000;

export const S_IFCHR = 0o020000;
export const S_IFBLK = 0o060000;
export const S_IFIFO = 0o010000;

/** A device number as the kernel's 64-bit encoding in makedev(3), for the minor and major numbers in use. */
export function makedev(major: number, minor: number): number {
  return (minor & 0xff) + (major & 0xfff) * 0x100 + (minor - (minor & 0xff)) * 0x1000;
}

/** Resource limits by their names in the spec, and their numbers. Source: asm-generic/resource.h. */
export const RLIMITS: Readonly<Record<string, number>> = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
};
