/* The container's terminal: a pty of its own devpts instance (pty(7), ioctl_tty(2)). */
#include "init.h"

static int open_master(int root);
static int is_ptmx(int fd);
static int open_console(int dev);

/* fd root */
int op_pty(struct init *init, const struct arg *args)
{
	int zero = 0, slave, result, master = open_master(as_int(&args[1]));

	if (master < 0)
		return master;
	result = (int)SYS(ioctl, master, TIOCSPTLCK, &zero);
	/* By ioctl and not by the name of the slave: a name could lead elsewhere. */
	slave = result < 0 ? result : (int)SYS(ioctl, master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave >= 0)
		result = send_message(init, MESSAGE_FD, 0, master);
	SYS(close, master);
	if (slave >= 0 && result < 0)
		SYS(close, slave);
	return result < 0 ? result : place(slave, as_int(&args[0]));
}

/* dev/pts is known as a devpts before anything in it is opened: opening a device can be a deed of its own. */
static int open_master(int root)
{
	struct open_how how = {
		.flags = O_RDWR | O_NOCTTY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	struct statfs fs;
	int pts = open_in(root, "dev/pts", O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);
	int master;

	if (pts < 0)
		return pts;
	master = (int)SYS(fstatfs, pts, &fs);
	if (master == 0)
		master = fs.type == DEVPTS_SUPER_MAGIC ? (int)SYS(openat2, pts, "ptmx", &how, sizeof(how)) : -EINVAL;
	SYS(close, pts);
	if (master >= 0 && !is_ptmx(master)) {
		SYS(close, master);
		return -EINVAL;
	}
	return master;
}

static int is_ptmx(int fd)
{
	struct statx status;

	return status_of(fd, &status) == 0 && (status.mode & S_IFMT) == S_IFCHR && status.rdev_major == 5 &&
	       status.rdev_minor == 2;
}

/* fd root */
int op_console(struct init *init, const struct arg *args)
{
	int console, result, dev = open_in(as_int(&args[1]), "dev", O_PATH | O_DIRECTORY, RESOLVE_NO_SYMLINKS);

	(void)init;
	if (dev < 0)
		return dev;
	console = open_console(dev);
	SYS(close, dev);
	if (console < 0)
		return console;
	result = clone_onto(as_int(&args[0]), console);
	SYS(close, console);
	return result;
}

/* A link there is refused (ELOOP): the image chose it, and it could lead anywhere. */
static int open_console(int dev)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
	};
	int result = (int)SYS(mknodat, dev, "console", S_IFREG | 0600, 0);

	if (result < 0 && result != -EEXIST && result != -EROFS)
		return result;
	return (int)SYS(openat2, dev, "console", &how, sizeof(how));
}

/* fd rows columns */
int op_winsize(struct init *init, const struct arg *args)
{
	struct winsize size = { .rows = (uint16_t)args[1].n, .columns = (uint16_t)args[2].n };

	(void)init;
	return (int)SYS(ioctl, as_int(&args[0]), TIOCSWINSZ, &size);
}

/* Needs setsid before it: only a session leader without a terminal can take one. */
int op_controllingTerminal(struct init *init, const struct arg *args)
{
	int fd = as_int(&args[0]);
	long result = SYS(ioctl, fd, TIOCSCTTY, 0);

	(void)init;
	for (int i = 0; i <= 2 && result >= 0; i++)
		result = fd == i ? SYS(fcntl, fd, F_SETFD, 0) : SYS(dup3, fd, i, 0);
	return result < 0 ? (int)result : 0;
}

/* fd uid gid; works on an O_PATH descriptor too. */
int op_fchown(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(fchownat, as_int(&args[0]), "", args[1].n, args[2].n, AT_EMPTY_PATH);
}
