/*
 * The program that dist/tsrun is: a JavaScript engine (QuickJS), one door to the kernel, and the command line as it
 * stood in memory when it had been loaded. Nothing is parsed, compiled or linked when it starts.
 *
 * When it is built it runs once with `--build FILE CHUNK...`: it loads the modules and writes its memory to FILE,
 * which the linker then makes a segment of the same program (scripts/build-engine.mjs).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arena.h"
#include "quickjs.h"

extern char **environ;
extern const unsigned char init_binary[], init_binary_end[];

/* What lives in the arena: found again by arena_root(). */
struct engine {
	JSRuntime *runtime;
	JSContext *context;
	JSValue start; /* function (argv, pid): what src/main.quickjs.ts registered */
};

static int call_errno;
static char **start_argv;

/* --- what JavaScript calls; src/sys/engine.ts has the types ------------------------------------------------------ */

static int64_t to_word(JSContext *ctx, JSValueConst value, int *failed)
{
	int64_t word = 0;
	if (JS_VALUE_GET_TAG(value) == JS_TAG_INT)
		return JS_VALUE_GET_INT(value);
	if (JS_ToInt64Ext(ctx, &word, value))
		*failed = 1;
	return word;
}

/* syscall(number, six arguments): the result, or -1 and errno() says why. See syscall(2). */
static JSValue host_syscall(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self;
	int64_t word[7] = { 0 };
	int failed = 0;
	for (int i = 0; i < argc && i < 7; i++)
		word[i] = to_word(ctx, argv[i], &failed);
	if (failed)
		return JS_EXCEPTION;
	long result = syscall(word[0], word[1], word[2], word[3], word[4], word[5], word[6]);
	call_errno = result == -1 ? errno : 0;
	return JS_NewInt64(ctx, result);
}

static JSValue host_errno(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc, (void)argv;
	return JS_NewInt32(ctx, call_errno);
}

/* The bytes of a typed array, or NULL with an exception. */
static uint8_t *bytes_of(JSContext *ctx, JSValueConst view, size_t *length)
{
	size_t offset, size;
	JSValue buffer = JS_GetTypedArrayBuffer(ctx, view, &offset, length, NULL);
	if (JS_IsException(buffer))
		return NULL;
	uint8_t *bytes = JS_GetArrayBuffer(ctx, &size, buffer);
	JS_FreeValue(ctx, buffer); /* the view holds it */
	return bytes == NULL ? NULL : bytes + offset;
}

/* address(view): where its first byte is, as long as the view is alive. */
static JSValue host_address(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc;
	size_t length;
	uint8_t *bytes = bytes_of(ctx, argv[0], &length);
	return bytes == NULL ? JS_EXCEPTION : JS_NewInt64(ctx, (int64_t)(uintptr_t)bytes);
}

enum { SPAWN, ADD_DUP2, ADD_CHDIR, DESTROY };

/* The functions of libc that sys/spawn.ts binds, called by number; their arguments are addresses. */
static JSValue host_libc(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv, int function)
{
	(void)self;
	int64_t a[6] = { 0 };
	int failed = 0;
	for (int i = 0; i < argc && i < 6; i++)
		a[i] = to_word(ctx, argv[i], &failed);
	if (failed)
		return JS_EXCEPTION;
	switch (function) {
	case SPAWN:
		return JS_NewInt32(ctx, posix_spawn((pid_t *)a[0], (const char *)a[1],
						    (const posix_spawn_file_actions_t *)a[2],
						    (const posix_spawnattr_t *)a[3], (char *const *)a[4],
						    (char *const *)a[5]));
	case ADD_DUP2:
		return JS_NewInt32(ctx, posix_spawn_file_actions_adddup2((posix_spawn_file_actions_t *)a[0], (int)a[1],
									 (int)a[2]));
	case ADD_CHDIR:
		return JS_NewInt32(ctx, posix_spawn_file_actions_addchdir_np((posix_spawn_file_actions_t *)a[0],
									     (const char *)a[1]));
	default:
		return JS_NewInt32(ctx, posix_spawn_file_actions_destroy((posix_spawn_file_actions_t *)a[0]));
	}
}

static JSValue new_bytes(JSContext *ctx, const void *bytes, size_t length)
{
	JSValue buffer = JS_NewArrayBufferCopy(ctx, bytes, length);
	if (JS_IsException(buffer))
		return buffer;
	/* The constructor reads its three arguments whatever their number is. */
	JSValueConst arguments[] = { buffer, JS_UNDEFINED, JS_UNDEFINED };
	JSValue view = JS_NewTypedArray(ctx, 1, arguments, JS_TYPED_ARRAY_UINT8);
	JS_FreeValue(ctx, buffer);
	return view;
}

/* encode(text): UTF-8; half a surrogate pair becomes U+FFFD, as TextEncoder has it. */
static JSValue host_encode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc;
	size_t length;
	const char *text = JS_ToCStringLen(ctx, &length, argv[0]);
	if (text == NULL)
		return JS_EXCEPTION;
	JSValue view = new_bytes(ctx, text, length);
	JS_FreeCString(ctx, text);
	if (JS_IsException(view))
		return view;
	uint8_t *bytes = bytes_of(ctx, view, &length);
	for (size_t i = 0; i + 2 < length; i++) {
		if (bytes[i] == 0xed && bytes[i + 1] >= 0xa0)
			memcpy(bytes + i, "\xef\xbf\xbd", 3);
	}
	return view;
}

/*
 * How many bytes the character at `at` has; 0 when it is none, and then *bad tells how many bytes one U+FFFD stands
 * for: the longest part that could have begun a character (Unicode, "U+FFFD Substitution of Maximal Subparts").
 */
static size_t utf8_length(const uint8_t *at, size_t left, size_t *bad)
{
	uint8_t first = at[0];
	*bad = 1;
	if (first < 0x80)
		return 1;
	if (first < 0xc2 || first > 0xf4)
		return 0;
	size_t length = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
	uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
	uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
	for (size_t i = 1; i < length; i++) {
		if (i >= left || at[i] < low || at[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
		*bad = i + 1;
	}
	return length;
}

/* decode(view): text from UTF-8, with U+FFFD for what is none. */
static JSValue host_decode(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc;
	size_t length;
	uint8_t *bytes = bytes_of(ctx, argv[0], &length);
	if (bytes == NULL)
		return JS_EXCEPTION;
	size_t good = 0, bad;
	while (good < length) {
		size_t step = utf8_length(bytes + good, length - good, &bad);
		if (step == 0)
			break;
		good += step;
	}
	if (good == length)
		return JS_NewStringLen(ctx, (const char *)bytes, length);
	char *mended = js_malloc(ctx, length * 3);
	if (mended == NULL)
		return JS_EXCEPTION;
	size_t end = 0;
	for (size_t i = 0; i < length;) {
		size_t step = utf8_length(bytes + i, length - i, &bad);
		if (step == 0) {
			memcpy(mended + end, "\xef\xbf\xbd", 3);
			end += 3;
			i += bad;
		} else {
			memcpy(mended + end, bytes + i, step);
			end += step;
			i += step;
		}
	}
	JSValue text = JS_NewStringLen(ctx, mended, end);
	js_free(ctx, mended);
	return text;
}

/* now(): milliseconds of CLOCK_MONOTONIC. */
static JSValue host_now(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc, (void)argv;
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return JS_NewFloat64(ctx, (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6);
}

/* initBinary(): [address, length] of the native init in this program's own memory. */
static JSValue host_init_binary(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc, (void)argv;
	JSValue pair = JS_NewArray(ctx);
	JS_SetPropertyUint32(ctx, pair, 0, JS_NewInt64(ctx, (int64_t)(uintptr_t)init_binary));
	JS_SetPropertyUint32(ctx, pair, 1, JS_NewInt64(ctx, (int64_t)((uintptr_t)init_binary_end - (uintptr_t)init_binary)));
	return pair;
}

static JSValue strings(JSContext *ctx, char **list)
{
	JSValue array = JS_NewArray(ctx);
	for (uint32_t i = 0; list[i] != NULL; i++)
		JS_SetPropertyUint32(ctx, array, i, JS_NewString(ctx, list[i]));
	return array;
}

static JSValue host_getenv(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc;
	const char *name = JS_ToCString(ctx, argv[0]);
	if (name == NULL)
		return JS_EXCEPTION;
	const char *value = getenv(name);
	JS_FreeCString(ctx, name);
	return value == NULL ? JS_UNDEFINED : JS_NewString(ctx, value);
}

static JSValue host_environ(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc, (void)argv;
	return strings(ctx, environ);
}

/* onStart(f): f(argv, pid) is called when the program starts, and only then. */
static JSValue host_on_start(JSContext *ctx, JSValueConst self, int argc, JSValueConst *argv)
{
	(void)self, (void)argc;
	struct engine *engine = JS_GetContextOpaque(ctx);
	JS_FreeValue(ctx, engine->start);
	engine->start = JS_DupValue(ctx, argv[0]);
	return JS_UNDEFINED;
}

static const JSCFunctionListEntry host_functions[] = {
	JS_CFUNC_DEF("syscall", 7, host_syscall),
	JS_CFUNC_DEF("errno", 0, host_errno),
	JS_CFUNC_DEF("address", 1, host_address),
	JS_CFUNC_MAGIC_DEF("posix_spawn", 6, host_libc, SPAWN),
	JS_CFUNC_MAGIC_DEF("posix_spawn_file_actions_adddup2", 3, host_libc, ADD_DUP2),
	JS_CFUNC_MAGIC_DEF("posix_spawn_file_actions_addchdir_np", 2, host_libc, ADD_CHDIR),
	JS_CFUNC_MAGIC_DEF("posix_spawn_file_actions_destroy", 1, host_libc, DESTROY),
	JS_CFUNC_DEF("encode", 1, host_encode),
	JS_CFUNC_DEF("decode", 1, host_decode),
	JS_CFUNC_DEF("now", 0, host_now),
	JS_CFUNC_DEF("initBinary", 0, host_init_binary),
	JS_CFUNC_DEF("getenv", 1, host_getenv),
	JS_CFUNC_DEF("environ", 0, host_environ),
	JS_CFUNC_DEF("onStart", 1, host_on_start),
#if defined(__aarch64__)
	JS_PROP_STRING_DEF("arch", "arm64", JS_PROP_ENUMERABLE),
#else
	JS_PROP_STRING_DEF("arch", "x64", JS_PROP_ENUMERABLE),
#endif
};

/*
 * A part of the command line that needs modules of Node (images, checkpoints) is in the other engine's program, beside
 * this one. It begins anew with the same command line: nothing has been done yet when a verb is loaded. That engine does
 * not start without a current directory.
 */
static void run_other_engine(const char *name)
{
	static char path[4096];
	if (getcwd(path, sizeof(path)) == NULL && errno == ENOENT) {
		dprintf(2, "tsrun: the current directory has been removed\n  fix: go to another one\n");
		_exit(1);
	}
	ssize_t length = readlink("/proc/self/exe", path, sizeof(path) - sizeof("-bun"));
	if (length > 0) {
		memcpy(path + length, "-bun", sizeof("-bun"));
		execv(path, start_argv);
	}
	dprintf(2, "tsrun: this needs the program %s, which cannot be run: %s (%s)\n", path, strerror(errno), name);
	_exit(1);
}

/* --- building ------------------------------------------------------------------------------------------------------ */

static void print_exception(JSContext *ctx)
{
	JSValue error = JS_GetException(ctx);
	JSValue stack = JS_IsError(ctx, error) ? JS_GetPropertyStr(ctx, error, "stack") : JS_UNDEFINED;
	const char *text = JS_ToCString(ctx, error);
	const char *where = JS_IsUndefined(stack) ? NULL : JS_ToCString(ctx, stack);
	fprintf(stderr, "tsrun: internal error: %s\n%s", text == NULL ? "" : text, where == NULL ? "" : where);
}

static char *read_file(const char *path, size_t *length)
{
	FILE *file = fopen(path, "rb");
	if (file == NULL)
		return NULL;
	char *text = NULL;
	if (fseek(file, 0, SEEK_END) == 0) {
		*length = (size_t)ftell(file);
		rewind(file);
		text = malloc(*length + 1);
		if (text != NULL && fread(text, 1, *length, file) == *length)
			text[*length] = 0;
	}
	fclose(file);
	return text;
}

static int no_exports(JSContext *ctx, JSModuleDef *module)
{
	(void)ctx, (void)module;
	return 0;
}

/* While a module is compiled, those that it imports need be there in name only. */
static JSModuleDef *stand_in(JSContext *ctx, const char *name, void *opaque)
{
	(void)opaque;
	return JS_NewCModule(ctx, name, no_exports);
}

/* A module as bytecode, compiled in an engine of its own: what that needs of memory is none of the program's. */
static uint8_t *compile(const char *name, size_t *length)
{
	char *text = read_file(name, length);
	JSRuntime *runtime = text == NULL ? NULL : JS_NewRuntime();
	JSContext *ctx = runtime == NULL ? NULL : JS_NewContext(runtime);
	if (ctx == NULL)
		return NULL;
	JS_SetStripInfo(runtime, JS_STRIP_SOURCE);
	JS_SetModuleLoaderFunc(runtime, NULL, stand_in, NULL);
	JSValue module = JS_Eval(ctx, text, *length, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
	uint8_t *bytecode = NULL;
	if (!JS_IsException(module))
		bytecode = JS_WriteObject(ctx, length, module, JS_WRITE_OBJ_BYTECODE);
	if (bytecode == NULL)
		print_exception(ctx);
	return bytecode;
}

/* Modules are named by their file; all that are part of the program are read while it is built. */
static JSModuleDef *load_module(JSContext *ctx, const char *name, void *is_building)
{
	if (is_building == NULL) {
		const char *end = strrchr(name, '.');
		if (end != NULL && strcmp(end, ".js") == 0)
			run_other_engine(name);
		JS_ThrowReferenceError(ctx, "module %s is none of this engine's", name);
		return NULL;
	}
	size_t length;
	uint8_t *bytecode = compile(name, &length);
	if (bytecode == NULL) {
		JS_ThrowReferenceError(ctx, "cannot load module %s", name);
		return NULL;
	}
	JSValue module = JS_ReadObject(ctx, bytecode, length, JS_READ_OBJ_BYTECODE);
	if (JS_IsException(module))
		return NULL;
	JSModuleDef *definition = JS_VALUE_GET_PTR(module);
	JS_FreeValue(ctx, module);
	return definition;
}

/* Runs what promises wait for. Returns 0, or 1 when something was thrown that nobody catches. */
static int run_jobs(JSRuntime *runtime)
{
	JSContext *ctx;
	int result;
	while ((result = JS_ExecutePendingJob(runtime, &ctx)) > 0)
		;
	if (result == 0)
		return 0;
	print_exception(ctx);
	return 1;
}

static void on_rejection(JSContext *ctx, JSValueConst promise, JSValueConst reason, JS_BOOL is_handled, void *opaque)
{
	(void)promise, (void)opaque;
	if (is_handled)
		return;
	JS_Throw(ctx, JS_DupValue(ctx, reason));
	print_exception(ctx);
	_exit(1);
}

/* The engine without eval: what it runs was compiled when the program was built. */
static struct engine *new_engine(void)
{
	JSRuntime *runtime = JS_NewRuntime2(&arena_functions, NULL);
	if (runtime == NULL)
		return NULL;
	JS_SetMaxStackSize(runtime, 4 << 20);
	JS_SetCanBlock(runtime, 1);
	JSContext *ctx = JS_NewContext(runtime);
	struct engine *engine = ctx == NULL ? NULL : js_mallocz(ctx, sizeof(*engine));
	if (engine == NULL)
		return NULL;
	*engine = (struct engine){ .runtime = runtime, .context = ctx, .start = JS_UNDEFINED };
	JS_SetContextOpaque(ctx, engine);
	JSValue global = JS_GetGlobalObject(ctx);
	JSValue host = JS_NewObject(ctx);
	JS_SetPropertyFunctionList(ctx, host, host_functions, sizeof(host_functions) / sizeof(host_functions[0]));
	JS_SetPropertyStr(ctx, global, "tsrunHost", host);
	JS_FreeValue(ctx, global);
	return engine;
}

/* Loads the modules, and writes the memory to two files. Returns an exit code. */
static int build(const char *small, const char *large, int count, char **modules)
{
	if (arena_create() < 0) {
		perror("tsrun: arena");
		return 1;
	}
	struct engine *engine = new_engine();
	if (engine == NULL)
		return 1;
	JSContext *ctx = engine->context;
	JS_SetModuleLoaderFunc(engine->runtime, NULL, load_module, engine);
	for (int i = 0; i < count; i++) {
		JSValue result = JS_LoadModule(ctx, "", modules[i]);
		if (JS_IsException(result) || run_jobs(engine->runtime) != 0 ||
		    JS_PromiseState(ctx, result) != JS_PROMISE_FULFILLED) {
			JS_Throw(ctx, JS_PromiseResult(ctx, result));
			print_exception(ctx);
			return 1;
		}
		JS_FreeValue(ctx, result);
	}
	JS_SetModuleLoaderFunc(engine->runtime, NULL, load_module, NULL);
	JS_SetHostPromiseRejectionTracker(engine->runtime, on_rejection, NULL);
	JS_RunGC(engine->runtime);
	/* A collection touches every object, so every page: not before a program that lives long has made this much. */
	JS_SetGCThreshold(engine->runtime, arena_used() + (64 << 20));
	*arena_root() = engine;
	FILE *files[] = { fopen(small, "wb"), fopen(large, "wb") };
	if (files[0] == NULL || files[1] == NULL || arena_write(files[0], files[1]) < 0 || fclose(files[0]) != 0 ||
	    fclose(files[1]) != 0) {
		perror("tsrun: arena");
		return 1;
	}
	return 0;
}

/* --- running ------------------------------------------------------------------------------------------------------- */

/*
 * What a program may rely on: descriptors 0 to 2 are open, those above are nobody's by accident, to write where nobody
 * reads is an error and not the end, and how children ended can be asked for. A caller that ignores SIGCHLD hands that
 * down, and wait(2) then fails with ECHILD.
 */
static void prepare_process(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		if (fcntl(fd, F_GETFD) < 0)
			open("/dev/null", O_RDWR);
	}
	syscall(SYS_close_range, 3, ~0U, 4 /* CLOSE_RANGE_CLOEXEC */);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
}

int main(int argc, char **argv)
{
	if (!arena_is_built()) {
		if (argc < 5 || strcmp(argv[1], "--build") != 0)
			return 2;
		return build(argv[2], argv[3], argc - 4, argv + 4);
	}
	start_argv = argv;
	prepare_process();
	arena_resume();
	struct engine *engine = *arena_root();
	JSContext *ctx = engine->context;
	JS_UpdateStackTop(engine->runtime);
	JSValue arguments[] = { strings(ctx, argv), JS_NewInt32(ctx, getpid()) };
	JSValue result = JS_Call(ctx, engine->start, JS_UNDEFINED, 2, arguments);
	if (JS_IsException(result)) {
		print_exception(ctx);
		return 1;
	}
	return run_jobs(engine->runtime);
}
