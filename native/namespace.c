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
 * The child goes on with the plan, as a child of the runtime (CLONE_PARENT): only so is its
 * exit status the runtime's to collect. The pid is told by the parent, which sees the host's.
 */
int op_clone(struct init *init, const struct arg *args)
{
	long pid = clone_process(args[0].u | CLONE_PARENT, as_int(&args[1]));

	if (pid < 0)
		return (int)pid;
	if (pid == 0)
		return 0;
	exit_group(send_message(init, MESSAGE_PID, (int32_t)pid, -1) < 0);
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
