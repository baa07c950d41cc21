/*
 * Times programs without the noise of a JavaScript engine: posix_spawn(3), waitpid(2), clock_gettime(2).
 *
 *   timer < jobs
 *
 * A job is a record of NUL-ended strings: label, microseconds of quiet before it, number of arguments,
 * the arguments. For each job with a label, one line: label, nanoseconds, wait status; one without a
 * label must not fail. Standard input of the programs is empty, their output dropped.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char *field(void)
{
	static char buffer[1 << 16];
	size_t length = 0;
	int c;

	while ((c = getchar()) > 0 && length < sizeof buffer - 1)
		buffer[length++] = (char)c;
	if (c == EOF && length == 0)
		return NULL;
	buffer[length] = 0;
	return strdup(buffer);
}

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv, char **envp)
{
	posix_spawn_file_actions_t actions;
	char *label;

	(void)argc, (void)argv;
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
	while ((label = field()) != NULL) {
		long quiet = atol(field());
		int count = atoi(field()), status = -1, i;
		char *arguments[64] = { NULL };
		long long begin;
		pid_t pid;

		for (i = 0; i < count && i < 63; i++)
			arguments[i] = field();
		if (quiet > 0)
			usleep((useconds_t)quiet);
		begin = now();
		if (posix_spawn(&pid, arguments[0], &actions, NULL, arguments, envp) == 0)
			waitpid(pid, &status, 0);
		if (*label != 0) {
			printf("%s %lld %d\n", label, now() - begin, status);
			fflush(stdout);
		} else if (status != 0) {
			fprintf(stderr, "%s %s: wait status %d\n", arguments[0], arguments[1], status);
			return 1;
		}
	}
	return 0;
}
