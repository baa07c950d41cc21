/*
 * Copies a directory of the image into the tmpfs that will hide it ("tmpcopyup"). What is copied is the image's and not
 * trusted: everything goes by descriptor, no link is followed and no mount is crossed.
 */
#include "init.h"

/* Each level holds two descriptors and a buffer on the stack. */
#define DEPTH_MAX 64
#define LINK_MAX 4096

static int copy_directory(int from, int to, int depth);
static int copy_entry(int from, int to, const char *name, int depth);
static int copy_content(int from, int to, const char *name, const struct statx *status);
static int copy_link(int from, int to, const char *name);
static int open_beneath(int dir, const char *name, uint64_t flags);
static int own(int dir, const char *name, const struct statx *status, int flags);

int op_copyTree(struct init *init, const struct arg *args)
{
	struct statx status;
	int from, result = status_of(as_int(&args[0]), &status);

	(void)init;
	if (result < 0)
		return result;
	result = own(as_int(&args[1]), "", &status, AT_EMPTY_PATH);
	if (result < 0)
		return result;
	/* The descriptor of a target is O_PATH: it can be opened again, but not read. */
	from = open_beneath(as_int(&args[0]), ".", O_RDONLY | O_DIRECTORY);
	if (from < 0)
		return from;
	result = copy_directory(from, as_int(&args[1]), 0);
	SYS(close, from);
	return result;
}

static int copy_directory(int from, int to, int depth)
{
	char buffer[4096] __attribute__((aligned(8)));
	long count;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	while ((count = SYS(getdents64, from, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; at < count;) {
			const struct dirent64 *entry = (const struct dirent64 *)(buffer + at);
			int result = is_dots(entry->name) ? 0 : copy_entry(from, to, entry->name, depth);

			if (result < 0)
				return result;
			at += entry->length;
		}
	}
	return (int)count;
}

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct statx status;
	int source, copy, result, path = open_beneath(from, name, O_PATH | O_NOFOLLOW);

	/* Another file system begins here, or it has gone: there is nothing of the image to copy. */
	if (path == -EXDEV || path == -ENOENT)
		return 0;
	if (path < 0)
		return path;
	result = status_of(path, &status);
	SYS(close, path);
	if (result < 0)
		return result;
	switch (status.mode & S_IFMT) {
	case S_IFREG:
		return copy_content(from, to, name, &status);
	case S_IFLNK:
		result = copy_link(from, to, name);
		return result < 0 ? result : own(to, name, &status, AT_SYMLINK_NOFOLLOW);
	case S_IFDIR:
		break;
	default:
		/* Devices and the like: a tmpfs of the container has no use for them. */
		return 0;
	}
	source = open_beneath(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	if (source < 0)
		return source;
	result = (int)SYS(mkdirat, to, name, status.mode & 07777);
	copy = result < 0 ? result : open_beneath(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
	result = copy;
	if (copy >= 0) {
		result = copy_directory(source, copy, depth + 1);
		if (result == 0)
			result = own(copy, "", &status, AT_EMPTY_PATH);
		if (result == 0)
			result = (int)SYS(fchmod, copy, status.mode & 07777);
		SYS(close, copy);
	}
	SYS(close, source);
	return result;
}

static int copy_content(int from, int to, const char *name, const struct statx *status)
{
	int copy, source = open_beneath(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
	long result;

	if (source < 0)
		return source;
	copy = (int)SYS(openat, to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	result = copy;
	if (copy >= 0) {
		do
			result = SYS(sendfile, copy, source, NULL, 1 << 30);
		while (result > 0);
		if (result == 0)
			result = own(copy, "", status, AT_EMPTY_PATH);
		/* Last: a change of owner takes the bits of set-user-ID away. */
		if (result == 0)
			result = SYS(fchmod, copy, status->mode & 07777);
		SYS(close, copy);
	}
	SYS(close, source);
	return (int)result;
}

static int copy_link(int from, int to, const char *name)
{
	char target[LINK_MAX];
	long length = SYS(readlinkat, from, name, target, sizeof(target) - 1);

	if (length < 0)
		return (int)length;
	target[length] = '\0';
	return (int)SYS(symlinkat, target, to, name);
}

static int open_beneath(int dir, const char *name, uint64_t flags)
{
	struct open_how how = {
		.flags = flags | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS,
	};

	return (int)SYS(openat2, dir, name, &how, sizeof(how));
}

static int own(int dir, const char *name, const struct statx *status, int flags)
{
	return (int)SYS(fchownat, dir, name, status->uid, status->gid, flags);
}
