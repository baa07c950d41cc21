/* Signal dispositions, as a process should start with them (signal(7)). */
#include "init.h"

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
