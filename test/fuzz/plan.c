/*
 * A fuzzer for native/decode.c: any bytes as a plan, in memory that ends where they end. Every argument that was
 * decoded is read as the init reads it. See README.md.
 */
#include <stdlib.h>
#include <string.h>

#include "walk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *exact = malloc(size > 0 ? size : 1);

	if (exact == NULL)
		return -1;
	memcpy(exact, data, size);
	walk(exact, size);
	free(exact);
	return 0;
}
