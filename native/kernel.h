/*
 * The kernel's interface as far as the init uses it: numbers, flags and layouts, for
 * x86_64 and aarch64. Written out here so that a compiler is all the build needs (no
 * libc, no kernel headers, whatever their age). test/unit/native/kernel.test.ts compares
 * it with the headers of the machine where there are some.
 */
#ifndef TSRUN_KERNEL_H
#define TSRUN_KERNEL_H

#include <stddef.h>
#include <stdint.h>

#if defined(__x86_64__)
#define NR_read 0
#define NR_write 1
#define NR_close 3
#define NR_lseek 8
#define NR_mmap 9
#define NR_rt_sigaction 13
#define NR_rt_sigprocmask 14
#define NR_ioctl 16
#define NR_pread64 17
#define NR_writev 20
#define NR_nanosleep 35
#define NR_getpid 39
#define NR_sendfile 40
#define NR_socket 41
#define NR_sendmsg 46
#define NR_recvmsg 47
#define NR_clone 56
#define NR_execve 59
#define NR_wait4 61
#define NR_kill 62
#define NR_fcntl 72
#define NR_getcwd 79
#define NR_fchmod 91
#define NR_chdir 80
#define NR_flock 73
#define NR_fchdir 81
#define NR_umask 95
#define NR_setsid 112
#define NR_setgroups 116
#define NR_setresuid 117
#define NR_setresgid 119
#define NR_getpgid 121
#define NR_capset 126
#define NR_fstatfs 138
#define NR_pivot_root 155
#define NR_personality 135
#define NR_prctl 157
#define NR_chroot 161
#define NR_mount 165
#define NR_umount2 166
#define NR_sethostname 170
#define NR_setdomainname 171
#define NR_getdents64 217
#define NR_exit_group 231
#define NR_waitid 247
#define NR_keyctl 250
#define NR_openat 257
#define NR_mkdirat 258
#define NR_mknodat 259
#define NR_fchownat 260
#define NR_unlinkat 263
#define NR_symlinkat 266
#define NR_readlinkat 267
#define NR_faccessat 269
#define NR_ppoll 271
#define NR_unshare 272
#define NR_accept4 288
#define NR_signalfd4 289
#define NR_dup3 292
#define NR_pipe2 293
#define NR_prlimit64 302
#define NR_setns 308
#define NR_renameat2 316
#define NR_seccomp 317
#define NR_statx 332
#define O_DIRECTORY 0200000
#define O_NOFOLLOW 0400000
#define NR_sched_setaffinity 203
#define NR_set_mempolicy 238
#define NR_ioprio_set 251
#define NR_sched_setattr 314
#define NR_setpriority 141
#define NR_sched_setscheduler 144
#elif defined(__aarch64__)
#define NR_getcwd 17
#define NR_dup3 24
#define NR_pipe2 59
#define NR_fcntl 25
#define NR_ioctl 29
#define NR_mknodat 33
#define NR_mkdirat 34
#define NR_unlinkat 35
#define NR_symlinkat 36
#define NR_umount2 39
#define NR_mount 40
#define NR_pivot_root 41
#define NR_fstatfs 44
#define NR_faccessat 48
#define NR_chdir 49
#define NR_flock 32
#define NR_fchdir 50
#define NR_chroot 51
#define NR_fchownat 54
#define NR_openat 56
#define NR_close 57
#define NR_getdents64 61
#define NR_lseek 62
#define NR_read 63
#define NR_write 64
#define NR_writev 66
#define NR_pread64 67
#define NR_ppoll 73
#define NR_signalfd4 74
#define NR_readlinkat 78
#define NR_capset 91
#define NR_exit_group 94
#define NR_waitid 95
#define NR_unshare 97
#define NR_nanosleep 101
#define NR_kill 129
#define NR_rt_sigaction 134
#define NR_rt_sigprocmask 135
#define NR_setresuid 147
#define NR_setresgid 149
#define NR_getpgid 155
#define NR_setsid 157
#define NR_setgroups 159
#define NR_sethostname 161
#define NR_setdomainname 162
#define NR_umask 166
#define NR_personality 92
#define NR_prctl 167
#define NR_getpid 172
#define NR_socket 198
#define NR_sendmsg 211
#define NR_recvmsg 212
#define NR_keyctl 219
#define NR_clone 220
#define NR_execve 221
#define NR_mmap 222
#define NR_accept4 242
#define NR_wait4 260
#define NR_prlimit64 261
#define NR_setns 268
#define NR_renameat2 276
#define NR_seccomp 277
#define NR_statx 291
#define O_DIRECTORY 040000
#define O_NOFOLLOW 0100000
#define NR_ioprio_set 30
#define NR_sched_setaffinity 122
#define NR_set_mempolicy 237
#define NR_sched_setattr 274
#define NR_setpriority 140
#define NR_sched_setscheduler 119
#define NR_fchmod 52
#define NR_sendfile 71
#else
#error "tsrun runs on x86_64 and aarch64"
#endif
#define NR_pidfd_send_signal 424
#define NR_open_tree 428
#define NR_move_mount 429
#define NR_fsopen 430
#define NR_fsconfig 431
#define NR_fsmount 432
#define NR_pidfd_open 434
#define NR_clone3 435
#define NR_close_range 436
#define NR_openat2 437
#define NR_faccessat2 439
#define NR_mount_setattr 442

/* errno(3) */
#define EPERM 1
#define ENOENT 2
#define ESRCH 3
#define EINTR 4
#define EIO 5
#define EBADF 9
#define ECHILD 10
#define EAGAIN 11
#define ENOMEM 12
#define EACCES 13
#define EBUSY 16
#define EEXIST 17
#define EXDEV 18
#define ENOTDIR 20
#define EISDIR 21
#define EINVAL 22
#define ENOTTY 25
#define EROFS 30
#define ENAMETOOLONG 36
#define ENOSYS 38
#define ENOTEMPTY 39
#define ELOOP 40
#define EPROTO 71
#define ESTALE 116

/* open(2), openat2(2), fcntl(2), *at(2) */
#define O_RDONLY 00
#define O_WRONLY 01
#define O_RDWR 02
#define O_CREAT 0100
#define O_EXCL 0200
#define O_NOCTTY 0400
#define O_TRUNC 01000
#define O_NONBLOCK 04000
#define LOCK_EX 2
#define LOCK_UN 8
#define O_CLOEXEC 02000000
#define O_PATH 010000000
#define AT_FDCWD (-100)
#define AT_SYMLINK_NOFOLLOW 0x100
#define AT_EACCESS 0x200
#define AT_REMOVEDIR 0x200
#define AT_EMPTY_PATH 0x1000
#define AT_RECURSIVE 0x8000
#define F_SETFD 2
#define F_GETFL 3
#define F_SETFL 4
#define FD_CLOEXEC 1
#define X_OK 1
#define PATH_MAX 4096
#define RENAME_NOREPLACE 1
#define RESOLVE_NO_XDEV 0x01
#define RESOLVE_NO_MAGICLINKS 0x02
#define RESOLVE_NO_SYMLINKS 0x04
#define RESOLVE_BENEATH 0x08
#define RESOLVE_IN_ROOT 0x10
struct open_how {
	uint64_t flags, mode, resolve;
};

/* statx(2), fstatfs(2) */
#define STATX_BASIC_STATS 0x7ffU
#define STATX_MNT_ID 0x1000U
#define S_IFMT 0170000
#define S_IFSOCK 0140000
#define S_IFLNK 0120000
#define S_IFREG 0100000
#define S_IFBLK 0060000
#define S_IFDIR 0040000
#define S_IFCHR 0020000
#define S_IFIFO 0010000
struct statx_time {
	int64_t sec;
	uint32_t nsec;
	int32_t reserved;
};
struct statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare0;
	uint64_t ino, size, blocks, attributes_mask;
	struct statx_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t mnt_id;
	uint64_t spare[13];
};
struct statfs {
	long type;
	long rest[14];
};
#define DEVPTS_SUPER_MAGIC 0x1cd1

/* mount(2), fsconfig(2), open_tree(2), move_mount(2), mount_setattr(2), umount2(2) */
#define MS_MOVE 8192
#define MS_REC 16384
#define MS_SLAVE (1 << 19)
#define MNT_DETACH 2
#define UMOUNT_NOFOLLOW 8
#define FSOPEN_CLOEXEC 1
#define FSMOUNT_CLOEXEC 1
#define FSCONFIG_SET_FLAG 0
#define FSCONFIG_SET_STRING 1
#define FSCONFIG_CMD_CREATE 6
#define OPEN_TREE_CLONE 1
#define OPEN_TREE_CLOEXEC O_CLOEXEC
#define MOVE_MOUNT_F_EMPTY_PATH 0x04
#define MOVE_MOUNT_T_EMPTY_PATH 0x40
#define MOUNT_ATTR_RDONLY 1
struct mount_attr {
	uint64_t attr_set, attr_clr, propagation, userns_fd;
};

/* clone3(2), close_range(2), mmap(2) */
#define CLONE_PARENT 0x8000UL
#define CLONE_INTO_CGROUP 0x200000000UL
#define CSIGNAL 0xffUL
struct clone_args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls;
	uint64_t set_tid, set_tid_size, cgroup;
};
#define CLOSE_RANGE_CLOEXEC 4
#define PROT_READ 1
#define PROT_WRITE 2
#define MAP_SHARED 1
#define MAP_PRIVATE 2
#define MAP_ANONYMOUS 32
#define MAP_NORESERVE 0x4000

/* socket(2), sendmsg(2) */
#define AF_UNIX 1
#define SOCK_DGRAM 2
#define SOCK_CLOEXEC O_CLOEXEC
#define SOL_SOCKET 1
#define SCM_RIGHTS 1
#define MSG_NOSIGNAL 0x4000
#define MSG_CMSG_CLOEXEC 0x40000000
struct iovec {
	void *base;
	size_t length;
};
struct msghdr {
	void *name;
	int namelen;
	struct iovec *iov;
	size_t iovlen;
	void *control;
	size_t controllen;
	unsigned int flags;
};
struct cmsghdr {
	size_t length;
	int level, type;
};

/* ioctl_tty(2), netdevice(7) */
#define TCGETS 0x5401
#define TCSETS 0x5402
#define TIOCSCTTY 0x540e
#define TIOCGPGRP 0x540f
#define TIOCGWINSZ 0x5413
#define TIOCSWINSZ 0x5414
#define TIOCSPTLCK 0x40045431
#define TIOCGPTPEER 0x5441
#define SIOCGIFFLAGS 0x8913
#define SIOCSIFFLAGS 0x8914
#define IFF_UP 1
struct winsize {
	uint16_t rows, columns, xpixel, ypixel;
};
struct termios {
	uint32_t iflag, oflag, cflag, lflag;
	uint8_t line, cc[19];
};
#define VEOF 4
#define VTIME 5
#define VMIN 6
#define IGNBRK 0000001
#define BRKINT 0000002
#define PARMRK 0000010
#define ISTRIP 0000040
#define INLCR 0000100
#define IGNCR 0000200
#define ICRNL 0000400
#define IXON 0002000
#define OPOST 0000001
#define CSIZE 0000060
#define CS8 0000060
#define PARENB 0000400
#define ISIG 0000001
#define ICANON 0000002
#define ECHO 0000010
#define ECHONL 0000100
#define IEXTEN 0100000
struct ifreq {
	char name[16];
	int16_t flags;
	char rest[22];
};

/* prctl(2), capset(2), keyctl(2), seccomp(2), prlimit(2) */
#define PR_SET_PDEATHSIG 1
#define PR_SET_DUMPABLE 4
#define PR_SET_KEEPCAPS 8
#define PR_CAPBSET_READ 23
#define PR_CAPBSET_DROP 24
#define PR_SET_CHILD_SUBREAPER 36
#define PR_SET_NO_NEW_PRIVS 38
#define PR_CAP_AMBIENT 47
#define PR_CAP_AMBIENT_RAISE 2
#define PR_CAP_AMBIENT_CLEAR_ALL 4
#define CAPABILITY_VERSION_3 0x20080522
struct cap_header {
	uint32_t version;
	int32_t pid;
};
struct cap_data {
	uint32_t effective, permitted, inheritable;
};
#define KEYCTL_JOIN_SESSION_KEYRING 1
#define KEYCTL_SETPERM 5
#define SECCOMP_SET_MODE_FILTER 1
#define SECCOMP_FILTER_FLAG_NEW_LISTENER 8
struct sock_fprog {
	uint16_t length;
	void *filter;
};
struct rlimit64 {
	uint64_t soft, hard;
};

/* sched_setscheduler(2), setpriority(2) */
#define SCHED_FIFO 1
#define SCHED_RESET_ON_FORK 0x40000000
#define PRIO_PROCESS 0

/* signal(7), signalfd(2), wait4(2), waitid(2), poll(2) */
#define SIG_SETMASK 2
#define SA_RESTORER 0x04000000
#define SIGHUP 1
#define SIGINT 2
#define SIGQUIT 3
#define SIGKILL 9
#define SIGPIPE 13
#define SIGTERM 15
#define SIGCHLD 17
#define SIGCONT 18
#define SIGURG 23
#define SIGWINCH 28
#define SIGNAL_MAX 64
struct signalfd_siginfo {
	uint32_t signo;
	int32_t error, code;
	uint32_t pid;
	uint8_t rest[112];
};
#define WNOHANG 1
#define WEXITED 4
#define WNOWAIT 0x01000000
#define P_PID 1
#define WAIT_ALL 0x40000000 /* __WALL */
#define POLLIN 1
#define POLLPRI 2
#define POLLOUT 4
#define POLLERR 8
#define POLLHUP 16
#define POLLNVAL 32
struct pollfd {
	int fd;
	int16_t events, revents;
};
struct timespec {
	int64_t sec, nsec;
};
struct dirent64 {
	uint64_t ino;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

/* Raw system calls: the result, or -errno. */
#if defined(__clang_analyzer__) || defined(TSRUN_OTHER_KERNEL)
/* Of assembly an analyzer does not know that the kernel writes where the arguments point; test/fuzz/ brings a kernel. */
long syscall6(long nr, long a, long b, long c, long d, long e, long f);
#else
static inline long syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
#else
	register long x8 __asm__("x8") = nr;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			 : "memory", "cc");
	return x0;
#endif
}
#endif

#define SYSCALL_PICK(_0, _1, _2, _3, _4, _5, _6, name, ...) name
#define SYSCALL_0(nr) syscall6(nr, 0, 0, 0, 0, 0, 0)
#define SYSCALL_1(nr, a) syscall6(nr, (long)(a), 0, 0, 0, 0, 0)
#define SYSCALL_2(nr, a, b) syscall6(nr, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYSCALL_3(nr, a, b, c) syscall6(nr, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYSCALL_4(nr, a, b, c, d) syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYSCALL_5(nr, a, b, c, d, e) \
	syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYSCALL_6(nr, a, b, c, d, e, f) \
	syscall6(nr, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
/* syscall(2): SYS(openat, dirfd, path, flags, mode) */
#define SYS(...) SYS_(__VA_ARGS__)
#define SYS_(name, ...) \
	SYSCALL_PICK(_0, ##__VA_ARGS__, SYSCALL_6, SYSCALL_5, SYSCALL_4, SYSCALL_3, SYSCALL_2, \
		     SYSCALL_1, SYSCALL_0)(NR_##name, ##__VA_ARGS__)

/* A filter of the container may be in force that refuses it: then by a signal. */
static inline _Noreturn void exit_group(int status)
{
	SYS(exit_group, status);
	__builtin_trap();
}

#endif
