/* Who the process is and what it may do (credentials(7), capabilities(7)). */
#include "init.h"

static int set_groups(const struct arg *list);

/* uid gid setgroups groups; capabilities stay permitted through the change of uid. */
int op_user(struct init *init, const struct arg *args)
{
	int result = (int)SYS(prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);

	(void)init;
	if (result == 0 && args[2].n != 0)
		result = set_groups(&args[3]);
	if (result == 0)
		result = (int)SYS(setresgid, args[1].n, args[1].n, args[1].n);
	if (result == 0)
		result = (int)SYS(setresuid, args[0].n, args[0].n, args[0].n);
	if (result == 0)
		result = (int)SYS(prctl, PR_SET_KEEPCAPS, 0, 0, 0, 0);
	return result;
}

static int set_groups(const struct arg *list)
{
	uint32_t *groups = NULL;
	const char *text = list->text;
	uint64_t gid;

	if (list->size > 0) {
		groups = scratch(list->size * sizeof(*groups));
		if (groups == NULL)
			return -ENOMEM;
	}
	for (size_t i = 0; i < list->size; i++) {
		if (decode_unsigned(text, &gid) < 0 || gid > UINT32_MAX)
			return -EPROTO;
		groups[i] = (uint32_t)gid;
		text += strlen(text) + 1;
	}
	return (int)SYS(setgroups, list->size, groups);
}

/* keep: a mask; every other capability that this kernel knows is dropped. */
int op_boundingSet(struct init *init, const struct arg *args)
{
	(void)init;
	for (unsigned int cap = 0; cap < 64; cap++) {
		long held = SYS(prctl, PR_CAPBSET_READ, cap, 0, 0, 0);

		if (held == -EINVAL) /* past the last one */
			break;
		if (held > 0 && (args[0].u >> cap & 1) == 0)
			held = SYS(prctl, PR_CAPBSET_DROP, cap, 0, 0, 0);
		if (held < 0)
			return (int)held;
	}
	return 0;
}

/* effective permitted inheritable ambient; ambient last, as it must lie within two of the others. */
int op_capabilities(struct init *init, const struct arg *args)
{
	struct cap_header header = { .version = CAPABILITY_VERSION_3 };
	struct cap_data data[2];
	long result;

	(void)init;
	for (int i = 0; i < 2; i++) {
		data[i].effective = (uint32_t)(args[0].u >> 32 * i);
		data[i].permitted = (uint32_t)(args[1].u >> 32 * i);
		data[i].inheritable = (uint32_t)(args[2].u >> 32 * i);
	}
	result = SYS(capset, &header, data);
	if (result == 0)
		result = SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (unsigned int cap = 0; cap < 64 && result == 0; cap++)
		if (args[3].u >> cap & 1)
			result = SYS(prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0);
	return (int)result;
}

/*
 * uid. Not given away: the null device, which is everybody's; what a user namespace does not map (EINVAL) or
 * own (EPERM); what lies on a read-only filesystem.
 */
int op_stdio(struct init *init, const struct arg *args)
{
	struct statx status;

	(void)init;
	for (int fd = 0; fd <= 2; fd++) {
		long result = status_of(fd, &status);

		if (result < 0)
			return (int)result;
		if (status.uid == args[0].u)
			continue;
		if ((status.mode & S_IFMT) == S_IFCHR && status.rdev_major == 1 && status.rdev_minor == 3)
			continue;
		result = SYS(fchownat, fd, "", args[0].n, -1, AT_EMPTY_PATH);
		if (result < 0 && result != -EINVAL && result != -EPERM && result != -EROFS)
			return (int)result;
	}
	return 0;
}
