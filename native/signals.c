/* Signal dispositions: as a process should start with them, and while it waits for its start (signal(7)). */
#include "init.h"

static _Noreturn void end_on(int signal);

/*
 * Sets the mask, then every disposition to its default: ignored signals and the mask outlive
 * execve(2), and a JavaScript engine ignores some. One that is the default already is not set again:
 * that would discard a SIGCONT or SIGWINCH which is pending, blocked or not (sigaction(2)).
 */
void reset_signals(uint64_t mask)
{
	uint64_t action[4] = { 0 }, current[4];

	SYS(rt_sigprocmask, SIG_SETMASK, &mask, 0, sizeof(uint64_t));
	for (int signal = 1; signal <= SIGNAL_MAX; signal++)
		if (SYS(rt_sigaction, signal, 0, current, sizeof(uint64_t)) == 0 && current[0] != 0)
			SYS(rt_sigaction, signal, action, 0, sizeof(uint64_t));
}

/* mask. Whatever has a handler is at its default after execve(2). */
int op_endOnSignals(struct init *init, const struct arg *args)
{
	uint64_t action[4] = { (uint64_t)end_on, SA_RESTORER, (uint64_t)end_on, 0 };
	long result = 0;

	(void)init;
	for (int signal = 1; signal <= SIGNAL_MAX && result == 0; signal++)
		if (((args[0].u >> (signal - 1)) & 1) != 0)
			result = SYS(rt_sigaction, signal, action, 0, sizeof(uint64_t));
	return (int)result;
}

/* It does not return, so that it is its own restorer: x86_64 wants one. */
static _Noreturn void end_on(int signal)
{
	exit_group(128 + signal);
}
