/*
 * Memory is mapped once, before the first step: later a seccomp filter may be in force that
 * allows nothing of ours but execve(2).
 */
#include "init.h"

static char *room, *room_end;

/*
 * Zero bytes for what has no fixed size (pointer arrays, group lists), or NULL. A list takes
 * eight bytes for each of its strings and its end, and each of these takes a byte of the file
 * at least, so what map_file set aside is always enough; pages that nobody touches cost nothing.
 */
void *scratch(size_t size)
{
	void *taken = room;

	size = (size + 7) & ~(size_t)7;
	if (size > (size_t)(room_end - room))
		return NULL;
	room += size;
	return taken;
}

/* The file as private memory, so that arguments are cut and pointed to in place; closes `fd`. Returns 0 or -errno. */
int map_file(int fd, struct reader *reader)
{
	struct statx status;
	long memory;
	int result = status_of(fd, &status);

	if (result < 0)
		return result;
	memory = SYS(mmap, 0, status.size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
	if (memory < 0)
		return (int)memory;
	SYS(close, fd);
	reader->at = (char *)memory;
	reader->end = reader->at + status.size;
	memory = SYS(mmap, 0, status.size * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (memory < 0)
		return (int)memory;
	room = (char *)memory;
	room_end = room + status.size * 8;
	return 0;
}
