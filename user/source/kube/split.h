/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_SOURCE_KUBE_SPLIT_H
#define SHUNT_SOURCE_KUBE_SPLIT_H

#include <stddef.h>

#include "base/err.h"

/*
 * Cuts what an API server answers into objects while it arrives, so that a list of 50 MiB is
 * never held whole. Only brackets and strings are understood: whether a text is JSON is for
 * whoever parses it.
 */
struct shunt_split;

enum shunt_split_form {
	SHUNT_SPLIT_WATCH, /* one object behind the other, with white space between */
	SHUNT_SPLIT_LIST,  /* one object with the array "items" of objects */
};

/* One object: NUL-terminated behind @len bytes, borrowed. A negative return ends the feed. */
typedef int (*shunt_split_fn)(void *context, const char *text, size_t len);

/**
 * shunt_split_open - start on one answer
 * @max: bytes of one object, and of a list without its items
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_split_open(enum shunt_split_form form, size_t max, shunt_split_fn fn, void *context,
		     struct shunt_split **ret_split);
void shunt_split_close(struct shunt_split *split); /* NULL is fine */

/*
 * The next bytes, cut anywhere. Return: 0, -EINVAL, -EFBIG, -ENOMEM, or what the callback
 * returned; after an error the split can only be closed.
 */
int shunt_split_feed(struct shunt_split *split, const char *bytes, size_t len,
		     struct shunt_err *err);

/* The answer is at its end. Return: 0, or -EPIPE if something is missing. */
int shunt_split_finish(const struct shunt_split *split, struct shunt_err *err);

/* The list with its items taken out, borrowed: to be asked for when it is finished. */
const char *shunt_split_envelope(const struct shunt_split *split, size_t *ret_len);

#endif
