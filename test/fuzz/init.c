/*
 * A fuzzer for the whole init: a plan, and a kernel that answers as the input says. Names of entries, texts of links,
 * kinds of files and errors are what an image and who races us can choose; nothing of it may lead out of memory.
 *
 * The input: two bytes with the length of the plan after its magic, the plan, and the answers. See README.md.
 */
/* Its main() is never left but by exit_group or execve, which come back here. */
#define main init_main
#include "../../native/main.c"
#undef main

/* The headers of a libc have names that kernel.h has too. */
void *calloc(size_t count, size_t size);
void free(void *memory);
void *memset(void *to, int byte, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAPPINGS 4
#define WHOLE_MAGIC sizeof(PLAN_MAGIC)

static const uint8_t *answers, *answers_end;
static const uint8_t *plan;
static size_t plan_size;
static void *mappings[MAPPINGS];
static int mapped;
static void *end[5];
static volatile size_t sink;

int monitor(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static unsigned int byte(void)
{
	return answers < answers_end ? *answers++ : 0;
}

static void fill(void *to, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((uint8_t *)to)[i] = (uint8_t)byte();
}

static void see(const char *text)
{
	if (text != NULL)
		sink += strlen(text);
}

static void see_all(char *const *list)
{
	for (; *list != NULL; list++)
		see(*list);
}

static long error(void)
{
	static const int errors[] = { ENOENT, EPERM,   EINTR,  EAGAIN, EEXIST,  EXDEV,	      ENOTDIR, EISDIR,
				      EINVAL, ENOTEMPTY, ELOOP, ENOSYS, EACCES, ENAMETOOLONG, EROFS,   EBUSY };

	return -errors[byte() % (sizeof(errors) / sizeof(*errors))];
}

/* The first mapping is the plan, in memory that ends where it ends; the others are empty. */
static long map(size_t size)
{
	char *memory = mapped < MAPPINGS && size < 1 << 24 ? calloc(size > 0 ? size : 1, 1) : NULL;

	if (memory == NULL)
		return -ENOMEM;
	if (mapped == 0) {
		memcpy(memory, PLAN_MAGIC, WHOLE_MAGIC);
		memcpy(memory + WHOLE_MAGIC, plan, plan_size);
	}
	mappings[mapped++] = memory;
	return (long)memory;
}

static long status(struct statx *status)
{
	static const uint16_t kinds[] = { S_IFDIR, S_IFREG, S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK };
	unsigned int kind;

	memset(status, 0, sizeof(*status));
	if (mapped == 0) {
		status->size = WHOLE_MAGIC + plan_size;
		return 0;
	}
	kind = byte();
	status->mode = (uint16_t)(kinds[kind % 7] | (kind >> 3) << 7);
	status->uid = byte();
	status->mnt_id = byte() & 3;
	status->rdev_major = byte() & 1;
	status->rdev_minor = byte() & 3;
	status->size = byte();
	return 0;
}

/* As getdents64(2) packs them: names of 1 to 255 bytes, a multiple of 8 each. */
static long entries(char *buffer, size_t size)
{
	size_t at = 0;

	for (unsigned int count = byte() & 7; count > 0; count--) {
		struct dirent64 *entry = (struct dirent64 *)(buffer + at);
		size_t length = byte();
		size_t whole = (sizeof(*entry) + length + 2 + 7) & ~(size_t)7;

		if (at + whole > size)
			break;
		memset(entry, 0, whole);
		fill(entry->name, length);
		for (size_t i = 0; i < length; i++)
			if (entry->name[i] == '\0' || entry->name[i] == '/')
				entry->name[i] = '.';
		if (length == 0)
			entry->name[0] = '.';
		entry->length = (uint16_t)whole;
		entry->type = (uint8_t)(byte() & 15);
		at += whole;
	}
	return (long)at;
}

/* A link's text: as long as the buffer takes, or a few bytes. */
static long link_text(char *buffer, size_t size)
{
	size_t length = byte();

	if (length > 240)
		length = size;
	else if (length > 200)
		length = length << 4 | 15;
	if (length == 0)
		length = 1;
	if (length > size)
		length = size;
	fill(buffer, length);
	for (size_t i = 0; i < length; i++)
		if (buffer[i] == '\0')
			buffer[i] = i % 7 == 0 ? '/' : 'a';
	return (long)length;
}

static long directory(char *buffer)
{
	static const char inside[] = "/", outside[] = "(unreachable)/x";
	int is_inside = byte() & 1;
	size_t size = is_inside ? sizeof(inside) : sizeof(outside);

	memcpy(buffer, is_inside ? inside : outside, size);
	return (long)size;
}

/* One byte, with a descriptor or without. */
static long receive(struct msghdr *message, unsigned int answer)
{
	struct cmsghdr *control = message->control;

	if ((answer & 7) == 0)
		return 0;
	*(char *)message->iov->base = (char)byte();
	message->controllen = answer & 8 ? sizeof(*control) + sizeof(int) : 0;
	if (answer & 8) {
		control->length = message->controllen;
		control->level = SOL_SOCKET;
		control->type = answer & 16 ? SCM_RIGHTS : (int)byte();
		*(int *)(control + 1) = (int)byte() - 1;
	}
	return 1;
}

/* What the input says, written where the kernel would write and read where it would read. */
long syscall6(long nr, long a, long b, long c, long d, long e, long f)
{
	unsigned int answer;

	(void)f;
	switch (nr) {
	case NR_exit_group:
		__builtin_longjmp(end, 1);
	case NR_mmap:
		return map((size_t)b);
	case NR_statx:
		see((const char *)b);
		return mapped == 0 || (byte() & 7) != 0 ? status((struct statx *)e) : error();
	default:
		break;
	}
	/* Whatever loops until it is told otherwise is told so when the input is over. */
	if (answers == answers_end)
		return -EIO;
	answer = byte();
	switch (nr) {
	case NR_execve:
		see((const char *)a);
		see_all((char *const *)b);
		see_all((char *const *)c);
		break;
	case NR_openat:
	case NR_openat2:
	case NR_open_tree:
	case NR_mkdirat:
	case NR_mknodat:
	case NR_unlinkat:
	case NR_fchownat:
	case NR_mount_setattr:
	case NR_move_mount:
	case NR_faccessat2:
		see((const char *)b);
		break;
	case NR_symlinkat:
		see((const char *)a);
		see((const char *)c);
		break;
	case NR_mount:
		see((const char *)a);
		see((const char *)b);
		break;
	case NR_chdir:
	case NR_umount2:
	case NR_fsopen:
		see((const char *)a);
		break;
	case NR_fsconfig:
		see((const char *)c);
		see((const char *)d);
		break;
	case NR_write:
	case NR_sethostname:
	case NR_setdomainname:
	case NR_setgroups: {
		const char *from = (const char *)(nr == NR_write || nr == NR_setgroups ? b : a);
		size_t size = nr == NR_write ? (size_t)c : (size_t)(nr == NR_setgroups ? a * 4 : b);

		for (size_t i = 0; i < size; i++)
			sink += (size_t)from[i];
		return answer & 1 ? (long)size : error();
	}
	case NR_seccomp:
		for (size_t i = 0; i < ((struct sock_fprog *)c)->length * (size_t)8; i++)
			sink += ((uint8_t *)((struct sock_fprog *)c)->filter)[i];
		break;
	case NR_getdents64:
		return answer & 1 ? entries((char *)b, (size_t)c) : 0;
	case NR_readlinkat:
		see((const char *)b);
		return answer & 3 ? link_text((char *)c, (size_t)d) : error();
	case NR_getcwd:
		return directory((char *)a);
	case NR_read:
		if ((answer & 7) == 0)
			return 0;
		if (c > 0)
			*(char *)b = (char)byte();
		return 1;
	case NR_recvmsg:
		return receive((struct msghdr *)b, answer);
	default:
		break;
	}
	return answer & 1 ? (long)(answer >> 1 & 63) : error();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *argv[] = { "tsrun-init", "3", "4", NULL };

	if (size < 2)
		return -1;
	plan_size = (size_t)data[0] | (size_t)data[1] << 8;
	if (plan_size > size - 2)
		plan_size = size - 2;
	plan = data + 2;
	answers = plan + plan_size;
	answers_end = data + size;
	mapped = 0;
	if (__builtin_setjmp(end) == 0)
		init_main(3, argv);
	while (mapped > 0)
		free(mappings[--mapped]);
	return 0;
}
