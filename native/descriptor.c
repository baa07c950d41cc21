/* Opening, closing and writing: each descriptor ends at the number that the plan gave it. */
#include "init.h"

/* Moves `fd` to the number `wanted`, close-on-exec. Returns 0 or -errno; passes an error in `fd` on. */
int place(int fd, int wanted)
{
	long result;

	if (fd < 0 || fd == wanted)
		return fd < 0 ? fd : 0;
	result = SYS(dup3, fd, wanted, O_CLOEXEC);
	SYS(close, fd);
	return result < 0 ? (int)result : 0;
}

/* openat2(2) that cannot leave `root` and follows no magic link of procfs. Returns a descriptor or -errno. */
int open_in(int root, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | resolve,
	};
	long result;

	/* EAGAIN: a rename somewhere raced with ".." or a link; the kernel asks to try again. */
	for (int tries = 0; tries < 128; tries++) {
		result = SYS(openat2, root, path, &how, sizeof(how));
		if (result != -EAGAIN)
			break;
	}
	return (int)result;
}

/* statx(2) of a descriptor, O_PATH or not. Returns 0 or -errno. */
int status_of(int fd, struct statx *status)
{
	return (int)SYS(statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_MNT_ID, status);
}

int op_open(struct init *init, const struct arg *args)
{
	(void)init;
	return place((int)SYS(openat, AT_FDCWD, args[1].text, args[2].n | O_CLOEXEC, args[3].n), as_int(&args[0]));
}

int op_openIn(struct init *init, const struct arg *args)
{
	(void)init;
	return place(open_in(as_int(&args[1]), args[2].text, args[3].u, args[4].u), as_int(&args[0]));
}

int op_close(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(close, as_int(&args[0]));
}

/* One call, because files of procfs and cgroups take their value whole. */
int op_write(struct init *init, const struct arg *args)
{
	long result = SYS(write, as_int(&args[0]), args[1].text, args[1].size);

	(void)init;
	if (result < 0)
		return (int)result;
	return (size_t)result == args[1].size ? 0 : -EIO;
}
