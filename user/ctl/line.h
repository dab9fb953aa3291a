/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_CTL_LINE_H
#define SHUNT_CTL_LINE_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

/* The two kinds of lines of the control protocol; pure, shared by both ends and the fuzzer. */

/**
 * shunt_ctl_request_parse - take a request line apart
 * @line, @len: without the newline; borrowed, any bytes
 * @ret_request: new reference; owns what @ret_command and @ret_args borrow
 * @ret_args: an object, empty if the request has none
 *
 * Return: 0; -EINVAL with @err; -ENOMEM.
 */
int shunt_ctl_request_parse(const char *line, size_t len, json_t **ret_request,
			    const char **ret_command, json_t **ret_args, struct shunt_err *err);

/* Return: "{...}\n", to be freed, or NULL when memory is out. @args may be NULL. */
char *shunt_ctl_request_line(const char *command, json_t *args);

/**
 * shunt_ctl_answer_parse - take an answer line apart
 * @ret_result: new reference to "result" (null if it has none); written on 0 only
 * @ret_exit:   exit code; written always
 *
 * Return: 0; -EREMOTEIO: the agent refused, @err has its sentence; -EBADMSG: not an answer.
 */
int shunt_ctl_answer_parse(const char *line, size_t len, json_t **ret_result, int *ret_exit,
			   struct shunt_err *err);

/* Return: the line of an answer with its newline, to be freed; NULL: memory is out. */
char *shunt_ctl_answer_ok(json_t *result);
char *shunt_ctl_answer_fail(int code, const char *text);

#endif
