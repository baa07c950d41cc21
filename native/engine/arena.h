/*
 * The memory of the JavaScript engine: ranges of addresses that are the same in every process, so that they can be
 * written to files when the program is built and mapped again when it starts.
 */
#ifndef TSRUN_ARENA_H
#define TSRUN_ARENA_H

#include <stddef.h>
#include <stdio.h>

#include "quickjs.h"

/*
 * Where the memory begins that the program was built with, where its large blocks are, and where what it takes at run time
 * goes. Far above what a
 * static program has, within the 39 bits of address that the smallest kernels give; apart from each other, because the
 * kernel puts the break behind the last segment of a program.
 */
#define ARENA_BUILT ((char *)0x1000000000)
#define ARENA_LARGE ((char *)0x1800000000)
#define ARENA_TAKEN ((char *)0x2000000000)
#define ARENA_LIMIT ((size_t)1 << 32)

extern const JSMallocFunctions arena_functions;

/* Was this program built with an arena? Then it is ready, and arena_root() what was put there. */
int arena_is_built(void);

/* Makes an empty one, for the program that builds. Returns 0 or -1 with errno. */
int arena_create(void);

/* To be called at the start of a program that was built with an arena. */
void arena_resume(void);

/* How many bytes have been used. */
size_t arena_used(void);

/* Writes what lies from ARENA_BUILT and from ARENA_LARGE on. Returns 0 or -1. */
int arena_write(FILE *small, FILE *large);

/* The one thing that who finds an arena must know of it. */
void **arena_root(void);

#endif
