/* Decodes a plan and reads all that it says, which a sanitizer then has seen. */
#ifndef TSRUN_WALK_H
#define TSRUN_WALK_H

#include <string.h>

#include "decode.h"
#include "protocol.h"

static volatile size_t sink;

static void walk_arg(char kind, const struct arg *arg)
{
	const char *text = arg->text;

	if (kind == 's')
		sink += strlen(text) == arg->size;
	if (kind == 'b')
		for (size_t at = 0; at < arg->size; at++)
			sink += (size_t)text[at];
	if (kind == 'l')
		for (size_t at = 0; at < arg->size; at++)
			text += strlen(text) + 1;
}

static void walk(char *data, size_t size)
{
	static const char kinds[][STEP_ARGS] = {
#define KINDS(name, kinds) kinds,
		OPS(KINDS)
	};
	struct reader reader = { data, data + size };
	struct step step;

	if (decode_magic(&reader, PLAN_MAGIC) < 0)
		return;
	while (decode_step(&reader, &step) == 1)
		for (int i = 0; i < STEP_ARGS && kinds[step.op][i] != '\0'; i++)
			walk_arg(kinds[step.op][i], &step.args[i]);
}

#endif
