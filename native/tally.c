/*
 * What a cgroup has counted, for one that somebody else removes as soon as it is empty, as systemd does: its files are
 * open from the beginning, and are read when the kernel tells that its last process has gone. poll(2) on cgroup.events
 * is woken by that process itself, and inotify, by which systemd hears of it, by a kernel thread afterwards. Of cgroup
 * v1 the end of the container is the only news. Rules: kernel cgroup-v2.rst "Un-populated Notification".
 */
#include "monitor.h"

static void keep(struct tallied *file);

/* The strings that follow the flags: the file to poll, "" for none, then those to read. */
int tally_read(struct reader *reader, struct tally *tally)
{
	char *text;
	size_t size;
	uint64_t count;

	if (decode_string(reader, &tally->news, &size) < 0 || decode_string(reader, &text, &size) < 0 ||
	    decode_unsigned(text, &count) < 0 || count > TALLY_FILES)
		return -EPROTO;
	for (; tally->count < count; tally->count++)
		if (decode_string(reader, &tally->files[tally->count].path, &size) < 0)
			return -EPROTO;
	return 0;
}

void tally_start(struct tally *tally)
{
	tally->events = (int)SYS(openat, AT_FDCWD, tally->news, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
	for (size_t i = 0; i < tally->count; i++) {
		struct tallied *file = &tally->files[i];

		file->fd = (int)SYS(openat, AT_FDCWD, file->path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0);
	}
	tally_look(tally);
}

/*
 * There is news. What was counted before the end is kept by nobody: it would pass for all. Reading the file is what
 * makes poll(2) wait for the next; when it cannot be read there are no more.
 */
void tally_look(struct tally *tally)
{
	static const char empty[] = "populated 0";
	char events[64];
	long size = SYS(pread64, tally->events, events, sizeof(events), 0);

	if (size >= (long)sizeof(empty) && memcmp(events, empty, sizeof(empty) - 1) == 0)
		tally_take(tally);
	if (size >= 0)
		return;
	SYS(close, tally->events);
	tally->events = -1;
}

/* The container has ended. */
void tally_take(struct tally *tally)
{
	for (size_t i = 0; i < tally->count; i++)
		keep(&tally->files[i]);
}

/* Of a cgroup that is gone what was read before stays. */
static void keep(struct tallied *file)
{
	char text[sizeof(file->text)];
	long size = SYS(pread64, file->fd, text, sizeof(text), 0);

	if (size <= 0)
		return;
	memcpy(file->text, text, (size_t)size);
	file->size = (size_t)size;
}

/* What was kept of the file of this path; NULL when it is none of those. */
const struct tallied *tally_find(const struct tally *tally, const char *path)
{
	size_t size = strlen(path) + 1;

	for (size_t i = 0; i < tally->count; i++)
		if (strlen(tally->files[i].path) + 1 == size && memcmp(tally->files[i].path, path, size) == 0)
			return &tally->files[i];
	return NULL;
}
