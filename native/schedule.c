/* Where and when the process runs, and from which memory. The plan has what the kernel takes; nothing is decided here. */
#include "init.h"

#define IOPRIO_WHO_PROCESS 1

int op_affinity(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(sched_setaffinity, 0, args[0].size, args[0].text);
}

int op_schedAttr(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(sched_setattr, 0, args[0].text, 0);
}

int op_ioPriority(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(ioprio_set, IOPRIO_WHO_PROCESS, 0, args[0].n);
}

/* set_mempolicy(2) counts one bit more than it reads. */
int op_memoryPolicy(struct init *init, const struct arg *args)
{
	size_t bits = args[1].size == 0 ? 0 : args[1].size * 8 + 1;

	(void)init;
	return (int)SYS(set_mempolicy, args[0].n, bits == 0 ? NULL : args[1].text, bits);
}

int op_personality(struct init *init, const struct arg *args)
{
	long result = SYS(personality, args[0].n);

	(void)init;
	return result < 0 ? (int)result : 0;
}
