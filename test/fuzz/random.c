/*
 * Drives a fuzzer's harness without a fuzzer: each file named, then as many times as asked with its second half made
 * random and a few of its bytes changed. The same seed makes the same inputs. See README.md.
 *
 *   random SEED ROUNDS FILE...
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LARGEST (1 << 16)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t state;

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled". */
static uint32_t next(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 2685821657736338717ULL) >> 32);
}

/* In memory that ends where the input ends. */
static void try(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size > 0 ? size : 1);

	if (exact == NULL)
		exit(1);
	memcpy(exact, data, size);
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

static void vary(const uint8_t *seed, size_t size)
{
	static uint8_t input[LARGEST];
	size_t half = size / 2;

	memcpy(input, seed, size);
	for (size_t i = half; i < size; i++)
		input[i] = (uint8_t)next();
	for (uint32_t changes = next() % 4; changes > 0 && half > 0; changes--)
		input[next() % half] = (uint8_t)next();
	try(input, next() % 8 == 0 ? next() % (size + 1) : size);
}

int main(int argc, char **argv)
{
	static uint8_t seed[LARGEST];

	if (argc < 4)
		return 2;
	state = strtoull(argv[1], NULL, 10) * 2 + 1;
	for (int i = 3; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		size_t size = file == NULL ? 0 : fread(seed, 1, sizeof(seed), file);

		if (size == 0) {
			fprintf(stderr, "%s cannot be read\n", argv[i]);
			return 1;
		}
		fclose(file);
		try(seed, size);
		for (long round = strtol(argv[2], NULL, 10); round > 0; round--)
			vary(seed, size);
	}
	puts("ok");
	return 0;
}
