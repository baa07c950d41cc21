/*
 * Readiness: the first READY= that the container says on its socket goes on to whoever started us,
 * once, and a barrier behind it (sd_notify(3), sd_notify_barrier(3)). The main process of a service
 * stays who waits: it is systemd's child, and ends with the container's exit code. Whatever else the
 * container says is between it and us, and is dropped.
 */
#include "monitor.h"

/* As systemd reads them. */
#define MESSAGE_SIZE 4096
#define BARRIER_SECONDS 30

static const char *ready_line(const char *at, const char *end, size_t *size);
static void tell(struct notify *notify, const char *ready, size_t size);
static void close_sockets(struct notify *notify);

/* The socket does not block: all that is there is read. Descriptors beside a message are closed by the kernel. */
void notify_relay(struct notify *notify)
{
	static char data[MESSAGE_SIZE];
	const char *ready;
	size_t length;
	long size;

	while (notify->from >= 0 && (size = SYS(read, notify->from, data, sizeof(data))) >= 0) {
		ready = ready_line(data, data + size, &length);
		if (ready != NULL)
			tell(notify, ready, length);
	}
}

/* What was said is understood before we are gone: of a process that is gone nobody knows which service it was of. */
void notify_finish(struct notify *notify)
{
	struct pollfd done = { .events = POLLIN };
	const struct timespec patience = { .sec = BARRIER_SECONDS };

	notify_relay(notify);
	close_sockets(notify);
	done.fd = notify->barrier;
	if (done.fd >= 0)
		SYS(ppoll, &done, 1, &patience, NULL, 8);
}

static const char *ready_line(const char *at, const char *end, size_t *size)
{
	static const char word[] = "READY=";
	const size_t length = sizeof(word) - 1;

	while (at < end) {
		const char *line = at;

		while (at < end && *at != '\n')
			at++;
		*size = (size_t)(at - line);
		if (*size > length && memcmp(line, word, length) == 0)
			return line;
		at++;
	}
	return NULL;
}

static void tell(struct notify *notify, const char *ready, size_t size)
{
	static char end[] = "\n", barrier[] = "BARRIER=1";
	struct iovec message[] = { { (void *)ready, size }, { end, 1 } };
	struct iovec last = { barrier, sizeof(barrier) - 1 };
	int ends[2];

	send_parts(notify->to, message, sizeof(message) / sizeof(*message), -1);
	if (SYS(pipe2, ends, O_CLOEXEC) == 0) {
		send_parts(notify->to, &last, 1, ends[1]);
		SYS(close, ends[1]);
		notify->barrier = ends[0];
	}
	/* Who says more is refused. Unread, it would fill the socket, and hold its sender. */
	close_sockets(notify);
}

static void close_sockets(struct notify *notify)
{
	if (notify->from < 0)
		return;
	SYS(close, notify->from);
	SYS(close, notify->to);
	notify->from = -1;
}
