/*
 * The conversation with the runtime: messages of 16 bytes on a SOCK_SEQPACKET socket.
 * Its end, when the socket closes at execve, is the news that the program runs.
 */
#include "init.h"

/* Sends one message, with descriptor `fd` unless it is -1. Returns 0 or -errno. */
int send_message(struct init *init, int32_t type, int32_t value, int fd)
{
	int32_t message[4] = { type, init->step, value, 0 };
	struct iovec iov = { message, sizeof(message) };

	return send_parts(init->sync, &iov, 1, fd);
}

/*
 * The last message. A filter of the container may be in force that knows nothing of sockets, or kills who uses one, and
 * why its program was not executed is to be said all the same: write(2) is what nearly every one allows.
 */
void send_failure(struct init *init, int error)
{
	int32_t message[4] = { MESSAGE_FAIL, init->step, error, 0 };

	if (SYS(write, init->sync, message, sizeof(message)) < 0)
		send_message(init, MESSAGE_FAIL, error, -1);
}

/* The same for a message in parts, on any socket (cmsg(3)). */
int send_parts(int socket, struct iovec *parts, size_t count, int fd)
{
	/* A header is followed by its data; the whole is a multiple of 8. */
	struct {
		struct cmsghdr header;
		int fd, pad;
	} control = { { sizeof(struct cmsghdr) + sizeof(int), SOL_SOCKET, SCM_RIGHTS }, fd, 0 };
	struct msghdr header = { .iov = parts, .iovlen = count };
	long result;

	if (fd >= 0) {
		header.control = &control;
		header.controllen = sizeof(control);
	}
	do
		result = SYS(sendmsg, socket, &header, MSG_NOSIGNAL);
	while (result == -EINTR);
	return result < 0 ? (int)result : 0;
}

/* Without an answer there is nobody left to run for. A filter of the container may be in force already: read(2) is what
   every one allows. */
int op_await(struct init *init, const struct arg *args)
{
	char byte;
	long result;

	if (send_message(init, MESSAGE_AWAIT, as_int(&args[0]), -1) < 0)
		exit_group(1);
	do
		result = SYS(read, init->sync, &byte, 1);
	while (result == -EINTR);
	if (result <= 0)
		exit_group(1);
	return 0;
}

/* tag fd */
int op_receive(struct init *init, const struct arg *args)
{
	char byte;
	struct iovec iov = { &byte, 1 };
	struct {
		struct cmsghdr header;
		int fd, pad;
	} control = { { 0 }, -1, 0 };
	struct msghdr header = { .iov = &iov, .iovlen = 1, .control = &control, .controllen = sizeof(control) };
	long result;

	if (send_message(init, MESSAGE_AWAIT, as_int(&args[0]), -1) < 0)
		exit_group(1);
	do
		result = SYS(recvmsg, init->sync, &header, MSG_CMSG_CLOEXEC);
	while (result == -EINTR);
	if (result <= 0)
		exit_group(1);
	if (control.header.type != SCM_RIGHTS || control.fd < 0)
		return -EBADF;
	return place(control.fd, as_int(&args[1]));
}

/* The connection is the word to go; what fails from here on is told to `start`. */
int op_awaitStart(struct init *init, const struct arg *args)
{
	int listener = as_int(&args[0]);
	long connection, result;

	do
		connection = SYS(accept4, listener, 0, 0, SOCK_CLOEXEC);
	while (connection == -EINTR);
	if (connection < 0)
		return (int)connection;
	SYS(close, listener);
	result = SYS(dup3, connection, init->sync, O_CLOEXEC);
	SYS(close, connection);
	return result < 0 ? (int)result : 0;
}
