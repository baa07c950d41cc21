/*
 * Mounts, by descriptor: fsopen(2), open_tree(2), mount_setattr(2), move_mount(2). No path
 * of the container is resolved here but by openat2(2) confined to its root.
 */
#include "init.h"

static int make_mount(const struct arg *args, const char *mode);
static int configure(int context, const struct arg *options);
static int cut_option(char *option, char **value);
static int mask_directory(struct init *init, int tmpfs, int target);
static int clone_with(int source, int target, uint64_t attributes);
static int unmount_in(int root, char *path, size_t at, size_t end);

/* fd type attrs options */
int op_fsmount(struct init *init, const struct arg *args)
{
	(void)init;
	return make_mount(args, NULL);
}

/* fd type attrs options like; the mode in octal, as mount options have it. */
int op_fsmountLike(struct init *init, const struct arg *args)
{
	struct statx status;
	char mode[5];
	int result = status_of(as_int(&args[4]), &status);

	(void)init;
	if (result < 0)
		return result;
	for (int i = 0; i < 4; i++)
		mode[i] = (char)('0' + (status.mode >> (9 - 3 * i) & 7));
	mode[4] = '\0';
	return make_mount(args, mode);
}

static int make_mount(const struct arg *args, const char *mode)
{
	int context = (int)SYS(fsopen, args[1].text, FSOPEN_CLOEXEC);
	int result = 0;

	if (context < 0)
		return context;
	if (mode != NULL)
		result = (int)SYS(fsconfig, context, FSCONFIG_SET_STRING, "mode", mode, 0);
	if (result == 0)
		result = configure(context, &args[3]);
	if (result == 0)
		result = (int)SYS(fsmount, context, FSMOUNT_CLOEXEC, args[2].n);
	SYS(close, context);
	return place(result, as_int(&args[0]));
}

static int configure(int context, const struct arg *options)
{
	char *option = options->text;

	for (size_t i = 0; i < options->size; i++) {
		char *value, *next = option + strlen(option) + 1;
		int command = cut_option(option, &value) ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
		int result = (int)SYS(fsconfig, context, command, option, value, 0);

		if (result < 0)
			return result;
		option = next;
	}
	return (int)SYS(fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
}

/* "key=value" is cut in two; a plain "key" has no value. */
static int cut_option(char *option, char **value)
{
	*value = NULL;
	for (char *at = option; *at != '\0'; at++) {
		if (*at != '=')
			continue;
		*at = '\0';
		*value = at + 1;
		return 1;
	}
	return 0;
}

/* fd dirfd path flags */
int op_openTree(struct init *init, const struct arg *args)
{
	(void)init;
	return place((int)SYS(open_tree, as_dirfd(&args[1]), args[2].text,
			      args[3].n | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC),
		     as_int(&args[0]));
}

/* dirfd path flags set clear propagation userns */
int op_mountSetattr(struct init *init, const struct arg *args)
{
	struct mount_attr attr = {
		.attr_set = args[3].u,
		.attr_clr = args[4].u,
		.propagation = args[5].u,
		.userns_fd = args[6].n == -1 ? 0 : args[6].u,
	};

	(void)init;
	return (int)SYS(mount_setattr, as_dirfd(&args[0]), args[1].text, args[2].n, &attr, sizeof(attr));
}

int op_attach(struct init *init, const struct arg *args)
{
	(void)init;
	return move_onto(as_int(&args[0]), as_int(&args[1]));
}

/* move_mount(2) of a detached tree onto what `target` is open on. Returns 0 or -errno. */
int move_onto(int tree, int target)
{
	return (int)SYS(move_mount, tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

/* Binds what `source` is open on (that alone, no mounts below it) onto `target`. Returns 0 or -errno. */
int clone_onto(int source, int target)
{
	return clone_with(source, target, 0);
}

/* The same, with MOUNT_ATTR_* `attributes` beside those that the source has. */
static int clone_with(int source, int target, uint64_t attributes)
{
	struct mount_attr attr = { .attr_set = attributes };
	int tree = (int)SYS(open_tree, source, "", AT_EMPTY_PATH | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	int result = 0;

	if (tree < 0)
		return tree;
	if (attributes != 0)
		result = (int)SYS(mount_setattr, tree, "", AT_EMPTY_PATH, &attr, sizeof(attr));
	if (result == 0)
		result = move_onto(tree, target);
	SYS(close, tree);
	return result;
}

/* source target type flags data; empty is NULL, which some of them must be. */
int op_mount(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(mount, args[0].size > 0 ? args[0].text : NULL, args[1].text,
			args[2].size > 0 ? args[2].text : NULL, args[3].n, args[4].size > 0 ? args[4].text : NULL);
}

int op_fchdir(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(fchdir, as_int(&args[0]));
}

/* root path nullfd tmpfsfd */
int op_mask(struct init *init, const struct arg *args)
{
	struct statx status;
	int result, target = open_in(as_int(&args[0]), args[1].text, O_PATH, 0);

	/* A path that this kernel or image does not have needs no mask. */
	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return target;
	result = status_of(target, &status);
	if (result == 0 && (status.mode & S_IFMT) == S_IFDIR)
		result = mask_directory(init, as_int(&args[3]), target);
	else if (result == 0)
		/* Read-only, or its owner and mode, which are the host's, could be changed through the mask. */
		result = clone_with(as_int(&args[2]), target, MOUNT_ATTR_RDONLY);
	SYS(close, target);
	return result;
}

/* One tmpfs for all: a detached mount can be attached but (before Linux 6.15) not cloned, an attached one can. */
static int mask_directory(struct init *init, int tmpfs, int target)
{
	int result;

	if (init->mask_attached)
		return clone_onto(tmpfs, target);
	result = move_onto(tmpfs, target);
	init->mask_attached = result == 0;
	return result;
}

/* root path */
int op_readonly(struct init *init, const struct arg *args)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	int tree, result, target = open_in(as_int(&args[0]), args[1].text, O_PATH, 0);

	(void)init;
	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return target;
	tree = (int)SYS(open_tree, target, "", AT_EMPTY_PATH | AT_RECURSIVE | OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	result = tree;
	if (tree >= 0) {
		result = (int)SYS(mount_setattr, tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr, sizeof(attr));
		if (result == 0)
			result = move_onto(tree, target);
		SYS(close, tree);
	}
	SYS(close, target);
	return result;
}

/* fd magic root path */
int op_checkMount(struct init *init, const struct arg *args)
{
	struct statx ours, there;
	struct statfs fs;
	int at, result = (int)SYS(fstatfs, as_int(&args[0]), &fs);

	(void)init;
	if (result == 0 && fs.type != args[1].n)
		return -EINVAL;
	if (result < 0 || args[2].n == -1)
		return result;
	result = status_of(as_int(&args[0]), &ours);
	at = open_in(as_int(&args[2]), args[3].text, O_PATH, RESOLVE_NO_SYMLINKS);
	if (at < 0)
		return at;
	if (result == 0)
		result = status_of(at, &there);
	SYS(close, at);
	if (result == 0 && ours.mnt_id != there.mnt_id)
		return -ESTALE;
	return result;
}

/*
 * pivot_root(".", ".") puts the old root over the new one, so that no directory is needed
 * for it (pivot_root(2), "pivot_root(".", ".")"). It is made a slave before it is detached:
 * the host must not see the unmount.
 */
int op_pivot(struct init *init, const struct arg *args)
{
	int result, old = (int)SYS(openat, AT_FDCWD, "/", O_PATH | O_DIRECTORY | O_CLOEXEC, 0);

	(void)init;
	if (old < 0)
		return old;
	result = (int)SYS(fchdir, as_int(&args[0]));
	if (result == 0)
		result = (int)SYS(pivot_root, ".", ".");
	if (result == 0)
		result = (int)SYS(fchdir, old);
	SYS(close, old);
	if (result == 0)
		result = (int)SYS(mount, NULL, ".", NULL, MS_SLAVE | MS_REC, NULL);
	if (result == 0)
		result = (int)SYS(umount2, ".", MNT_DETACH);
	return result == 0 ? (int)SYS(chdir, "/") : result;
}

int op_detach(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(umount2, args[0].text, MNT_DETACH | UMOUNT_NOFOLLOW);
}

/*
 * root path. The last component is looked up in its directory, so nothing that is swapped meanwhile leads out of the
 * root. A link with nothing mounted on it (EINVAL) is followed by hand, in the root.
 */
int op_unmount(struct init *init, const struct arg *args)
{
	static char path[PATH_MAX];
	size_t at, end = args[1].size;
	int result = -ENAMETOOLONG;

	(void)init;
	if (end >= sizeof(path))
		return result;
	memcpy(path, args[1].text, end + 1);
	for (int links = 0; links < 40; links++) {
		for (end = strlen(path); end > 0 && path[end - 1] == '/';)
			path[--end] = '\0';
		for (at = end; at > 0 && path[at - 1] != '/';)
			at--;
		result = unmount_in(as_int(&args[0]), path, at, end);
		if (result != -EAGAIN)
			return result;
	}
	return -ELOOP;
}

/* path[at..end) in the directory before it. Returns 0, -EAGAIN when a link was put into `path`, or -errno. */
static int unmount_in(int root, char *path, size_t at, size_t end)
{
	char first = path[at];
	int result, parent;

	path[at] = '\0';
	parent = open_in(root, at > 0 ? path : "/", O_PATH | O_DIRECTORY, 0);
	path[at] = first;
	if (parent < 0)
		return parent;
	result = (int)SYS(fchdir, parent);
	if (result == 0)
		result = is_dots(path + at) ? -EINVAL : (int)SYS(umount2, path + at, MNT_DETACH | UMOUNT_NOFOLLOW);
	if (result == -EINVAL && first != '\0') {
		result = follow(parent, path, at, end, '\0');
		/* EINVAL: it is no link, so nothing is mounted there. */
	}
	SYS(close, parent);
	return result;
}

int op_moveRoot(struct init *init, const struct arg *args)
{
	int result = (int)SYS(fchdir, as_int(&args[0]));

	if (result == 0)
		result = (int)SYS(mount, ".", "/", NULL, MS_MOVE, NULL);
	return result == 0 ? op_chroot(init, args) : result;
}

int op_chroot(struct init *init, const struct arg *args)
{
	int result = (int)SYS(fchdir, as_int(&args[0]));

	(void)init;
	if (result == 0)
		result = (int)SYS(chroot, ".");
	return result == 0 ? (int)SYS(chdir, "/") : result;
}
