#include "arena.h"

#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

/*
 * Blocks of fixed sizes with a free list each. The process is over in milliseconds: what counts is that few pages are
 * touched, since a page costs more than a thousand allocations.
 */
#define SMALL_STEP 16
#define SMALL_CLASSES 32 /* 16, 32 ... 512 */
#define STEPS 4          /* then four sizes to each doubling */
#define CLASSES (SMALL_CLASSES + STEPS * 23)
#define GROWTH ((size_t)1 << 20)
#define FIRST ((size_t)1 << 18) /* what nearly every command takes */
#define PAGE 4096
#define DEAR_NS 2500 /* seen: 1500 on one virtual machine, 17000 on another */

/*
 * What the program was built with lies in two ranges. Blocks of up to 160 bytes are objects, names and the like, whose
 * counts of references change wherever the program goes; larger ones are mostly bytecode, which is only read.
 */
#define LARGE 10 /* the class of 176 bytes */

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

struct block {
	uint64_t class;
	union {
		struct block *next; /* while free */
		char data[8];
	};
};

#define HEADER offsetof(struct block, data)

#define MAGIC 0x316e757273746a73 /* "sjtsrun1" */

struct range {
	char *begin;
	char *top;    /* what lies above has never been used */
	char *mapped; /* and this much of it can be used as it is */
	char *limit;
};

struct arena {
	uint64_t magic;
	struct range small;
	struct range large;
	struct range taken; /* at run time: blocks of any size */
	void *root;
	struct block *free[CLASSES];
};

static struct arena *const arena = (struct arena *)ARENA_BUILT;

static int class_of(size_t size)
{
	if (size <= (size_t)SMALL_STEP * SMALL_CLASSES)
		return size <= SMALL_STEP ? 0 : (int)((size - 1) / SMALL_STEP);
	int power = 63 - __builtin_clzll(size - 1); /* 2^power <= size - 1, power >= 9 */
	size_t step = ((size_t)1 << power) / STEPS;
	int part = (int)((size - 1 - ((size_t)1 << power)) / step);
	return SMALL_CLASSES + (power - 9) * STEPS + part;
}

static size_t class_size(int class)
{
	if (class < SMALL_CLASSES)
		return (size_t)(class + 1) * SMALL_STEP;
	int power = 9 + (class - SMALL_CLASSES) / STEPS;
	int part = (class - SMALL_CLASSES) % STEPS;
	return ((size_t)1 << power) + (size_t)(part + 1) * (((size_t)1 << power) / STEPS);
}

/* Where a new block of a class goes. */
static struct range *range_for(int class)
{
	if (arena->taken.top != NULL)
		return &arena->taken;
	return class < LARGE ? &arena->small : &arena->large;
}

/* Makes memory up to `end` usable; 0 when there is none left. */
static int reach(struct range *range, char *end)
{
	if (end <= range->mapped)
		return 1;
	if (end > range->limit)
		return 0;
	size_t more = ((size_t)(end - range->mapped) + GROWTH - 1) & ~(GROWTH - 1);
	void *got = mmap(range->mapped, more, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
	if (got == MAP_FAILED)
		return 0;
	range->mapped += more;
	return 1;
}

static struct block *block_of(const void *pointer)
{
	return (struct block *)((char *)pointer - HEADER);
}

static void *arena_malloc(JSMallocState *state, size_t size)
{
	if (size == 0 || size > ARENA_LIMIT / 2)
		return NULL;
	int class = class_of(size);
	size_t room = class_size(class);
	if (state->malloc_size + room > state->malloc_limit)
		return NULL;
	struct block *block = arena->free[class];
	if (block != NULL) {
		arena->free[class] = block->next;
	} else {
		struct range *range = range_for(class);
		block = (struct block *)range->top;
		if (!reach(range, range->top + HEADER + room))
			return NULL;
		range->top += HEADER + room;
		block->class = (uint64_t)class;
	}
	state->malloc_count++;
	state->malloc_size += room;
	return block->data;
}

static void arena_free(JSMallocState *state, void *pointer)
{
	if (pointer == NULL)
		return;
	struct block *block = block_of(pointer);
	state->malloc_count--;
	state->malloc_size -= class_size((int)block->class);
	block->next = arena->free[block->class];
	arena->free[block->class] = block;
}

static size_t arena_usable_size(const void *pointer)
{
	return pointer == NULL ? 0 : class_size((int)block_of(pointer)->class);
}

static void *arena_realloc(JSMallocState *state, void *pointer, size_t size)
{
	if (pointer == NULL)
		return size == 0 ? NULL : arena_malloc(state, size);
	if (size == 0) {
		arena_free(state, pointer);
		return NULL;
	}
	size_t room = arena_usable_size(pointer);
	if (size <= room)
		return pointer;
	void *moved = arena_malloc(state, size);
	if (moved == NULL)
		return NULL;
	memcpy(moved, pointer, room);
	arena_free(state, pointer);
	return moved;
}

const JSMallocFunctions arena_functions = { arena_malloc, arena_free, arena_realloc, arena_usable_size };

int arena_is_built(void)
{
	return arena->magic == MAGIC;
}

static int begin(struct range *range, char *address, size_t reserved)
{
	/* Over the page that the linker put here to hold the place. */
	void *got = mmap(address, GROWTH, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0);
	if (got == MAP_FAILED)
		return -1;
	*range = (struct range){ address, address + reserved, address + GROWTH, address + ARENA_LIMIT };
	return 0;
}

int arena_create(void)
{
	struct range small, large;

	if (begin(&small, ARENA_BUILT, (sizeof(*arena) + 15) & ~(size_t)15) < 0 || begin(&large, ARENA_LARGE, 0) < 0)
		return -1;
	arena->magic = MAGIC;
	arena->small = small;
	arena->large = large;
	return 0;
}

static size_t length(const struct range *range)
{
	return (size_t)(range->top - range->begin);
}

/*
 * What a fault costs that copies a page: the least of three, on pages that every command writes to, and nobody has yet
 * (the first one has what is written to above).
 */
static int64_t fault_ns(void)
{
	int64_t least = INT64_MAX;
	for (int i = 1; i <= 3; i++) {
		volatile char *page = ARENA_BUILT + (ptrdiff_t)i * PAGE;
		struct timespec before, after;
		clock_gettime(CLOCK_MONOTONIC, &before);
		char there = *page;
		*page = there;
		clock_gettime(CLOCK_MONOTONIC, &after);
		int64_t took = (after.tv_sec - before.tv_sec) * INT64_C(1000000000) + (after.tv_nsec - before.tv_nsec);
		least = took < least ? took : least;
	}
	return least;
}

/*
 * What was free when the program was built stays unused: each block of it lies on a page that would have to be copied,
 * while those taken from now on lie side by side.
 */
void arena_resume(void)
{
	memset(arena->free, 0, sizeof(arena->free));
	arena->taken = (struct range){ ARENA_TAKEN, ARENA_TAKEN, ARENA_TAKEN, ARENA_TAKEN + ARENA_LIMIT };
	reach(&arena->taken, ARENA_TAKEN + FIRST);
	/*
	 * A command writes to a third or two thirds of the small blocks' pages. They come in one by one where a fault is cheap;
	 * where it is dear, all at once, which costs a tenth of that a page (kernels before 5.14 do not know how). The
	 * large blocks come in as they are read, sixteen pages to a fault and without a copy.
	 */
	if (fault_ns() <= DEAR_NS)
		return;
	madvise(ARENA_BUILT, length(&arena->small), MADV_POPULATE_WRITE);
	madvise(ARENA_TAKEN, FIRST, MADV_POPULATE_WRITE);
}

size_t arena_used(void)
{
	return length(&arena->small) + length(&arena->large);
}

int arena_write(FILE *small, FILE *large)
{
	size_t sizes[] = { length(&arena->small), length(&arena->large) };

	if (fwrite(ARENA_BUILT, 1, sizes[0], small) != sizes[0] || fwrite(ARENA_LARGE, 1, sizes[1], large) != sizes[1])
		return -1;
	return 0;
}

void **arena_root(void)
{
	return &arena->root;
}
