/* The plan as the runtime wrote it, step by step. decode.c touches nothing but that memory. */
#ifndef TSRUN_DECODE_H
#define TSRUN_DECODE_H

#include <stddef.h>
#include <stdint.h>

#define PLAN_MAGIC "tsrun1"
#define STEP_ARGS 8

/*
 * One argument. n: n and u; u: u; s: text, size without the NUL; l: text is the first of
 * `size` strings that lie end to end; b: text, size.
 */
struct arg {
	int64_t n;
	uint64_t u;
	char *text;
	size_t size;
};

struct step {
	unsigned int op;
	struct arg args[STEP_ARGS];
};

struct reader {
	char *at, *end;
};

int decode_number(const char *text, int64_t *value);
int decode_unsigned(const char *text, uint64_t *value);
int decode_string(struct reader *reader, char **text, size_t *size);
int decode_magic(struct reader *reader, const char *magic);
int decode_step(struct reader *reader, struct step *step);

#endif
