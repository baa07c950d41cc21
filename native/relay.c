/*
 * Waits for descriptors in the place of a program whose event loop cannot: it knows sockets, pipes
 * and children, and neither inotify(7), eventfd(2), a pidfd nor the triggers of pressure.
 *
 *   tsrun-relay EVENTS...
 *
 * One argument for each descriptor from 3 up: the events of poll(2) to wait for. For each that is
 * ready two 16-bit numbers are written to descriptor 1, its place among the arguments and what
 * happened. Then one byte is awaited on descriptor 0 before we look again, as what is ready stays so
 * until the program has read it. The end of the input is ours; so is that of the program.
 */
#include "init.h"

#define RELAY_MAX 256

struct ready {
	uint16_t index, events;
};

static long collect(const struct pollfd *polls, int count, struct ready *ready);

int relay(int argc, char **argv)
{
	static struct pollfd polls[RELAY_MAX + 1];
	static struct ready ready[RELAY_MAX];
	const int count = argc - 1;
	int64_t events;
	char byte;

	if (count > RELAY_MAX)
		return 2;
	for (int i = 0; i < count; i++) {
		if (decode_number(argv[i + 1], &events) < 0)
			return 2;
		polls[i] = (struct pollfd){ .fd = i + 3, .events = (int16_t)events };
	}
	/* A signal for the program, such as that of the interrupt key, is not for us. */
	reset_signals(~0UL);
	polls[count] = (struct pollfd){ .fd = 0, .events = POLLIN };
	for (;;) {
		long size, result = SYS(ppoll, polls, count + 1, NULL, NULL, 8);

		if (result == -EINTR)
			continue;
		/* Nobody has been told of anything: there is nothing to answer but the end. */
		if (result < 0 || polls[count].revents != 0)
			return 0;
		size = collect(polls, count, ready) * (long)sizeof(*ready);
		if (SYS(write, 1, ready, size) != size || SYS(read, 0, &byte, 1) != 1)
			return 0;
	}
}

static long collect(const struct pollfd *polls, int count, struct ready *ready)
{
	long found = 0;

	for (int i = 0; i < count; i++)
		if (polls[i].revents != 0)
			ready[found++] = (struct ready){ (uint16_t)i, (uint16_t)polls[i].revents };
	return found;
}
