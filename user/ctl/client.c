// SPDX-License-Identifier: Apache-2.0
#include "ctl/ctl.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"
#include "ctl/line.h"

/* One exchange: what has come so far, and until when we wait. */
struct exchange {
	int fd;
	int64_t deadline_ms; /* CLOCK_MONOTONIC; INT64_MAX: for ever */
	int timeout_ms;
	char *buf;
	size_t len, size;
	int stop_fd; /* readable: we want no more; negative: never */
};

static void exchange_end(struct exchange *x)
{
	fd_closep(&x->fd);
	free(x->buf);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int wait_for(struct exchange *x, short events, int *ret_exit, struct shunt_err *err)
{
	struct pollfd fds[] = { { .fd = x->fd, .events = events },
				{ .fd = x->stop_fd, .events = POLLIN } };
	int64_t left;
	int r;

	do {
		left = x->deadline_ms == INT64_MAX ? -1 : x->deadline_ms - now_ms();
		if (left < 0 && x->deadline_ms != INT64_MAX)
			left = 0;
		r = poll(fds, 2, left > INT_MAX ? INT_MAX : (int)left);
		if (r > 0 && fds[1].revents) {
			/* The agent answers this by the end of its stream. */
			shutdown(x->fd, SHUT_WR);
			x->stop_fd = fds[1].fd = -1;
			r = fds[0].revents ? 1 : -1;
			errno = EINTR;
		}
	} while (r < 0 && errno == EINTR);
	if (r > 0)
		return 0;

	*ret_exit = SHUNT_CTL_UNAVAILABLE;
	if (r < 0)
		return shunt_err_set(err, -errno, "waiting for the agent: %s", strerror(errno));
	return shunt_err_set(err, -ETIMEDOUT,
			     "the agent did not answer within %d ms; what was asked may still come "
			     "into force: look at `shunt status`, or wait longer with --timeout",
			     x->timeout_ms);
}

static int connect_failed(const char *path, int error, int *ret_exit, struct shunt_err *err)
{
	if (error == EACCES || error == EPERM) {
		*ret_exit = SHUNT_CTL_PERMISSION;
		return shunt_err_set(err, -error,
				     "%s belongs to the agent's user: run as root (sudo)", path);
	}
	*ret_exit = SHUNT_CTL_UNAVAILABLE;
	if (error == ENOENT || error == ECONNREFUSED)
		return shunt_err_set(
			err, -error,
			"no agent answers on %s: start shuntd, or name its socket with "
			"--socket",
			path);
	return shunt_err_set(err, -error, "%s: %s", path, strerror(error));
}

static int exchange_open(struct exchange *x, const char *path, int *ret_exit, struct shunt_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (strlen(path) >= sizeof(addr.sun_path)) {
		*ret_exit = SHUNT_CTL_USAGE;
		return shunt_err_set(err, -ENAMETOOLONG, "--socket: a path has at most %zu bytes",
				     sizeof(addr.sun_path) - 1);
	}
	memcpy(addr.sun_path, path, strlen(path));

	x->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (x->fd < 0)
		return connect_failed(path, errno, ret_exit, err);

	/* A unix socket with a full backlog says EAGAIN at once: knock again until the deadline. */
	while (connect(x->fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		if ((errno != EAGAIN && errno != EINTR) || now_ms() >= x->deadline_ms)
			return connect_failed(path, errno, ret_exit, err);
		poll(NULL, 0, 20);
	}
	return 0;
}

static int send_line(struct exchange *x, const char *line, int *ret_exit, struct shunt_err *err)
{
	size_t left = strlen(line);
	ssize_t n;
	int r;

	while (left) {
		n = send(x->fd, line, left, MSG_NOSIGNAL);
		if (n > 0) {
			line += n;
			left -= n;
			continue;
		}
		/* The agent may have answered and closed already: its sentence is the better one.
		 */
		if (errno == EPIPE || errno == ECONNRESET)
			return 0;
		if (errno != EAGAIN && errno != EINTR) {
			*ret_exit = SHUNT_CTL_UNAVAILABLE;
			return shunt_err_set(err, -errno, "writing to the agent: %s",
					     strerror(errno));
		}
		r = wait_for(x, POLLOUT, ret_exit, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int make_room(struct exchange *x, struct shunt_err *err)
{
	size_t size;
	char *buf;

	if (x->size - x->len >= 4096)
		return 0;
	size = x->size ? x->size * 2 : 16384;
	if (size > SHUNT_CTL_MAX_ANSWER)
		return shunt_err_set(err, -EMSGSIZE, "the agent's answer is longer than %d MiB",
				     SHUNT_CTL_MAX_ANSWER >> 20);
	buf = realloc(x->buf, size);
	if (!buf)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	x->buf = buf;
	x->size = size;
	return 0;
}

/* Reads up to the next newline. Return: length of the line, which begins at x->buf. */
static ssize_t receive_line(struct exchange *x, int *ret_exit, struct shunt_err *err)
{
	size_t seen = 0;
	char *newline;
	ssize_t n;
	int r;

	*ret_exit = SHUNT_CTL_UNAVAILABLE;
	for (;;) {
		newline = x->len > seen ? memchr(x->buf + seen, '\n', x->len - seen) : NULL;
		if (newline)
			return newline - x->buf;
		seen = x->len;

		r = make_room(x, err);
		if (r < 0)
			return r;
		r = wait_for(x, POLLIN, ret_exit, err);
		if (r < 0)
			return r;
		n = recv(x->fd, x->buf + x->len, x->size - x->len, 0);
		if (n > 0)
			x->len += n;
		else if (n == 0 || errno == ECONNRESET)
			return shunt_err_set(err, -ECONNRESET,
					     "the agent closed the connection without an answer: "
					     "its log says why");
		else if (errno != EAGAIN && errno != EINTR)
			return shunt_err_set(err, -errno, "reading from the agent: %s",
					     strerror(errno));
	}
}

static void drop_line(struct exchange *x, size_t len)
{
	x->len -= len + 1;
	memmove(x->buf, x->buf + len + 1, x->len);
}

static int ask(struct exchange *x, const char *path, const char *command, json_t *args,
	       int *ret_exit, struct shunt_err *err)
{
	CLEANUP(freep) char *line = NULL;
	int r;

	*ret_exit = SHUNT_CTL_INTERNAL;
	line = shunt_ctl_request_line(command, args);
	if (!line)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	r = exchange_open(x, path, ret_exit, err);
	if (r < 0)
		return r;
	return send_line(x, line, ret_exit, err);
}

int shunt_ctl_call(const char *socket_path, const char *command, json_t *args, int timeout_ms,
		   json_t **ret_result, int *ret_exit, struct shunt_err *err)
{
	CLEANUP(exchange_end)
	struct exchange x = { .fd = -EBADF,
			      .stop_fd = -EBADF,
			      .timeout_ms = timeout_ms,
			      .deadline_ms = now_ms() + timeout_ms };
	ssize_t len;
	int r;

	r = ask(&x, socket_path, command, args, ret_exit, err);
	if (r < 0)
		return r;
	len = receive_line(&x, ret_exit, err);
	if (len < 0)
		return (int)len;
	return shunt_ctl_answer_parse(x.buf, len, ret_result, ret_exit, err);
}

int shunt_ctl_follow(const char *socket_path, const char *command, json_t *args,
		     int (*each)(void *ctx, json_t *result), void *ctx, int stop_fd, int *ret_exit,
		     struct shunt_err *err)
{
	CLEANUP(exchange_end)
	struct exchange x = { .fd = -EBADF, .stop_fd = stop_fd, .deadline_ms = INT64_MAX };
	json_t *result = NULL;
	ssize_t len;
	int r;

	r = ask(&x, socket_path, command, args, ret_exit, err);
	while (r == 0) {
		len = receive_line(&x, ret_exit, err);
		if (len < 0)
			return (int)len;
		r = shunt_ctl_answer_parse(x.buf, len, &result, ret_exit, err);
		if (r < 0)
			return r;
		drop_line(&x, len);
		r = each(ctx, result);
		json_decref(result);
	}
	return r;
}
