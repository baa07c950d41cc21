/*
 * Carries bytes between our terminal and that of the container: descriptor 0 to the pty
 * master, the master to descriptor 1. Descriptors 0 to 2 are shared with other processes,
 * so they are never made non-blocking; poll(2) says when a page can be read or written.
 */
#include "monitor.h"

/* What may still come out after the end of the container: more than a pty holds. */
#define DRAIN_BYTES (256L * 1024)

static int open_screen(void);
static void make_raw(struct terminal *terminal);
static int in_background(void);
static void read_input(struct terminal *terminal);
static void end_input(struct terminal *terminal);
static void write_input(struct terminal *terminal);
static long read_output(struct terminal *terminal);
static long write_output(struct terminal *terminal);
static void hang_up(struct terminal *terminal);

static int is_empty(const struct flow *flow)
{
	return flow->start == flow->end;
}

/* master: -1 for a container without a terminal; then nothing here does anything. */
void terminal_start(struct terminal *terminal, int master)
{
	terminal->master = master;
	if (master < 0)
		return;
	terminal->screen = open_screen();
	terminal->input_open = 1;
	terminal->background = in_background();
	SYS(fcntl, master, F_SETFD, FD_CLOEXEC);
	SYS(fcntl, master, F_SETFL, SYS(fcntl, master, F_GETFL) | O_NONBLOCK);
	make_raw(terminal);
	terminal_resize(terminal);
}

/*
 * A write to a terminal returns when all of it is taken, and poll(2) promises room for a byte alone: where nobody reads,
 * we would stand still in it, deaf to signals and to the end of the container. The far end of a pty is left as it is:
 * opened anew, it would be that of another.
 */
static int open_screen(void)
{
	struct termios modes;
	struct statx status;
	int screen;

	if (SYS(ioctl, 1, TCGETS, &modes) < 0 || status_of(1, &status) < 0 ||
	    (status.rdev_major == 5 && status.rdev_minor == 2))
		return 1;
	screen = (int)SYS(openat, AT_FDCWD, "/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
	return screen < 0 ? 1 : screen;
}

/* cfmakeraw(3) on descriptor 0, if it is a terminal and in our hands: the container's terminal does the rest. */
static void make_raw(struct terminal *terminal)
{
	struct termios modes;

	if (in_background() || SYS(ioctl, 0, TCGETS, &modes) < 0)
		return;
	if (!terminal->raw)
		terminal->saved = modes;
	modes.iflag &= ~(uint32_t)(IGNBRK | BRKINT | PARMRK | ISTRIP | INLCR | IGNCR | ICRNL | IXON);
	modes.oflag &= ~(uint32_t)OPOST;
	modes.lflag &= ~(uint32_t)(ECHO | ECHONL | ICANON | ISIG | IEXTEN);
	modes.cflag = (modes.cflag & ~(uint32_t)(CSIZE | PARENB)) | CS8;
	modes.cc[VMIN] = 1;
	modes.cc[VTIME] = 0;
	terminal->raw = SYS(ioctl, 0, TCSETS, &modes) == 0;
}

/* Another job has the terminal: its modes are not ours to change, and reading it fails with EIO. */
static int in_background(void)
{
	int32_t group;

	return SYS(ioctl, 0, TIOCGPGRP, &group) == 0 && group != SYS(getpgid, 0);
}

/* The size of the first of 0 to 2 that is a terminal. */
void terminal_resize(struct terminal *terminal)
{
	struct winsize size;

	if (terminal->master < 0)
		return;
	for (int fd = 0; fd <= 2; fd++) {
		if (SYS(ioctl, fd, TIOCGWINSZ, &size) < 0)
			continue;
		SYS(ioctl, terminal->master, TIOCSWINSZ, &size);
		return;
	}
}

/* In the foreground again: a shell has set its own modes meanwhile, and the window may have another size. */
void terminal_resume(struct terminal *terminal)
{
	terminal->background = terminal->master >= 0 && in_background();
	if (terminal->master < 0 || terminal->background)
		return;
	make_raw(terminal);
	terminal_resize(terminal);
	terminal->input_open = 1;
}

void terminal_poll(struct terminal *terminal, struct pollfd *polls)
{
	int open = terminal->master >= 0;
	int16_t master = 0;

	if (is_empty(&terminal->output))
		master |= POLLIN;
	if (!is_empty(&terminal->input))
		master |= POLLOUT;
	polls[POLL_INPUT] = (struct pollfd){ .fd = -1, .events = POLLIN };
	polls[POLL_MASTER] = (struct pollfd){ .fd = -1, .events = master };
	polls[POLL_OUTPUT] = (struct pollfd){ .fd = -1, .events = POLLOUT };
	/* What has nothing to do is left out: poll(2) reports a hang-up even where nothing was asked. */
	if (open && terminal->input_open && is_empty(&terminal->input))
		polls[POLL_INPUT].fd = 0;
	if (open && !terminal->hung_up && master != 0)
		polls[POLL_MASTER].fd = terminal->master;
	if (open && !is_empty(&terminal->output))
		polls[POLL_OUTPUT].fd = terminal->screen;
}

void terminal_pump(struct terminal *terminal, const struct pollfd *polls)
{
	int master = polls[POLL_MASTER].revents;

	if (polls[POLL_INPUT].revents != 0)
		read_input(terminal);
	if (polls[POLL_OUTPUT].revents != 0 && write_output(terminal) < 0)
		hang_up(terminal);
	if (master & POLLIN && is_empty(&terminal->output))
		read_output(terminal);
	else if (master & (POLLHUP | POLLERR))
		terminal->hung_up = 1;
	if (master & POLLOUT)
		write_input(terminal);
}

static void read_input(struct terminal *terminal)
{
	struct flow *flow = &terminal->input;
	long count = SYS(read, 0, flow->data, sizeof(flow->data));

	if (count == -EAGAIN || count == -EINTR)
		return;
	if (count > 0) {
		flow->start = 0;
		flow->end = (size_t)count;
		terminal->last_input = flow->data[count - 1];
		return;
	}
	terminal->input_open = 0;
	terminal->background = count == -EIO && in_background();
	/* In raw mode a terminal has no end but that of the line; in the background it only is not ours (EIO). */
	if (terminal->raw && (count == 0 || (count == -EIO && !terminal->background)))
		hang_up(terminal);
	else if (count == 0)
		end_input(terminal);
}

/*
 * A pty has no end of file but the character for it: typed for the container, so that a program
 * that reads to the end comes to it. On an unfinished line the first only hands over the line.
 */
static void end_input(struct terminal *terminal)
{
	struct flow *flow = &terminal->input;
	struct termios modes;
	char end = 4;

	if (SYS(ioctl, terminal->master, TCGETS, &modes) == 0 && modes.cc[VEOF] != 0)
		end = (char)modes.cc[VEOF];
	flow->data[0] = flow->data[1] = end;
	flow->start = 0;
	flow->end = terminal->last_input == '\0' || terminal->last_input == '\n' ? 1 : 2;
}

static void write_input(struct terminal *terminal)
{
	struct flow *flow = &terminal->input;
	long count;

	if (terminal->master < 0 || is_empty(flow))
		return;
	count = SYS(write, terminal->master, flow->data + flow->start, flow->end - flow->start);
	if (count > 0)
		flow->start += (size_t)count;
	else if (count != -EAGAIN && count != -EINTR)
		terminal->hung_up = 1;
}

static long read_output(struct terminal *terminal)
{
	struct flow *flow = &terminal->output;
	long count;

	if (terminal->master < 0)
		return 0;
	count = SYS(read, terminal->master, flow->data, sizeof(flow->data));
	if (count > 0) {
		flow->start = 0;
		flow->end = (size_t)count;
	} else if (count != -EAGAIN && count != -EINTR) {
		terminal->hung_up = 1; /* EIO: the last one in the container closed it */
	}
	return count;
}

/* Returns what write(2) did, or 0 where it only has to be tried again. */
static long write_output(struct terminal *terminal)
{
	static const struct timespec moment = { .nsec = 10000000 };
	struct flow *flow = &terminal->output;
	long count = SYS(write, terminal->screen, flow->data + flow->start, flow->end - flow->start);

	/* There was room for one byte, and a line's end takes two. */
	if (count == -EAGAIN)
		SYS(nanosleep, &moment, NULL);
	if (count == -EAGAIN || count == -EINTR)
		return 0;
	if (count > 0)
		flow->start += (size_t)count;
	return count;
}

/* Nobody is at our end any more: to the container that is a line that was cut, which it hears as SIGHUP. */
static void hang_up(struct terminal *terminal)
{
	SYS(close, terminal->master);
	terminal->master = -1;
	terminal->hung_up = 0;
}

/* After the end of the container: its last words, as long as nobody has enough of it, then our terminal as it was. */
void terminal_finish(struct terminal *terminal, int signals)
{
	const struct timespec now = { 0 };
	long total = 0;

	while (terminal->master >= 0 && total < DRAIN_BYTES) {
		struct pollfd more = { .fd = terminal->master, .events = POLLIN };
		struct pollfd room[] = {
			{ .fd = terminal->screen, .events = POLLOUT },
			{ .fd = signals, .events = POLLIN },
		};

		if (!is_empty(&terminal->output)) {
			SYS(ppoll, room, 2, NULL, NULL, 8);
			if (room[0].revents != 0 ? write_output(terminal) < 0 : is_told_to_end(signals))
				break;
			continue;
		}
		/* poll(2) waits for bytes that are between the two ends; read(2) would not see them (n_tty_poll). */
		if (SYS(ppoll, &more, 1, &now, NULL, 8) <= 0 || (more.revents & POLLIN) == 0)
			break;
		long count = read_output(terminal);
		if (count <= 0)
			break;
		total += count;
	}
	if (terminal->raw && !in_background())
		SYS(ioctl, 0, TCSETS, &terminal->saved);
}
