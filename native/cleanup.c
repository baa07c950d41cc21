/*
 * What is left of a container after its end, removed as the runtime listed it:
 *
 *   l fd            lock this directory (flock(2)) against other callers; when it has been removed,
 *                   somebody else has done all of this: stop here
 *   f fd            give that lock back
 *   k path          kill what is left in a cgroup directory (a container without a pid namespace)
 *   c path          remove a cgroup directory and those below it
 *   u path          unlink(2)
 *   r path          rmdir(2)
 *   t path          remove a tree; nothing is followed and no mount is crossed
 *   d path          umount2(2) with MNT_DETACH of everything that is mounted there
 *   e path count files..  write how the container ended, before the rest goes: its wait status, -1 when
 *                   unknown, and what each of the files holds, each ended by NUL. Only to a file that is
 *                   there: somebody waits for it then. What a witness (witness.c) says is not read again
 *   E path count files..  the same; the file is made when it is not there
 *   s path          stop here when something before could not be removed; the path is not used
 *   x count args.. count env..  run a program (args[0] is its path) and wait for it
 *
 * Something that is gone already is fine. An error is one line on descriptor 2 and, up to the
 * next "s", does not keep the rest from being done.
 */
#include "monitor.h"

static int detach_all(const char *path);
static int lock_directory(const char *number);
static int unlock_directory(const char *number);
static int decode_list(struct reader *records, char ***list);
static int run_program(struct reader *records);
static int write_end(struct reader *records, uint64_t flags, int status, const struct witnessed *witnessed);
static void write_number(int file, int number);
static void write_content(int file, const char *path);
static const char *error_name(int error);

void cleanup(struct reader *records, int status, const struct witnessed *witnessed)
{
	char *op, *path;
	size_t size;
	int failed = 0;

	while (records->at < records->end) {
		int result = 0;

		if (decode_string(records, &op, &size) < 0)
			return;
		if (op[0] == 'x') {
			result = run_program(records);
			if (result < 0)
				complain("run", "a program", -result);
			continue;
		}
		if (op[0] == 'e' || op[0] == 'E') {
			result = write_end(records, op[0] == 'E' ? O_CREAT : 0, status, witnessed);
			if (result < 0)
				complain("write", "how the container ended", -result);
			continue;
		}
		if (decode_string(records, &path, &size) < 0)
			return;
		switch (op[0]) {
		case 'l':
			if (!lock_directory(path))
				return;
			break;
		case 'f':
			result = unlock_directory(path);
			break;
		case 'k':
			kill_cgroup(path);
			break;
		case 'c':
			result = remove_cgroup(path);
			break;
		case 'u':
			result = (int)SYS(unlinkat, AT_FDCWD, path, 0);
			break;
		case 'r':
			result = (int)SYS(unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
			break;
		case 't':
			result = remove_tree(path);
			break;
		case 'd':
			result = detach_all(path);
			break;
		case 's':
			if (failed)
				return;
			break;
		default:
			result = -EPROTO;
		}
		if (result < 0 && result != -ENOENT) {
			failed = 1;
			complain("remove", path, -result);
		}
	}
}

/* One may lie over another. */
static int detach_all(const char *path)
{
	int result;

	do
		result = (int)SYS(umount2, path, MNT_DETACH | UMOUNT_NOFOLLOW);
	while (result == 0);
	return result == -EINVAL ? 0 : result;
}

/* Whether the directory is still there. The lock ends with us. */
static int lock_directory(const char *number)
{
	struct statx status;
	int64_t fd;
	long result;

	if (decode_number(number, &fd) < 0)
		return 0;
	do
		result = SYS(flock, fd, LOCK_EX);
	while (result == -EINTR);
	return status_of((int)fd, &status) == 0 && status.nlink > 0;
}

static int unlock_directory(const char *number)
{
	int64_t fd;
	int result = decode_number(number, &fd);

	return result < 0 ? result : (int)SYS(flock, fd, LOCK_UN);
}

/* A count, and as many strings, for execve(2). */
static int decode_list(struct reader *records, char ***list)
{
	char *text;
	uint64_t count;
	size_t size;

	if (decode_string(records, &text, &size) < 0 || decode_unsigned(text, &count) < 0 ||
	    count > (size_t)(records->end - records->at))
		return -EPROTO;
	*list = scratch((count + 1) * sizeof(**list));
	if (*list == NULL)
		return -ENOMEM;
	for (uint64_t i = 0; i < count; i++)
		if (decode_string(records, &(*list)[i], &size) < 0)
			return -EPROTO;
	(*list)[count] = NULL;
	return 0;
}

/* fork(2), execve(2), wait4(2); its exit status is its own affair. */
static int run_program(struct reader *records)
{
	char **argv, **envp;
	long pid, result;

	result = decode_list(records, &argv);
	if (result == 0)
		result = decode_list(records, &envp);
	if (result < 0)
		return (int)result;
	if (argv[0] == NULL)
		return -EPROTO;
	pid = SYS(clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		reset_signals(0);
		SYS(execve, argv[0], argv, envp);
		exit_group(127);
	}
	do
		result = pid < 0 ? pid : SYS(wait4, pid, NULL, WAIT_ALL, NULL);
	while (result == -EINTR);
	return result < 0 ? (int)result : 0;
}

/* What is asked for and cannot be read is empty: a cgroup of another layout, or one that is gone. */
static int write_end(struct reader *records, uint64_t flags, int status, const struct witnessed *witnessed)
{
	const char *said;
	char *path, *text;
	uint64_t count;
	size_t size, length;
	int file;

	if (decode_string(records, &path, &size) < 0 || decode_string(records, &text, &size) < 0 ||
	    decode_unsigned(text, &count) < 0)
		return -EPROTO;
	file = (int)SYS(openat, AT_FDCWD, path, O_WRONLY | O_TRUNC | O_NOFOLLOW | O_CLOEXEC | flags, 0600);
	said = witnessed_files(witnessed, &length);
	if (file >= 0)
		write_number(file, status);
	if (file >= 0 && length > 0)
		SYS(write, file, said, length);
	for (uint64_t i = 0; i < count; i++) {
		if (decode_string(records, &text, &size) < 0)
			return -EPROTO;
		if (file >= 0 && length == 0)
			write_content(file, text);
	}
	if (file >= 0)
		SYS(close, file);
	return file < 0 && file != -ENOENT ? file : 0;
}

/* -1 or a wait status, which has sixteen bits. */
static void write_number(int file, int number)
{
	char digits[8];
	size_t at = sizeof(digits);
	unsigned rest = number < 0 ? 1 : (unsigned)number & 0xffff;

	digits[--at] = '\0';
	do
		digits[--at] = (char)('0' + rest % 10);
	while ((rest /= 10) != 0);
	if (number < 0)
		digits[--at] = '-';
	SYS(write, file, digits + at, sizeof(digits) - at);
}

static void write_content(int file, const char *path)
{
	static char page[4096];
	long count, from = SYS(openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
	while (from >= 0 && (count = SYS(read, from, page, sizeof(page))) > 0)
		SYS(write, file, page, count);
	if (from >= 0)
		SYS(close, from);
	SYS(write, file, "", 1);
}

/* "tsrun: remove PATH: EBUSY (errno 16)" in one write, so that lines of others do not mix in. */
void complain(const char *what, const char *path, int error)
{
	char digits[3];
	int count = 0;
	const char *parts[] = { "tsrun: ", what, " ", path, ": ", error_name(error), " (errno ", NULL, ")\n" };
	struct iovec iov[sizeof(parts) / sizeof(*parts)];

	if (error >= 100)
		digits[count++] = (char)('0' + error / 100 % 10);
	if (error >= 10)
		digits[count++] = (char)('0' + error / 10 % 10);
	digits[count++] = (char)('0' + error % 10);
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++) {
		iov[i].base = (void *)(parts[i] != NULL ? parts[i] : digits);
		iov[i].length = parts[i] != NULL ? strlen(parts[i]) : (size_t)count;
	}
	SYS(writev, 2, iov, sizeof(parts) / sizeof(*parts));
}

static const char *error_name(int error)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
		{ EPERM, "EPERM" },   { EIO, "EIO" },         { EACCES, "EACCES" },       { EBUSY, "EBUSY" },
		{ EXDEV, "EXDEV" },   { ENOTDIR, "ENOTDIR" }, { EISDIR, "EISDIR" },       { EINVAL, "EINVAL" },
		{ EROFS, "EROFS" },   { ELOOP, "ELOOP" },     { ENOTEMPTY, "ENOTEMPTY" }, { EPROTO, "EPROTO" },
		{ ENOMEM, "ENOMEM" }, { EAGAIN, "EAGAIN" },
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (names[i].error == error)
			return names[i].name;
	return "failed";
}
