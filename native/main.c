/*
 * The init of a container: walks the plan that the runtime left in a memfd and carries
 * it out, step by step. It decides nothing. Its answers are the messages of
 * src/plan/step.ts; a step that fails is named with its errno, and ends it.
 *
 *   tsrun-init SYNC-FD PLAN-FD
 *
 * The same program waits for a container in the foreground when it is called
 * tsrun-monitor (monitor.c), for the end of a cgroup as tsrun-witness (witness.c), and for
 * descriptors as tsrun-relay (relay.c).
 */
#include "init.h"

static int (*const ops[])(struct init *, const struct arg *) = {
#define OP_FUNCTION(name, kinds) op_##name,
	OPS(OP_FUNCTION)
#undef OP_FUNCTION
};

static int is_called(int argc, char **argv, const char *name);
static _Noreturn void fail(struct init *init, int error);

int main(int argc, char **argv)
{
	struct init init = { 0 };
	struct reader reader;
	struct step step;
	int64_t sync, plan;
	int result;

	if (is_called(argc, argv, "tsrun-monitor"))
		return monitor(argc, argv);
	if (is_called(argc, argv, "tsrun-witness"))
		return witness(argc, argv);
	if (is_called(argc, argv, "tsrun-relay"))
		return relay(argc, argv);
	if (argc != 3 || decode_number(argv[1], &sync) < 0 || decode_number(argv[2], &plan) < 0)
		return 2;
	/* Until execve nobody may look into this process or trace it: it holds descriptors of the host. */
	SYS(prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	init.sync = (int)sync;
	SYS(fcntl, init.sync, F_SETFD, FD_CLOEXEC);
	reset_signals(0);
	/* Modes of what the plan makes are exact; the container's umask is set before exec. */
	init.inherited_umask = SYS(umask, 0);
	result = map_file((int)plan, &reader);
	if (result < 0)
		fail(&init, -result);
	if (decode_magic(&reader, PLAN_MAGIC) < 0)
		fail(&init, EPROTO);

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

static int is_called(int argc, char **argv, const char *name)
{
	return argc > 0 && decode_magic(&(struct reader){ argv[0], argv[0] + strlen(argv[0]) + 1 }, name) == 0;
}

static _Noreturn void fail(struct init *init, int error)
{
	send_failure(init, error);
	exit_group(1);
}
