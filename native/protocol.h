/* Made by scripts/gen-protocol.ts from src/plan/step.ts; change it there. */
#ifndef TSRUN_PROTOCOL_H
#define TSRUN_PROTOCOL_H

/* Each op and the kinds of its arguments; its place in the list is its number in a plan. */
#define OPS(X) \
	X(open, "nsnn") \
	X(openIn, "nnsnn") \
	X(close, "n") \
	X(write, "ns") \
	X(setns, "nn") \
	X(unshare, "n") \
	X(clone, "nn") \
	X(become, "nnn") \
	X(dumpable, "n") \
	X(fsmount, "nsnl") \
	X(fsmountLike, "nsnln") \
	X(openTree, "nnsn") \
	X(mountSetattr, "nsnnnnn") \
	X(target, "nnsnnn") \
	X(attach, "nn") \
	X(copyTree, "nn") \
	X(removeTree, "s") \
	X(mount, "sssns") \
	X(fchdir, "n") \
	X(mknod, "nsnnnn") \
	X(symlink, "nssn") \
	X(mask, "nsnn") \
	X(readonly, "ns") \
	X(checkDevice, "nnn") \
	X(checkMount, "nnns") \
	X(pivot, "n") \
	X(detach, "s") \
	X(unmount, "ns") \
	X(moveRoot, "n") \
	X(chroot, "n") \
	X(pty, "nn") \
	X(console, "nn") \
	X(winsize, "nnn") \
	X(controllingTerminal, "n") \
	X(fchown, "nnn") \
	X(setsid, "") \
	X(keyring, "s") \
	X(sethostname, "s") \
	X(setdomainname, "s") \
	X(loopback, "") \
	X(rlimit, "nuu") \
	X(umask, "n") \
	X(affinity, "b") \
	X(schedAttr, "b") \
	X(ioPriority, "n") \
	X(memoryPolicy, "nb") \
	X(personality, "n") \
	X(noNewPrivs, "") \
	X(boundingSet, "u") \
	X(user, "nnnl") \
	X(capabilities, "uuuu") \
	X(seccomp, "nb") \
	X(stdio, "n") \
	X(chdir, "s") \
	X(enter, "s") \
	X(findExecutable, "l") \
	X(parentDeathSignal, "n") \
	X(endOnSignals, "u") \
	X(await, "n") \
	X(receive, "nn") \
	X(awaitStart, "n") \
	X(cloexecFrom, "n") \
	X(exec, "ll")

#define OP_COUNT 63

enum message {
	MESSAGE_PID = 1,
	MESSAGE_AWAIT = 2,
	MESSAGE_FAIL = 3,
	MESSAGE_FD = 4,
};

enum await_tag {
	AWAIT_ID_MAPS = 1,
	AWAIT_READY = 2,
	AWAIT_CREATE_HOOKS = 3,
	AWAIT_START_HOOKS = 4,
	AWAIT_NET_DEVICES = 5,
	AWAIT_LISTENER = 6,
	AWAIT_CGROUP = 7,
	AWAIT_SOURCE = 8,
};

#endif
