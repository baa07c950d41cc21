/*
 * The memory of the JavaScript engine: one range of addresses that is the same in every process, so that it can be
 * written to a file when the program is built and mapped again when it starts.
 */
#ifndef TSRUN_ARENA_H
#define TSRUN_ARENA_H

#include <stddef.h>

#include "quickjs.h"

/*
 * Where the memory begins that the program was built with, and where what it takes at run time goes. Far above what a
 * static program has, within the 39 bits of address that the smallest kernels give; apart from each other, because the
 * kernel puts the break behind the last segment of a program.
 */
#define ARENA_BUILT ((char *)0x1000000000)
#define ARENA_TAKEN ((char *)0x2000000000)
#define ARENA_LIMIT ((size_t)1 << 32)

extern const JSMallocFunctions arena_functions;

/* Was this program built with an arena? Then it is ready, and arena_root() what was put there. */
int arena_is_built(void);

/* Makes an empty one at ARENA_BUILT, for the program that builds. Returns 0 or -1 with errno. */
int arena_create(void);

/* To be called at the start of a program that was built with an arena. */
void arena_resume(void);

/* How many bytes from ARENA_BUILT on have been used. */
size_t arena_used(void);

/* The one thing that who finds an arena must know of it. */
void **arena_root(void);

#endif
