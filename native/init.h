/* What the files of the init share. */
#ifndef TSRUN_INIT_H
#define TSRUN_INIT_H

#include "decode.h"
#include "kernel.h"
#include "protocol.h"

/* All the state there is between two steps. */
struct init {
	/* The socket to the runtime: first that of create, then that of start. */
	int sync;
	/* Index of the step at work. */
	int32_t step;
	/* What exec runs; set by findExecutable. */
	const char *executable;
	/* The working directory is entered: chdir has nothing to do. */
	int entered;
	/* The tmpfs that masks directories has its first place: clone it from now on. */
	int mask_attached;
	/* The umask that was inherited, or -1 when a step has set another. */
	long inherited_umask;
};

/* Each op of src/plan/step.ts, done: 0 or -errno. A missing one is a link error. */
#define OP_PROTOTYPE(name, kinds) int op_##name(struct init *init, const struct arg *args);
OPS(OP_PROTOTYPE)
#undef OP_PROTOTYPE

/* A number of the plan where the kernel takes an int; what does not fit becomes no valid descriptor. */
static inline int as_int(const struct arg *arg)
{
	return arg->n >= INT32_MIN && arg->n <= INT32_MAX ? (int)arg->n : INT32_MIN;
}

/* A descriptor to start a path at; -1 stands for the current directory. */
static inline int as_dirfd(const struct arg *arg)
{
	return arg->n == -1 ? AT_FDCWD : as_int(arg);
}

/* descriptor.c */
int place(int fd, int wanted);
int open_in(int root, const char *path, uint64_t flags, uint64_t resolve);
int status_of(int fd, struct statx *status);

/* target.c */
int make_in(int root, const char *path, uint32_t mode, uint64_t flags, uint64_t resolve);
int open_parent(int root, char *path, const char **name);
int follow(int dir, char *path, size_t at, size_t end, char cut);

/* mount.c */
int clone_onto(int source, int target);
int move_onto(int tree, int target);

/* sync.c */
int send_message(struct init *init, int32_t type, int32_t value, int fd);
void send_failure(struct init *init, int error);
int send_parts(int socket, struct iovec *parts, size_t count, int fd);

/* memory.c */
void *scratch(size_t size);
int map_file(int fd, struct reader *reader);

/* "." or "..", which name no new thing. */
static inline int is_dots(const char *name)
{
	return name[0] == '.' && (name[1] == '\0' || (name[1] == '.' && name[2] == '\0'));
}

/* start.c */
size_t strlen(const char *text);
void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memmove(void *to, const void *from, size_t size);
int memcmp(const void *a, const void *b, size_t size);

/* signals.c */
void reset_signals(uint64_t mask);

/* monitor.c */
int monitor(int argc, char **argv);

/* witness.c */
int witness(int argc, char **argv);

/* relay.c */
int relay(int argc, char **argv);

#endif
