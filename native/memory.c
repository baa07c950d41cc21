/* Room for pointer arrays and group lists, which have no fixed size: taken once, never given back. */
#include "init.h"

/* `size` zero bytes, or NULL. */
void *scratch(size_t size)
{
	long memory = SYS(mmap, 0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return memory < 0 ? NULL : (void *)memory;
}
