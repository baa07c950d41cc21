/* Device nodes and links in /dev of the container (mknod(2), symlink(2)), each below a descriptor. */
#include "init.h"

static int make_node(int dir, const char *name, const struct arg *args);
static int is_equal(int dir, const char *name, const struct arg *args);
static uint64_t rdev_of(const struct statx *is);
static int points_to(int dir, const char *name, const char *target);

/* root path mode rdev uid gid; an equal node is kept, another is replaced. */
int op_mknod(struct init *init, const struct arg *args)
{
	const char *name;
	int dir = open_parent(as_int(&args[0]), args[1].text, &name);
	int result;

	(void)init;
	if (dir < 0)
		return dir;
	result = make_node(dir, name, args);
	if (result == -EEXIST && is_equal(dir, name, args)) {
		result = 0;
	} else if (result == -EEXIST) {
		result = (int)SYS(unlinkat, dir, name, 0);
		if (result == 0)
			result = make_node(dir, name, args);
	}
	SYS(close, dir);
	return result;
}

/* The umask is 0 (main.c), so the mode comes out as asked. */
static int make_node(int dir, const char *name, const struct arg *args)
{
	int result = (int)SYS(mknodat, dir, name, args[2].n, args[3].n);

	if (result < 0)
		return result;
	return (int)SYS(fchownat, dir, name, args[4].n, args[5].n, AT_SYMLINK_NOFOLLOW);
}

/* Compared in full, owner and mode too: nothing on disk is changed that somebody may have swapped meanwhile. */
static int is_equal(int dir, const char *name, const struct arg *args)
{
	struct statx is;

	if (SYS(statx, dir, name, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &is) < 0)
		return 0;
	return is.mode == args[2].u && (rdev_of(&is) == args[3].u || (is.mode & S_IFMT) == S_IFIFO) &&
	       (args[4].n == -1 || is.uid == args[4].u) && (args[5].n == -1 || is.gid == args[5].u);
}

/* The layout of mknod(2)'s argument: minor in bits 0-7 and 20-31, major in 8-19. */
static uint64_t rdev_of(const struct statx *is)
{
	return (is->rdev_minor & 0xff) | (uint64_t)is->rdev_major << 8 | (uint64_t)(is->rdev_minor & ~0xffU) << 12;
}

/* fd type rdev */
int op_checkDevice(struct init *init, const struct arg *args)
{
	struct statx is;
	int result = status_of(as_int(&args[0]), &is);

	(void)init;
	if (result < 0)
		return result;
	return (is.mode & S_IFMT) == args[1].u && rdev_of(&is) == args[2].u ? 0 : -EINVAL;
}

/* root target path exact; what is there already is kept. Exact: only when it is a link to the same target. */
int op_symlink(struct init *init, const struct arg *args)
{
	const char *name;
	int dir = open_parent(as_int(&args[0]), args[2].text, &name);
	int result;

	(void)init;
	if (dir < 0)
		return dir;
	result = (int)SYS(symlinkat, args[1].text, dir, name);
	if (result == -EEXIST && (args[3].n == 0 || points_to(dir, name, args[1].text)))
		result = 0;
	SYS(close, dir);
	return result;
}

static int points_to(int dir, const char *name, const char *target)
{
	static char link[PATH_MAX];
	long length = SYS(readlinkat, dir, name, link, sizeof(link));

	if (length < 0 || (size_t)length != strlen(target))
		return 0;
	for (long i = 0; i < length; i++)
		if (link[i] != target[i])
			return 0;
	return 1;
}
