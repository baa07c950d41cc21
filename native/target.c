/*
 * Places inside a root filesystem that is not trusted. The kernel resolves every path
 * (openat2(2), RESOLVE_IN_ROOT); what is missing is made below the descriptor of the
 * deepest directory that exists, one component at a time, so nothing is made outside.
 */
#include "init.h"

/* As many links as the kernel follows in one path (path_resolution(7)). */
#define LINKS_MAX 40
#define DEFAULT_MODE 0755

static int open_deepest(int root, char *path, size_t *length, uint64_t resolve);
static int make_below(int dir, char *path, size_t at, uint32_t mode, uint64_t flags, uint64_t resolve);
static int make_one(int dir, const char *name, uint32_t mode);
static int check_kind(int fd, int64_t kind, int keep_link);

int op_target(struct init *init, const struct arg *args)
{
	int root = as_int(&args[1]);
	int64_t kind = args[3].n;
	uint32_t mode = DEFAULT_MODE;
	uint64_t flags = args[5].n & (2 | 4) ? O_NOFOLLOW : 0;
	uint64_t resolve = args[5].n & 1 ? RESOLVE_NO_SYMLINKS : 0;
	struct statx status;
	int fd, result;

	(void)init;
	/* A slash at the end would follow the link that O_NOFOLLOW is to refuse. */
	for (size_t end = args[2].size; end > 1 && args[2].text[end - 1] == '/';)
		args[2].text[--end] = '\0';
	if (kind == 3) {
		result = status_of(as_int(&args[4]), &status);
		if (result < 0)
			return result;
		kind = (status.mode & S_IFMT) == S_IFDIR ? 1 : 2;
	} else if (args[4].n > 0) {
		mode = (uint32_t)args[4].n & 07777;
	}
	if (kind == 0)
		fd = open_in(root, args[2].text, O_PATH | flags, resolve);
	else
		fd = make_in(root, args[2].text, (kind == 1 ? S_IFDIR : S_IFREG) | mode, flags, resolve);
	if (fd < 0)
		return fd;
	result = check_kind(fd, kind, (args[5].n & 4) != 0);
	if (result < 0) {
		SYS(close, fd);
		return result;
	}
	return place(fd, as_int(&args[0]));
}

static int check_kind(int fd, int64_t kind, int keep_link)
{
	struct statx status;
	int result = status_of(fd, &status);

	if (result < 0)
		return result;
	switch (status.mode & S_IFMT) {
	case S_IFLNK: /* opened with O_NOFOLLOW: the plan refuses one here, or wants it for a file */
		if (!keep_link)
			return -ELOOP;
		return kind == 1 ? -ENOTDIR : 0;
	case S_IFDIR:
		return kind == 2 ? -EISDIR : 0;
	default:
		return kind == 1 ? -ENOTDIR : 0;
	}
}

/*
 * Opens (O_PATH) `path` in `root`; a missing last component becomes a directory or an empty
 * file of `mode` (with S_IF*), missing parents become directories. Links that point at nothing
 * yet are followed inside the root and their target is made, as runc does: images have them,
 * /etc/resolv.conf for one. `flags`: O_NOFOLLOW or 0. Returns a descriptor or -errno.
 */
int make_in(int root, const char *path, uint32_t mode, uint64_t flags, uint64_t resolve)
{
	static char work[PATH_MAX];
	size_t length = strlen(path), at;
	int fd, dir;

	if (length >= sizeof(work))
		return -ENAMETOOLONG;
	memcpy(work, path, length + 1);
	for (int links = 0; links <= LINKS_MAX; links++) {
		fd = open_in(root, work, O_PATH | flags, resolve);
		if (fd != -ENOENT)
			return fd;
		dir = open_deepest(root, work, &at, resolve);
		if (dir < 0)
			return dir;
		fd = make_below(dir, work, at, mode, flags, resolve);
		if (fd != -EAGAIN)
			return fd;
	}
	return -ELOOP;
}

/* Opens the longest part of `path` that exists as a directory; `length` is where the rest begins. */
static int open_deepest(int root, char *path, size_t *length, uint64_t resolve)
{
	size_t end = strlen(path);
	char cut;
	int dir;

	do {
		while (end > 0 && path[end - 1] == '/')
			end--;
		while (end > 0 && path[end - 1] != '/')
			end--;
		cut = path[end];
		path[end] = '\0';
		dir = open_in(root, end > 0 ? path : "/", O_PATH | O_DIRECTORY, resolve);
		path[end] = cut;
	} while (dir == -ENOENT && end > 0);
	*length = end;
	return dir;
}

/*
 * Makes what `path` says from offset `at` on, below `dir`, which it closes. Returns the last
 * descriptor; -EAGAIN when a link was put into `path`, which is then to be resolved anew; -errno.
 */
static int make_below(int dir, char *path, size_t at, uint32_t mode, uint64_t flags, uint64_t resolve)
{
	while (path[at] != '\0') {
		size_t end = at, rest;
		int next, last;
		char cut;

		while (path[end] != '\0' && path[end] != '/')
			end++;
		for (rest = end; path[rest] == '/';)
			rest++;
		last = path[rest] == '\0';
		cut = path[end];
		path[end] = '\0';
		next = make_one(dir, path + at, last ? mode : S_IFDIR | DEFAULT_MODE);
		if (next == -ELOOP && resolve == 0 && !(last && flags != 0))
			next = follow(dir, path, at, end, cut);
		if (next != -EAGAIN)
			path[end] = cut;
		SYS(close, dir);
		if (next < 0)
			return next;
		dir = next;
		at = rest;
	}
	return dir;
}

/* One component. Another process may have been first: what lies there is then opened, unless it is a link (ELOOP). */
static int make_one(int dir, const char *name, uint32_t mode)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS,
	};
	long result;

	if ((mode & S_IFMT) == S_IFDIR)
		result = SYS(mkdirat, dir, name, mode & 07777);
	else
		result = SYS(mknodat, dir, name, mode, 0);
	if (result < 0 && result != -EEXIST)
		return (int)result;
	return (int)SYS(openat2, dir, name, &how, sizeof(how));
}

/*
 * Puts the text of the link at path[at..end) in its place; `cut` is the character after it, where there is a NUL now.
 * `path` has PATH_MAX bytes. Returns -EAGAIN or -errno.
 */
int follow(int dir, char *path, size_t at, size_t end, char cut)
{
	static char link[PATH_MAX];
	long length = SYS(readlinkat, dir, path + at, link, sizeof(link));
	size_t start, rest;

	if (length < 0)
		return (int)length;
	path[end] = cut;
	start = link[0] == '/' ? 0 : at;
	rest = strlen(path + end) + 1;
	if (start + (size_t)length + rest > PATH_MAX)
		return -ENAMETOOLONG;
	memmove(path + start + length, path + end, rest);
	memcpy(path + start, link, (size_t)length);
	return -EAGAIN;
}

/*
 * Opens the directory that `path` lies in, making it when missing, and points `name` at the
 * last component. Cuts `path`. Returns a descriptor or -errno.
 */
int open_parent(int root, char *path, const char **name)
{
	size_t end = strlen(path);

	while (end > 0 && path[end - 1] == '/')
		path[--end] = '\0';
	while (end > 0 && path[end - 1] != '/')
		end--;
	*name = path + end;
	if (**name == '\0' || is_dots(*name))
		return -EINVAL;
	if (end == 0)
		return make_in(root, "/", S_IFDIR | DEFAULT_MODE, 0, 0);
	path[end - 1] = '\0';
	return make_in(root, end > 1 ? path : "/", S_IFDIR | DEFAULT_MODE, 0, 0);
}
