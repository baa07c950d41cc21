/* Joining and making namespaces, and the process that lives in them. */
#include "init.h"

static long clone_process(uint64_t flags, int cgroup);

int op_setns(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(setns, as_int(&args[0]), args[1].n);
}

int op_unshare(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(unshare, args[0].n);
}

/*
 * The child goes on with the plan, as a child of the runtime (CLONE_PARENT): only so is its exit status the runtime's
 * to collect. Who it is the parent tells, whom nobody in the container sees: a process of the pid namespace that is
 * joined may kill the child before its first instruction, and a frozen cgroup may keep it from that. The child waits
 * for the word that this was told, so that no other message comes before.
 */
int op_clone(struct init *init, const struct arg *args)
{
	int told[2];
	char byte = 0;
	long pid, result = SYS(pipe2, told, O_CLOEXEC);

	if (result < 0)
		return (int)result;
	pid = clone_process(args[0].u | CLONE_PARENT, as_int(&args[1]));
	if (pid > 0) {
		if (send_message(init, MESSAGE_PID, (int32_t)pid, -1) == 0)
			SYS(write, told[1], &byte, 1);
		exit_group(0);
	}
	SYS(close, told[1]);
	if (pid == 0) {
		do
			result = SYS(read, told[0], &byte, 1);
		while (result == -EINTR);
		/* Nobody is left to run for. */
		if (result <= 0)
			exit_group(1);
	}
	SYS(close, told[0]);
	return (int)pid;
}

/*
 * clone3(2). Its exit_signal must be 0 with CLONE_PARENT: the child takes that of its parent.
 * A seccomp profile of an outer container may refuse it with ENOSYS; then clone(2) does, if it can.
 */
static long clone_process(uint64_t flags, int cgroup)
{
	struct clone_args clone = { .flags = flags };
	long pid;

	if (cgroup >= 0) {
		clone.flags |= CLONE_INTO_CGROUP;
		clone.cgroup = (uint64_t)cgroup;
	}
	pid = SYS(clone3, &clone, sizeof(clone));
	if (pid == -ENOSYS && cgroup < 0 && (flags & CSIGNAL) == 0)
		pid = SYS(clone, flags, 0, 0, 0, 0);
	return pid;
}

int op_become(struct init *init, const struct arg *args)
{
	long result = args[2].n != 0 ? SYS(setgroups, 0, 0) : 0;

	(void)init;
	if (result == 0)
		result = SYS(setresgid, args[1].n, args[1].n, args[1].n);
	if (result == 0)
		result = SYS(setresuid, args[0].n, args[0].n, args[0].n);
	return (int)result;
}

int op_dumpable(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(prctl, PR_SET_DUMPABLE, args[0].n, 0, 0, 0);
}
