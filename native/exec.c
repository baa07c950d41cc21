/* The last steps: where the program starts, which one it is, and execve(2). */
#include "init.h"

static int change_directory(const char *path);
static int check_executable(const char *path);
static char **pointers(const struct arg *list, char **at);

int op_chdir(struct init *init, const struct arg *args)
{
	return init->entered ? 0 : change_directory(args[0].text);
}

int op_enter(struct init *init, const struct arg *args)
{
	int result = change_directory(args[0].text);

	init->entered = result == 0;
	return result == -EACCES || result == -EPERM ? 0 : result;
}

/*
 * A directory outside the root, reached through a descriptor of the host, has no path here:
 * getcwd(2) then answers "(unreachable)...". CVE-2024-21626.
 */
static int change_directory(const char *path)
{
	static char cwd[PATH_MAX];
	long result = SYS(chdir, path);

	if (result == 0)
		result = SYS(getcwd, cwd, sizeof(cwd));
	if (result < 0)
		return (int)result;
	return cwd[0] == '/' ? 0 : -ENOENT;
}

/* The search of execvp(3): what is there but cannot be run is said rather than that something is missing. */
int op_findExecutable(struct init *init, const struct arg *args)
{
	const char *path = args[0].text;
	int error = -ENOENT;

	for (size_t i = 0; i < args[0].size; i++, path += strlen(path) + 1) {
		int result = check_executable(path);

		if (result == 0) {
			init->executable = path;
			return 0;
		}
		if (result == -EACCES || (error == -ENOENT && result != -ENOTDIR))
			error = result;
	}
	return error;
}

/* Magic links of procfs are refused (ELOOP): /proc/self/fd/N and /proc/self/exe are the host's. */
static int check_executable(const char *path)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_NO_MAGICLINKS };
	struct statx status;
	int result, fd = (int)SYS(openat2, AT_FDCWD, path, &how, sizeof(how));

	if (fd < 0)
		return fd;
	result = status_of(fd, &status);
	if (result == 0 && (status.mode & S_IFMT) == S_IFDIR)
		result = -EISDIR;
	else if (result == 0 && (status.mode & S_IFMT) != S_IFREG)
		result = -EACCES;
	if (result == 0)
		result = (int)SYS(faccessat2, fd, "", X_OK, AT_EACCESS | AT_EMPTY_PATH);
	if (result == -ENOSYS)
		result = (int)SYS(faccessat, AT_FDCWD, path, X_OK);
	SYS(close, fd);
	return result;
}

int op_cloexecFrom(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(close_range, args[0].n, ~0U, CLOSE_RANGE_CLOEXEC);
}

/* argv envp. Comes back only to say why not. */
int op_exec(struct init *init, const struct arg *args)
{
	size_t count = args[0].size + args[1].size + 2;
	char **argv = scratch(count * sizeof(*argv));
	char **envp;

	if (init->executable == NULL)
		return -ENOENT;
	if (argv == NULL)
		return -ENOMEM;
	envp = pointers(&args[0], argv);
	pointers(&args[1], envp);
	if (init->inherited_umask >= 0)
		SYS(umask, init->inherited_umask);
	return (int)SYS(execve, init->executable, argv, envp);
}

/* Points at each string of `list`, then NULL, which the memory is already. Returns the place after that. */
static char **pointers(const struct arg *list, char **at)
{
	char *text = list->text;

	for (size_t i = 0; i < list->size; i++) {
		*at++ = text;
		text += strlen(text) + 1;
	}
	return at + 1;
}
