/* Signal dispositions, as a process should start with them (signal(7)). */
#include "init.h"

/*
 * Sets the mask, then every disposition to its default: ignored signals and the mask outlive
 * execve(2), and a JavaScript engine ignores some.
 */
void reset_signals(uint64_t mask)
{
	uint64_t action[4] = { 0 };

	SYS(rt_sigprocmask, SIG_SETMASK, &mask, 0, sizeof(uint64_t));
	for (int signal = 1; signal <= SIGNAL_MAX; signal++)
		SYS(rt_sigaction, signal, action, 0, sizeof(uint64_t));
}
