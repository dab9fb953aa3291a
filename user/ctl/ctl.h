/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CTL_CTL_H
#define SHUNT_CTL_CTL_H

#include <jansson.h>

#include "base/err.h"

/*
 * The control protocol between `shunt` and `shuntd` over a unix stream socket: one JSON
 * object a line, compact, both ways. A connection may carry several requests, one after
 * the other.
 *
 *   request   {"command":"weight","args":{...}}
 *   answer    {"ok":true,"result":...}
 *             {"ok":false,"code":"REFUSED","error":"one clear sentence"}
 *
 * `events` with {"follow":true} answers with one {"ok":true,"result":{event}} line per
 * event until the peer closes; `trace` likewise with packets, until one side has enough.
 *
 * A request line is at most SHUNT_CTL_MAX_REQUEST bytes, an answer at most
 * SHUNT_CTL_MAX_ANSWER; longer ones end the connection. docs/control-protocol.md lists
 * commands and arguments.
 */
#define SHUNT_CTL_MAX_REQUEST (1 << 20)
#define SHUNT_CTL_MAX_ANSWER  (256 << 20)

/* Codes of a refused request, and the exit codes of the CLI that they become. */
#define SHUNT_CTL_CODES(X)                                                                         \
	X(USAGE, 2, "the request is malformed")                                                    \
	X(NOT_FOUND, 3, "no such service, variant or backend")                                     \
	X(REFUSED, 4, "a guard refused the change; --force overrides where the text says so")      \
	X(UNAVAILABLE, 5, "the agent does not answer")                                             \
	X(KERNEL, 6, "the kernel refused: rights, bpffs, or a missing feature")                    \
	X(PERMISSION, 7, "the peer may not do this")                                               \
	X(INTERNAL, 8, "an error inside the agent")

enum shunt_ctl_code {
#define SHUNT_CTL_CODE_ENUM(name, exit_code, text) SHUNT_CTL_##name = exit_code,
	SHUNT_CTL_CODES(SHUNT_CTL_CODE_ENUM)
#undef SHUNT_CTL_CODE_ENUM
};

/* Exit codes of the CLI besides these: 0 done, 1 findings (`check`, `doctor`, `explain`). */
#define SHUNT_EXIT_FINDINGS 1

#define SHUNT_CTL_SOCKET "/run/shunt/shunt.sock"

/* "REFUSED"; "INTERNAL" for a number that is none. */
const char *shunt_ctl_code_name(enum shunt_ctl_code code);

/* The code of a name, or 0. */
int shunt_ctl_code_parse(const char *name);

/* "a guard refused the change; ..."; "" for a number that is none. */
const char *shunt_ctl_code_text(int code);

/**
 * shunt_ctl_call - send one request, wait for one answer
 * @socket_path: of the agent
 * @command:     name
 * @args:        borrowed; may be NULL
 * @timeout_ms:  for the whole exchange
 * @ret_result:  new reference to "result"; written on 0 only
 * @ret_exit:    exit code for the CLI; written always
 * @err:         the agent's sentence or our own
 *
 * Return: 0 or -errno.
 */
int shunt_ctl_call(const char *socket_path, const char *command, json_t *args, int timeout_ms,
		   json_t **ret_result, int *ret_exit, struct shunt_err *err);

/**
 * shunt_ctl_follow - send one request, hand over every answer until the agent closes
 * @each: called with "result", borrowed; returns 0 to go on, another value to stop
 * @stop_fd: when it is readable, the agent is told that no more is wanted, and what it still
 *	     sends is handed over; negative: none
 *
 * Waits for as long as the agent lives. Arguments and errors as shunt_ctl_call().
 *
 * Return: what @each returned, or -errno; -ECONNRESET: the agent went away.
 */
int shunt_ctl_follow(const char *socket_path, const char *command, json_t *args,
		     int (*each)(void *ctx, json_t *result), void *ctx, int stop_fd, int *ret_exit,
		     struct shunt_err *err);

#endif
