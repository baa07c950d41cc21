/*
 * Recursive removal that a container cannot turn against the host: by descriptor, without
 * following a link, and never across a mount (openat2(2), RESOLVE_NO_XDEV). It holds three
 * descriptors and some pages however deep the tree is: what lies deeper is moved up first.
 */
#include "monitor.h"

#define DT_DIR 4
#define NAME_BYTES 256
/* Removal of a cgroup waits for its last process to be gone: 1, 2, 4 ... 64 ms, two seconds in all. */
#define BUSY_TRIES 36
#define BUSY_MS_MAX 64
#define KILL_ROUNDS 50
#define CGROUP_DEPTH 32

typedef int visitor(int dir, const struct dirent64 *entry, void *context);

static int open_top(const char *path, int *parent, const char **name);
static int open_dir(int parent, const char *name);
static int each_entry(int dir, visitor *visit, void *context);
static int remove_entry(int dir, const struct dirent64 *entry, void *context);
static int move_up(int dir, const struct dirent64 *entry, void *top);
static int empty(int dir, visitor *visit, void *context);
static int remove_any(int dir, const char *name);
static int remove_leaf(int top);
static int kill_below(int dir, int depth);
static int kill_listed(int dir);
static void pause_ms(long ms);

int op_removeTree(struct init *init, const struct arg *args)
{
	(void)init;
	return remove_tree(args[0].text);
}

/* Removes `path` and all below it. Returns 0, -EXDEV at a mount, or -errno. */
int remove_tree(const char *path)
{
	const char *name;
	int parent, top, result = open_top(path, &parent, &name);

	if (result < 0)
		return result;
	result = remove_any(parent, name);
	if (result == -ENOTEMPTY) {
		top = open_dir(parent, name);
		result = top < 0 ? top : empty(top, remove_entry, NULL);
		if (top >= 0)
			SYS(close, top);
		if (result == 0)
			result = remove_any(parent, name);
	}
	SYS(close, parent);
	return result;
}

/* The directory that `path` lies in, as the runtime wrote it, and the last component. */
static int open_top(const char *path, int *parent, const char **name)
{
	static char copy[PATH_MAX];
	size_t end = strlen(path);

	if (path[0] != '/' || end >= sizeof(copy))
		return -EINVAL;
	memcpy(copy, path, end + 1);
	while (end > 0 && copy[end - 1] != '/')
		end--;
	*name = copy + end;
	if (**name == '\0' || is_dots(*name))
		return -EINVAL;
	copy[end - 1] = '\0';
	*parent = (int)SYS(openat, AT_FDCWD, end > 1 ? copy : "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	return *parent < 0 ? *parent : 0;
}

/* A directory right below `parent`: no link, no mount. */
static int open_dir(int parent, const char *name)
{
	struct open_how how = {
		.flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};

	return (int)SYS(openat2, parent, name, &how, sizeof(how));
}

/* Visits until there is nothing left: what is moved here meanwhile is seen in the next round. */
static int empty(int dir, visitor *visit, void *context)
{
	int visited;

	do
		visited = each_entry(dir, visit, context);
	while (visited > 0);
	return visited;
}

/* Returns how many entries `visit` saw (it goes on while that returns 0), or what it returned, or -errno. */
static int each_entry(int dir, visitor *visit, void *context)
{
	char buffer[2048] __attribute__((aligned(8)));
	int visited = 0;
	long count = SYS(lseek, dir, 0, 0);

	while (count >= 0 && (count = SYS(getdents64, dir, buffer, sizeof(buffer))) > 0) {
		for (long at = 0; at < count;) {
			const struct dirent64 *entry = (const struct dirent64 *)(buffer + at);
			int result;

			at += entry->length;
			if (is_dots(entry->name))
				continue;
			result = visit(dir, entry, context);
			if (result < 0)
				return result;
			visited++;
		}
	}
	return count < 0 ? (int)count : visited;
}

/* An entry of the top: when it is a directory with others in it, those are moved up to the top first. */
static int remove_entry(int dir, const struct dirent64 *entry, void *context)
{
	int child, result = remove_any(dir, entry->name);

	(void)context;
	if (result != -ENOTEMPTY)
		return result;
	child = open_dir(dir, entry->name);
	if (child < 0)
		return child;
	result = empty(child, move_up, &dir);
	SYS(close, child);
	return result < 0 ? result : remove_any(dir, entry->name);
}

static int move_up(int dir, const struct dirent64 *entry, void *top)
{
	static unsigned int counter;
	char name[] = ".tsrun-removed-00000000";
	int result = remove_any(dir, entry->name);

	if (result != -ENOTEMPTY)
		return result;
	do {
		counter++;
		for (int digit = 0; digit < 8; digit++)
			name[sizeof(name) - 2 - (size_t)digit] = "0123456789abcdef"[counter >> 4 * digit & 15];
		result = (int)SYS(renameat2, dir, entry->name, *(int *)top, name, RENAME_NOREPLACE);
	} while (result == -EEXIST);
	return result;
}

/* unlink(2) or rmdir(2), whichever it takes. Gone already is fine; -ENOTEMPTY is a directory that is not empty. */
static int remove_any(int dir, const char *name)
{
	int result = (int)SYS(unlinkat, dir, name, 0);

	/* For a directory Linux says EISDIR; POSIX and some filesystems say EPERM. */
	if (result == -EISDIR || result == -EPERM) {
		int removed = (int)SYS(unlinkat, dir, name, AT_REMOVEDIR);

		if (removed != -ENOTDIR)
			result = removed;
	}
	if (result == -EEXIST)
		return -ENOTEMPTY;
	return result == -ENOENT ? 0 : result;
}

/*
 * Removes a cgroup directory and those below it, deepest first, and waits a little for
 * processes that are about to be gone. Its files go by themselves. Returns 0 or -errno.
 */
int remove_cgroup(const char *path)
{
	const char *name;
	int parent, result = open_top(path, &parent, &name);
	long ms = 1;

	if (result < 0)
		return result;
	for (int tries = 0; tries < BUSY_TRIES;) {
		int top;

		result = (int)SYS(unlinkat, parent, name, AT_REMOVEDIR);
		if (result != -EBUSY && result != -ENOTEMPTY)
			break;
		top = open_dir(parent, name);
		result = top < 0 ? top : remove_leaf(top);
		if (result == 1)
			continue;
		if (result < 0 && result != -EBUSY && result != -ENOENT)
			break;
		result = -EBUSY;
		pause_ms(ms);
		ms = ms < BUSY_MS_MAX ? ms * 2 : BUSY_MS_MAX;
		tries++;
	}
	SYS(close, parent);
	return result == -ENOENT ? 0 : result;
}

/* context: where the name of the first directory goes. Ends the walk when it found one. */
static int find_dir(int dir, const struct dirent64 *entry, void *context)
{
	size_t length = strlen(entry->name);

	(void)dir;
	if (entry->type != DT_DIR || length >= NAME_BYTES)
		return 0;
	memcpy(context, entry->name, length + 1);
	return -EEXIST;
}

/* Goes down from `top`, which it closes, to a directory without others and removes that. Returns 1, 0 if there was none, -errno. */
static int remove_leaf(int top)
{
	char name[NAME_BYTES], below[NAME_BYTES];
	int next, result, dir = top;

	if (each_entry(dir, find_dir, name) != -EEXIST) {
		SYS(close, dir);
		return 0;
	}
	while ((next = open_dir(dir, name)) >= 0 && each_entry(next, find_dir, below) == -EEXIST) {
		SYS(close, dir);
		dir = next;
		memcpy(name, below, NAME_BYTES);
	}
	if (next >= 0)
		SYS(close, next);
	result = next < 0 ? next : (int)SYS(unlinkat, dir, name, AT_REMOVEDIR);
	SYS(close, dir);
	return result < 0 ? result : 1;
}

/*
 * SIGKILL to each process in a cgroup and those below it. On cgroup v2 (Linux 5.14) one write
 * does it; else, and for what that left, by pid until there is none: they may fork meanwhile.
 */
void kill_cgroup(const char *path)
{
	const char *name;
	int parent, top, all;

	if (open_top(path, &parent, &name) < 0)
		return;
	top = open_dir(parent, name);
	SYS(close, parent);
	if (top < 0)
		return;
	all = (int)SYS(openat, top, "cgroup.kill", O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0);
	if (all >= 0) {
		SYS(write, all, "1", 1);
		SYS(close, all);
	}
	for (int rounds = 0; rounds < KILL_ROUNDS && kill_below(top, 0) > 0; rounds++)
		pause_ms(1);
	SYS(close, top);
}

static int kill_child(int dir, const struct dirent64 *entry, void *context)
{
	int *state = context; /* depth, count of killed */
	int child;

	if (entry->type != DT_DIR)
		return 0;
	child = open_dir(dir, entry->name);
	if (child < 0)
		return 0;
	state[1] += kill_below(child, state[0] + 1);
	SYS(close, child);
	return 0;
}

static int kill_below(int dir, int depth)
{
	int state[2] = { depth, kill_listed(dir) };

	if (depth < CGROUP_DEPTH)
		each_entry(dir, kill_child, state);
	return state[1];
}

/* The processes of one cgroup. Returns how many were there. */
static int kill_listed(int dir)
{
	char buffer[512];
	int32_t self = (int32_t)SYS(getpid);
	int fd = (int)SYS(openat, dir, "cgroup.procs", O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
	int found = 0, pid = 0;
	long count;

	if (fd < 0)
		return 0;
	while ((count = SYS(read, fd, buffer, sizeof(buffer))) > 0) {
		for (long i = 0; i < count; i++) {
			if (buffer[i] >= '0' && buffer[i] <= '9') {
				pid = pid * 10 + (buffer[i] - '0');
				continue;
			}
			/* 0 is a process of a pid namespace that we do not see; 1 and we are never part of a container. */
			if (pid > 1 && pid != self && SYS(kill, pid, SIGKILL) == 0)
				found++;
			pid = 0;
		}
	}
	SYS(close, fd);
	return found;
}

static void pause_ms(long ms)
{
	const struct timespec time = { .nsec = ms * 1000000 };

	SYS(nanosleep, &time, NULL);
}
