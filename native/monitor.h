/* What the files of the monitor share. */
#ifndef TSRUN_MONITOR_H
#define TSRUN_MONITOR_H

#include "init.h"

/* Bytes on their way from one descriptor to another. */
struct flow {
	size_t start, end;
	char data[4096];
};

/* Our terminal (descriptors 0 to 2) and the container's (`master`), and what flows between them. */
struct terminal {
	int master;
	/* Where the output goes: descriptor 1, or the same terminal opened anew, so that writing to it does not block. */
	int screen;
	/* Descriptor 0 is a terminal whose modes we changed; `saved` are those to go back to. */
	int raw;
	struct termios saved;
	/* Descriptor 0 can be read; not at its end, and not in the background. */
	int input_open;
	/* Another job has our terminal: a shell's `fg` is not told to a job that runs, so it is looked at now and then. */
	int background;
	/* Nobody in the container has the terminal open just now. */
	int hung_up;
	char last_input;
	struct flow input, output;
};

/* What the container says of its readiness (`from`), and where that goes (`to`); -1 for none. */
struct notify {
	int from, to;
	/* Its end is the word that what we said was understood. */
	int barrier;
};

/* A witness of the end, and its record, as it is found then; without a witness its size stays 0. */
struct witnessed {
	int socket, record;
	size_t size;
	char text[4096];
};

enum { POLL_INPUT, POLL_MASTER, POLL_OUTPUT, POLL_TERMINAL };

/* monitor.c */
int is_told_to_end(int signals);

/* pump.c */
void terminal_start(struct terminal *terminal, int master);
void terminal_poll(struct terminal *terminal, struct pollfd *polls);
void terminal_pump(struct terminal *terminal, const struct pollfd *polls);
void terminal_resize(struct terminal *terminal);
void terminal_resume(struct terminal *terminal);
void terminal_finish(struct terminal *terminal, int signals);

/* notify.c */
void notify_relay(struct notify *notify);
void notify_finish(struct notify *notify);

/* witness.c */
int witnessed_read(struct reader *reader, struct witnessed *witnessed);
void witnessed_finish(struct witnessed *witnessed);
const char *witnessed_files(const struct witnessed *witnessed, size_t *size);

/* cleanup.c */
void cleanup(struct reader *records, int status, const struct witnessed *witnessed);
void complain(const char *what, const char *path, int error);

/* remove.c */
int remove_tree(const char *path);
int remove_cgroup(const char *path);
void kill_cgroup(const char *path);

#endif
