/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CTL_LISTEN_H
#define SHUNT_CTL_LISTEN_H

#include <sys/types.h>

#include "base/err.h"

/* A bound unix socket and how to know its file again. */
struct shunt_ctl_socket {
	int fd;
	char path[108];
	dev_t dev;
	ino_t ino;
};

/**
 * shunt_ctl_listen - bind a unix stream socket of mode 0600
 * @path: its directory is made (0700) if missing; a dead agent's socket is replaced
 * @ret_socket: written on 0 only; fd is the caller's
 *
 * Return: 0; -EADDRINUSE: somebody answers there, or what is there is no socket; -errno.
 */
int shunt_ctl_listen(const char *path, struct shunt_ctl_socket *ret_socket, struct shunt_err *err);

/* Removes the socket's file if it is still the one that was bound. */
void shunt_ctl_unlink(const struct shunt_ctl_socket *socket);

#endif
