/*
 * What a cgroup has counted, for one that somebody else removes as soon as it is empty, as systemd does. The files are
 * open from the beginning, and are read when the kernel tells that the last process has gone: poll(2) on cgroup.events
 * is woken by that process itself, inotify, by which systemd hears of it, by a thread of the kernel afterwards. Of
 * cgroup v1 the end of the container is the only news. Rules: kernel cgroup-v2.rst "Un-populated Notification".
 *
 *   tsrun-witness NEWS FILE...
 *
 * NEWS is cgroup.events, or empty. Descriptor 3 is a pidfd of the container, 4 the record to write (cleanup.c has its
 * form), 5 a socket: a word goes out when all is ready, and when the monitor says one, what was counted by then will do.
 * The first process ends at once, so that nobody has to collect the second.
 */
#include "monitor.h"

#define FILES 5
#define PIDFD 3
#define RECORD 4
#define SOCKET 5

/* What the file held when the cgroup was empty: a few short lines. */
struct counted {
	int fd;
	size_t size;
	char text[512];
};

struct witness {
	/* Negative where there is none, or no more. */
	int news;
	size_t count;
	struct counted files[FILES];
};

static const char word = 'w';

static int open_file(const char *path);
static void hurry(void);
static void watch(struct witness *witness);
static int is_told(void);
static int look(struct witness *witness);
static void count(struct witness *witness);
static void forget(struct witness *witness);
static void write_record(const struct witness *witness);

int witness(int argc, char **argv)
{
	static struct witness witness;
	long pid;

	if (argc < 3 || argc - 2 > FILES)
		return 2;
	/* Callers wait for the end of what their pipes are open in. */
	for (int fd = 0; fd < PIDFD; fd++)
		SYS(close, fd);
	SYS(close_range, SOCKET + 1, ~0U, 0);
	witness.news = open_file(argv[1]);
	for (int i = 2; i < argc; i++)
		witness.files[witness.count++].fd = open_file(argv[i]);
	pid = SYS(clone, SIGCHLD, 0, 0, 0, 0);
	if (pid != 0)
		return pid < 0;
	SYS(setsid);
	SYS(chdir, "/");
	reset_signals(~0UL);
	hurry();
	SYS(write, SOCKET, &word, 1);
	watch(&witness);
	write_record(&witness);
	return 0;
}

static int open_file(const char *path)
{
	return (int)SYS(openat, AT_FDCWD, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
}

/*
 * A few reads, at most a hundred times a second, before anybody else has his turn. Where the kernel groups real-time
 * tasks, or for who has no right to it, this is refused.
 */
static void hurry(void)
{
	const int32_t priority = 1;

	if (SYS(sched_setscheduler, 0, SCHED_FIFO | SCHED_RESET_ON_FORK, &priority) < 0)
		SYS(setpriority, PRIO_PROCESS, 0, -20);
}

/* To the end of the container and of all that is in its cgroup with it. */
static void watch(struct witness *witness)
{
	int ended = 0, told = 0, empty = look(witness);

	while (!ended || (told <= 0 && !empty && witness->news >= 0)) {
		struct pollfd polls[] = {
			{ .fd = witness->news, .events = POLLPRI },
			{ .fd = ended ? -1 : PIDFD, .events = POLLIN },
			{ .fd = told == 0 ? SOCKET : -1, .events = POLLIN },
		};

		if (SYS(ppoll, polls, sizeof(polls) / sizeof(*polls), NULL, NULL, 8) < 0)
			continue;
		ended |= polls[1].revents != 0;
		if (polls[2].revents != 0)
			told = is_told();
		empty = look(witness);
	}
	if (!empty)
		count(witness);
}

/*
 * 1 for a word; -1 when there is nobody, or nobody any more, who could say one. The monitor outlives the signals that
 * end a container, and so does its witness; a service that has only started one should not have to wait for its end.
 */
static int is_told(void)
{
	char said;

	if (SYS(read, SOCKET, &said, 1) == 1)
		return 1;
	reset_signals(0);
	return -1;
}

/* Reading the file is what makes poll(2) wait for the next news; when it cannot be read there are no more. */
static int look(struct witness *witness)
{
	static const char none[] = "populated 0";
	char events[64];
	long size = SYS(pread64, witness->news, events, sizeof(events), 0);

	if (size < 0) {
		SYS(close, witness->news);
		witness->news = -1;
		return 0;
	}
	if (size < (long)sizeof(none) || memcmp(events, none, sizeof(none) - 1) != 0) {
		forget(witness);
		return 0;
	}
	count(witness);
	return 1;
}

/* Of a cgroup that is gone what was read before stays. */
static void count(struct witness *witness)
{
	for (size_t i = 0; i < witness->count; i++) {
		struct counted *file = &witness->files[i];
		char text[sizeof(file->text)];
		long size = SYS(pread64, file->fd, text, sizeof(text), 0);

		if (size <= 0)
			continue;
		memcpy(file->text, text, (size_t)size);
		file->size = (size_t)size;
	}
}

/* It has processes again: what was counted before would pass for all. */
static void forget(struct witness *witness)
{
	for (size_t i = 0; i < witness->count; i++)
		witness->files[i].size = 0;
}

/* Nothing where nothing is known, or where somebody else was quicker. */
static void write_record(const struct witness *witness)
{
	static char record[4 + FILES * (sizeof(witness->files->text) + 1)] = "-1";
	struct statx status;
	size_t size = 3, known = 0;

	for (size_t i = 0; i < witness->count; i++) {
		const struct counted *file = &witness->files[i];

		memcpy(record + size, file->text, file->size);
		size += file->size + 1;
		known += file->size;
	}
	if (known > 0 && status_of(RECORD, &status) == 0 && status.size == 0)
		SYS(write, RECORD, record, size);
}

/* The two descriptors that follow the flags. */
int witnessed_read(struct reader *reader, struct witnessed *witnessed)
{
	int64_t fds[2];
	char *text;
	size_t size;

	for (size_t i = 0; i < 2; i++)
		if (decode_string(reader, &text, &size) < 0 || decode_number(text, &fds[i]) < 0)
			return -EPROTO;
	witnessed->socket = (int)fds[0];
	witnessed->record = (int)fds[1];
	return 0;
}

/* The container has ended: tells the witness, and takes its record. */
void witnessed_finish(struct witnessed *witnessed)
{
	struct pollfd done = { .fd = witnessed->socket, .events = POLLIN };
	const struct timespec patience = { .sec = 10 };
	long size;

	SYS(write, witnessed->socket, &word, 1);
	SYS(ppoll, &done, 1, &patience, NULL, 8);
	size = SYS(pread64, witnessed->record, witnessed->text, sizeof(witnessed->text), 0);
	witnessed->size = size > 0 ? (size_t)size : 0;
}

/* What the witness says of the files, without the status that it does not know; its size is 0 when it says nothing. */
const char *witnessed_files(const struct witnessed *witnessed, size_t *size)
{
	size_t at = 0;

	while (at < witnessed->size && witnessed->text[at] != '\0')
		at++;
	if (at < witnessed->size)
		at++;
	*size = witnessed->size - at;
	return witnessed->text + at;
}
