/*
 * Reads the plan: "tsrun1" NUL, then for each step its op number and its arguments, as
 * src/plan/step.ts has them and src/init/encode.ts writes them. Nothing is copied; every
 * read is bounded by the end of the data. Functions return 0 (or what they say) or -1.
 */
#include "decode.h"
#include "protocol.h"

static const char op_kinds[][STEP_ARGS] = {
#define OP_KINDS(name, kinds) kinds,
	OPS(OP_KINDS)
#undef OP_KINDS
};

static int decode_arg(struct reader *reader, char kind, struct arg *arg);
static int decode_list(struct reader *reader, struct arg *arg);
static int decode_bytes(struct reader *reader, struct arg *arg);

/* The next step. Returns 1, 0 at the end of the plan, -1 when the data is malformed. */
int decode_step(struct reader *reader, struct step *step)
{
	struct arg op;

	if (reader->at == reader->end)
		return 0;
	if (decode_arg(reader, 'u', &op) < 0 || op.u >= OP_COUNT)
		return -1;
	step->op = (unsigned int)op.u;
	for (unsigned int i = 0; i < STEP_ARGS && op_kinds[op.u][i] != '\0'; i++)
		if (decode_arg(reader, op_kinds[op.u][i], &step->args[i]) < 0)
			return -1;
	return 1;
}

static int decode_arg(struct reader *reader, char kind, struct arg *arg)
{
	*arg = (struct arg){ 0 };
	if (kind == 'l')
		return decode_list(reader, arg);
	if (kind == 'b')
		return decode_bytes(reader, arg);
	if (decode_string(reader, &arg->text, &arg->size) < 0)
		return -1;
	if (kind == 'u')
		return decode_unsigned(arg->text, &arg->u);
	if (kind == 'n') {
		if (decode_number(arg->text, &arg->n) < 0)
			return -1;
		arg->u = (uint64_t)arg->n;
	}
	return 0;
}

static int decode_list(struct reader *reader, struct arg *arg)
{
	uint64_t count;
	char *text;
	size_t size;

	if (decode_string(reader, &text, &size) < 0 || decode_unsigned(text, &count) < 0)
		return -1;
	/* Each string takes a byte at least, so a count beyond the data is never walked. */
	if (count > (size_t)(reader->end - reader->at))
		return -1;
	arg->text = reader->at;
	arg->size = (size_t)count;
	for (uint64_t i = 0; i < count; i++)
		if (decode_string(reader, &text, &size) < 0)
			return -1;
	return 0;
}

static int decode_bytes(struct reader *reader, struct arg *arg)
{
	uint64_t count;
	char *text;
	size_t size;

	if (decode_string(reader, &text, &size) < 0 || decode_unsigned(text, &count) < 0)
		return -1;
	if (count > (size_t)(reader->end - reader->at))
		return -1;
	arg->text = reader->at;
	arg->size = (size_t)count;
	reader->at += count;
	return 0;
}

/* The next string; its NUL lies within the data. */
int decode_string(struct reader *reader, char **text, size_t *size)
{
	for (char *at = reader->at; at < reader->end; at++) {
		if (*at != '\0')
			continue;
		*text = reader->at;
		*size = (size_t)(at - reader->at);
		reader->at = at + 1;
		return 0;
	}
	return -1;
}

int decode_magic(struct reader *reader, const char *magic)
{
	char *text;
	size_t size;

	if (decode_string(reader, &text, &size) < 0)
		return -1;
	while (*text != '\0' && *text == *magic) {
		text++;
		magic++;
	}
	return *text == *magic ? 0 : -1;
}

/* Decimal digits and nothing else, up to 2^64-1. */
int decode_unsigned(const char *text, uint64_t *value)
{
	uint64_t sum = 0;

	if (*text == '\0')
		return -1;
	for (; *text != '\0'; text++) {
		unsigned int digit = (unsigned int)*text - '0';

		if (digit > 9 || sum > (UINT64_MAX - digit) / 10)
			return -1;
		sum = sum * 10 + digit;
	}
	*value = sum;
	return 0;
}

/* As above with an optional minus, within an int64. */
int decode_number(const char *text, int64_t *value)
{
	uint64_t sum;
	int negative = *text == '-';

	if (decode_unsigned(text + negative, &sum) < 0 || sum > (uint64_t)INT64_MAX)
		return -1;
	*value = negative ? -(int64_t)sum : (int64_t)sum;
	return 0;
}
