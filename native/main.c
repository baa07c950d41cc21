/*
 * The init of a container: walks the plan that the runtime left in a memfd and carries
 * it out, step by step. It decides nothing. Its answers are the messages of
 * src/plan/step.ts; a step that fails is named with its errno, and ends it.
 *
 *   tsrun-init SYNC-FD PLAN-FD
 *
 * The same program waits for a container in the foreground when it is called
 * tsrun-monitor (monitor.c).
 */
#include "init.h"

static int (*const ops[])(struct init *, const struct arg *) = {
#define OP_FUNCTION(name, kinds) op_##name,
	OPS(OP_FUNCTION)
#undef OP_FUNCTION
};

static int map_plan(int fd, struct reader *reader);
static void reset_signals(void);
static _Noreturn void fail(struct init *init, int error);

int main(int argc, char **argv)
{
	struct init init = { 0 };
	struct reader reader;
	struct step step;
	int64_t sync, plan;
	int result;

	if (argc > 0 && argv[0][0] == 't' && decode_magic(&(struct reader){ argv[0], argv[0] + strlen(argv[0]) + 1 },
							  "tsrun-monitor") == 0)
		return monitor(argc, argv);
	if (argc != 3 || decode_number(argv[1], &sync) < 0 || decode_number(argv[2], &plan) < 0)
		return 2;
	/* Until execve nobody may look into this process or trace it: it holds descriptors of the host. */
	SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	init.sync = (int)sync;
	SYS(fcntl, init.sync, F_SETFD, FD_CLOEXEC);
	reset_signals();
	/* Modes of what the plan makes are exact; the container's umask is set before exec. */
	init.inherited_umask = SYS(umask, 0);
	result = map_plan((int)plan, &reader);
	if (result < 0)
		fail(&init, -result);

	for (;; init.step++) {
		result = decode_step(&reader, &step);
		if (result == 0)
			return 0;
		if (result < 0)
			fail(&init, EPROTO);
		result = ops[step.op](&init, step.args);
		if (result < 0)
			fail(&init, -result);
	}
}

/* The plan as private memory: arguments are cut and pointed to in place. */
static int map_plan(int fd, struct reader *reader)
{
	struct statx status;
	long memory;
	int result = status_of(fd, &status);

	if (result < 0)
		return result;
	memory = SYS(mmap, 0, status.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (memory < 0)
		return (int)memory;
	SYS(close, fd);
	reader->at = (char *)memory;
	reader->end = reader->at + status.size;
	return decode_magic(reader, PLAN_MAGIC) < 0 ? -EPROTO : 0;
}

/* Ignored signals and the mask outlive execve (signal(7)), and a JavaScript engine ignores some. */
static void reset_signals(void)
{
	uint64_t action[4] = { 0 };
	uint64_t none = 0;

	for (int signal = 1; signal <= SIGNAL_MAX; signal++)
		SYS(rt_sigaction, signal, action, 0, sizeof(uint64_t));
	SYS(rt_sigprocmask, SIG_SETMASK, &none, 0, sizeof(uint64_t));
}

static _Noreturn void fail(struct init *init, int error)
{
	send_message(init, MESSAGE_FAIL, error, -1);
	exit_group(1);
}
