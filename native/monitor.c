/*
 * Waits for a container in the foreground, in the place of the runtime: `run` executes this
 * once the container runs, so the pid stays and the memory of a JavaScript engine goes.
 * Forwards signals, carries the terminal, collects the exit status, carries out the clean-up
 * it was given, and exits as the container did.
 *
 *   tsrun-monitor CONFIG-FD
 *
 * The configuration is a file of strings, each ended by NUL: "tsrunm1", the pid of the
 * container, a pidfd of it or -1, the master of its pty or -1, flags, then clean-up records
 * (cleanup.c). A process that is not our child is waited for by its pidfd; its exit status
 * stays unknown (255). Flags:
 *
 *   1  leave the orphans of the container to a subreaper above us
 *   2  only watch: no signal is forwarded, and the end of our parent is our own
 *   4  two more strings follow the flags: the sockets of notify.c, that of the container and
 *      the one to whoever waits for its readiness
 *   8  two more strings follow: the socket to a witness of the end (witness.c), and what it writes
 */
#include "monitor.h"

#define MONITOR_MAGIC "tsrunm1"
#define STATUS_UNKNOWN 255
#define FLAG_NO_SUBREAPER 1
#define FLAG_WATCH 2
#define FLAG_NOTIFY 4
#define FLAG_WITNESS 8
/* How often to look whether the container opened its terminal again, or ours is in our hands: poll(2) does not tell. */
#define LOOK_AGAIN_NS 250000000

struct container {
	int64_t pid, pidfd, master, flags;
	struct notify notify;
	struct witnessed *witnessed;
	/* As wait4(2) has it; -1 while, or where, nobody told us. */
	int status;
	int gone;
	/* It has ended, and whoever traces it (ptrace(2)) has yet to see that; we are told by SIGCHLD then. */
	int held;
};

static int read_config(int fd, struct reader *reader, struct container *container);
static int read_notify(struct reader *reader, struct notify *notify);
static int read_number(struct reader *reader, int64_t *number);
static int take_signals(void);
static void wait_for(struct container *container, struct terminal *terminal, int signals);
static void handle_signals(struct container *container, struct terminal *terminal, int signals);
static void forward(const struct container *container, int signal);
static void reap(struct container *container);
static int is_child(int64_t pid);
static int exit_code(int status);

int monitor(int argc, char **argv)
{
	static struct terminal terminal;
	static struct witnessed witnessed;
	struct container container = {
		.status = -1,
		.notify = { .from = -1, .to = -1, .barrier = -1 },
		.witnessed = &witnessed,
	};
	struct reader records;
	int64_t config;
	int result, signals;

	if (argc != 2 || decode_number(argv[1], &config) < 0)
		return STATUS_UNKNOWN;
	result = read_config((int)config, &records, &container);
	if (result < 0) {
		complain("watch", "the container, which runs on", -result);
		return STATUS_UNKNOWN;
	}
	signals = take_signals();
	if ((container.flags & FLAG_NO_SUBREAPER) == 0)
		SYS(prctl, PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	if (container.flags & FLAG_WATCH)
		SYS(prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	terminal_start(&terminal, (int)container.master);
	wait_for(&container, &terminal, signals);
	if (container.flags & FLAG_WITNESS)
		witnessed_finish(&witnessed);
	terminal_finish(&terminal, signals);
	notify_finish(&container.notify);
	cleanup(&records, container.status, &witnessed);
	return exit_code(container.status);
}

static int read_config(int fd, struct reader *reader, struct container *container)
{
	int64_t *const numbers[] = { &container->pidfd, &container->master, &container->flags };
	int result = map_file(fd, reader);

	if (result < 0)
		return result;
	if (decode_magic(reader, MONITOR_MAGIC) < 0)
		return -EPROTO;
	if (read_number(reader, &container->pid) < 0)
		return -EPROTO;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (read_number(reader, numbers[i]) < 0)
			return -EPROTO;
	if (container->pid <= 0 || (container->flags & ~(FLAG_NO_SUBREAPER | FLAG_WATCH | FLAG_NOTIFY | FLAG_WITNESS)) != 0)
		return -EPROTO;
	if ((container->flags & FLAG_NOTIFY) && read_notify(reader, &container->notify) < 0)
		return -EPROTO;
	return container->flags & FLAG_WITNESS ? witnessed_read(reader, container->witnessed) : 0;
}

static int read_notify(struct reader *reader, struct notify *notify)
{
	int64_t from, to;

	if (read_number(reader, &from) < 0 || read_number(reader, &to) < 0)
		return -EPROTO;
	notify->from = (int)from;
	notify->to = (int)to;
	return 0;
}

static int read_number(struct reader *reader, int64_t *number)
{
	char *text;
	size_t size;

	return decode_string(reader, &text, &size) < 0 ? -1 : decode_number(text, number);
}

/* All signals come by a descriptor from now on (signalfd(2)): none can end us before the terminal is put back. */
static int take_signals(void)
{
	uint64_t all = ~0UL;

	reset_signals(all);
	return (int)SYS(signalfd4, -1, &all, sizeof(all), O_CLOEXEC | O_NONBLOCK);
}

static void wait_for(struct container *container, struct terminal *terminal, int signals)
{
	struct pollfd polls[POLL_TERMINAL + 3];

	for (reap(container); !container->gone; reap(container)) {
		const struct timespec soon = { .nsec = LOOK_AGAIN_NS };
		long ready;

		terminal_poll(terminal, polls);
		polls[POLL_TERMINAL] = (struct pollfd){ .fd = signals, .events = POLLIN };
		polls[POLL_TERMINAL + 1] = (struct pollfd){ .fd = container->held ? -1 : (int)container->pidfd, .events = POLLIN };
		polls[POLL_TERMINAL + 2] = (struct pollfd){ .fd = container->notify.from, .events = POLLIN };
		ready = SYS(ppoll, polls, POLL_TERMINAL + 3,
			    terminal->hung_up || terminal->background ? &soon : NULL, NULL, 8);
		if (ready == 0)
			terminal->hung_up = 0;
		if (terminal->background)
			terminal_resume(terminal);
		if (ready <= 0)
			continue;
		if (polls[POLL_TERMINAL].revents != 0)
			handle_signals(container, terminal, signals);
		if (polls[POLL_TERMINAL + 2].revents != 0)
			notify_relay(&container->notify);
		terminal_pump(terminal, polls);
	}
}

static void handle_signals(struct container *container, struct terminal *terminal, int signals)
{
	struct signalfd_siginfo info;

	while (SYS(read, signals, &info, sizeof(info)) == sizeof(info)) {
		switch (info.signo) {
		case SIGCHLD: /* reap looks anyway */
		case SIGURG:
			continue;
		case SIGPIPE: /* our own, from writing to a pipe that nobody reads */
			if (info.pid == (uint32_t)SYS(getpid))
				continue;
			break;
		case SIGWINCH:
			if (terminal->master >= 0) {
				terminal_resize(terminal);
				continue;
			}
			break;
		case SIGCONT:
			terminal_resume(terminal);
			break;
		}
		if ((container->flags & FLAG_WATCH) == 0)
			forward(container, (int)info.signo);
	}
}

/* The container has ended: what would have been its is ours. */
int is_told_to_end(int signals)
{
	struct signalfd_siginfo info;

	while (SYS(read, signals, &info, sizeof(info)) == sizeof(info))
		if (info.signo == SIGHUP || info.signo == SIGINT || info.signo == SIGQUIT || info.signo == SIGTERM)
			return 1;
	return 0;
}

static void forward(const struct container *container, int signal)
{
	if (container->pidfd < 0 || SYS(pidfd_send_signal, container->pidfd, signal, NULL, 0) == -ENOSYS)
		SYS(kill, container->pid, signal);
}

/*
 * Collects every child that ended; orphans of the container become ours, as we are a subreaper.
 * The pidfd is asked first: what is ready then and not ours to collect has ended all the same.
 */
static void reap(struct container *container)
{
	struct pollfd end = { .fd = (int)container->pidfd, .events = POLLIN };
	const struct timespec now = { 0 };
	long pid, ended = SYS(ppoll, &end, 1, &now, NULL, 8);
	int status;

	while ((pid = SYS(wait4, -1, &status, WNOHANG | WAIT_ALL, NULL)) > 0) {
		if (pid != container->pid)
			continue;
		container->status = status;
		container->gone = 1;
	}
	if (container->gone)
		return;
	container->held = ended > 0 && is_child(container->pid);
	if ((ended > 0 && !container->held) || (pid == -ECHILD && container->pidfd < 0))
		container->gone = 1;
}

static int is_child(int64_t pid)
{
	return SYS(waitid, P_PID, pid, NULL, WEXITED | WNOHANG | WNOWAIT | WAIT_ALL, NULL) == 0;
}

/* As a shell reports it: the code, or 128 and the signal. */
static int exit_code(int status)
{
	int signal = status & 0x7f;

	if (status < 0)
		return STATUS_UNKNOWN;
	return signal == 0 ? status >> 8 & 0xff : 128 + signal;
}
