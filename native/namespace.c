/* Joining and making namespaces, and the process that lives in them. */
#include "init.h"

static long clone_process(uint64_t flags, int cgroup, long parent_tid);

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
 * exit status the runtime's to collect. It tells its pid itself, so that no other message
 * comes before that one; what it is on the host the kernel wrote into a page that both share.
 */
int op_clone(struct init *init, const struct arg *args)
{
	long page = SYS(mmap, 0, sizeof(int32_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	const int32_t *host_pid = (const int32_t *)page;
	long pid;

	if (page < 0)
		return (int)page;
	pid = clone_process(args[0].u | CLONE_PARENT | CLONE_PARENT_SETTID, as_int(&args[1]), page);
	if (pid < 0)
		return (int)pid;
	if (pid > 0)
		exit_group(0);
	return send_message(init, MESSAGE_PID, *host_pid, -1);
}

/*
 * clone3(2). Its exit_signal must be 0 with CLONE_PARENT: the child takes that of its parent.
 * A seccomp profile of an outer container may refuse it with ENOSYS; then clone(2) does, if it can.
 */
static long clone_process(uint64_t flags, int cgroup, long parent_tid)
{
	struct clone_args clone = { .flags = flags, .parent_tid = (uint64_t)parent_tid };
	long pid;

	if (cgroup >= 0) {
		clone.flags |= CLONE_INTO_CGROUP;
		clone.cgroup = (uint64_t)cgroup;
	}
	pid = SYS(clone3, &clone, sizeof(clone));
	if (pid == -ENOSYS && cgroup < 0 && (flags & CSIGNAL) == 0)
		pid = SYS(clone, flags, 0, parent_tid, 0, 0);
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
