// SPDX-License-Identifier: Apache-2.0
#include "ctl/listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

static int make_directory(const char *path, struct shunt_err *err)
{
	char dir[sizeof(((struct sockaddr_un *)0)->sun_path)];
	char *slash;

	strcpy(dir, path);
	slash = strrchr(dir, '/');
	if (!slash || slash == dir)
		return 0;
	*slash = '\0';
	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return shunt_err_set(err, -errno, "cannot make %s for the control socket: %s", dir,
				     strerror(errno));
	return 0;
}

/* Removes the socket of a dead agent; anything else that is there stays. */
static int clear_stale(const struct sockaddr_un *addr, struct shunt_err *err)
{
	CLEANUP(fd_closep) int fd = -EBADF;
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0
				       : shunt_err_set(err, -errno, "%s: %s", addr->sun_path,
						       strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return shunt_err_set(err, -EADDRINUSE,
				     "%s is not a socket: remove it or choose another --socket",
				     addr->sun_path);

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return shunt_err_set(err, -errno, "control socket: %s", strerror(errno));
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
		return shunt_err_set(err, -EADDRINUSE,
				     "another agent answers on %s: stop it, or give this one its "
				     "own --socket, --bpffs and --state-dir",
				     addr->sun_path);
	if (errno != ECONNREFUSED)
		return shunt_err_set(err, -errno, "%s: %s", addr->sun_path, strerror(errno));
	if (unlink(addr->sun_path) < 0 && errno != ENOENT)
		return shunt_err_set(err, -errno, "cannot remove the old socket %s: %s",
				     addr->sun_path, strerror(errno));
	return 0;
}

int shunt_ctl_listen(const char *path, struct shunt_ctl_socket *ret_socket, struct shunt_err *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	CLEANUP(fd_closep) int fd = -EBADF;
	struct stat st;
	int r;

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		return shunt_err_set(err, -ENAMETOOLONG, "--socket: a path has 1 to %zu bytes",
				     sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	r = make_directory(path, err);
	if (r == 0)
		r = clear_stale(&addr, err);
	if (r < 0)
		return r;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A socket's file is born with the socket's own mode: at no time is it open to others. */
	if (fd < 0 || fchmod(fd, 0600) < 0 ||
	    bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || lstat(path, &st) < 0)
		return shunt_err_set(err, -errno, "cannot listen on %s: %s", path, strerror(errno));

	*ret_socket = (struct shunt_ctl_socket){ .dev = st.st_dev, .ino = st.st_ino };
	strcpy(ret_socket->path, path);
	ret_socket->fd = TAKE_FD(fd);
	return 0;
}

void shunt_ctl_unlink(const struct shunt_ctl_socket *bound)
{
	struct stat st;

	if (lstat(bound->path, &st) == 0 && st.st_dev == bound->dev && st.st_ino == bound->ino)
		unlink(bound->path);
}
