/* What a process carries through execve(2), but for its identity (identity.c). */
#include "init.h"

int op_setsid(struct init *init, const struct arg *args)
{
	long result = SYS(setsid);

	(void)init;
	(void)args;
	return result < 0 ? (int)result : 0;
}

/* What the kernel gives a session keyring, and the search by its owner: an exec finds it by name, and joins it. */
#define KEYRING_PERMISSIONS 0x3f1b0000

/* A kernel without keyrings has none to leak. */
int op_keyring(struct init *init, const struct arg *args)
{
	long keyring = SYS(keyctl, KEYCTL_JOIN_SESSION_KEYRING, args[0].text, 0, 0, 0);

	(void)init;
	if (keyring < 0)
		return keyring == -ENOSYS ? 0 : (int)keyring;
	return (int)SYS(keyctl, KEYCTL_SETPERM, keyring, KEYRING_PERMISSIONS, 0, 0);
}

int op_sethostname(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(sethostname, args[0].text, args[0].size);
}

int op_setdomainname(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(setdomainname, args[0].text, args[0].size);
}

/* netdevice(7). Any socket will do, and every kernel has unix ones. */
int op_loopback(struct init *init, const struct arg *args)
{
	struct ifreq request = { .name = "lo" };
	int result, fd = (int)SYS(socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)init;
	(void)args;
	if (fd < 0)
		return fd;
	result = (int)SYS(ioctl, fd, SIOCGIFFLAGS, &request);
	request.flags |= IFF_UP;
	if (result == 0)
		result = (int)SYS(ioctl, fd, SIOCSIFFLAGS, &request);
	SYS(close, fd);
	return result;
}

/* resource soft hard */
int op_rlimit(struct init *init, const struct arg *args)
{
	struct rlimit64 limit = { args[1].u, args[2].u };

	(void)init;
	return (int)SYS(prlimit64, 0, args[0].n, &limit, NULL);
}

int op_umask(struct init *init, const struct arg *args)
{
	SYS(umask, args[0].n);
	init->inherited_umask = -1;
	return 0;
}

int op_noNewPrivs(struct init *init, const struct arg *args)
{
	(void)init;
	(void)args;
	return (int)SYS(prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int op_parentDeathSignal(struct init *init, const struct arg *args)
{
	(void)init;
	return (int)SYS(prctl, PR_SET_PDEATHSIG, args[0].n, 0, 0, 0);
}

/* flags program. A listener, when asked for, goes to the runtime. */
int op_seccomp(struct init *init, const struct arg *args)
{
	struct sock_fprog program = { .filter = args[1].text };
	size_t length = args[1].size / 8;
	long result;

	if (args[1].size % 8 != 0 || length > UINT16_MAX)
		return -EINVAL;
	program.length = (uint16_t)length;
	result = SYS(seccomp, SECCOMP_SET_MODE_FILTER, args[0].n, &program);
	if (result < 0 || (args[0].n & SECCOMP_FILTER_FLAG_NEW_LISTENER) == 0)
		return (int)result;
	return send_message(init, MESSAGE_FD, 0, (int)result);
}
