/* Memory is mapped, never allocated bit by bit, and lives as long as the process. */
#include "init.h"

/* `size` zero bytes for what has no fixed size (pointer arrays, group lists), or NULL. */
void *scratch(size_t size)
{
	long memory = SYS(mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory < 0 ? NULL : (void *)memory;
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
	return 0;
}
