/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_KEEP_H
#define SHUNT_DIALECT_KEEP_H

#include "dialect/dialect.h"

/*
 * The last good version of every object. A file that cannot be parsed keeps its last good
 * objects in the source; this does the same for an object that can be parsed and is refused:
 * a fat-fingered weight must not end the split.
 */
struct shunt_keeper;

struct shunt_keeper *shunt_keeper_new(void);	     /* NULL: out of memory */
void shunt_keeper_free(struct shunt_keeper *keeper); /* NULL is fine */

/**
 * shunt_translate_keeping - shunt_translate(), with the last good version of what is refused
 * @keeper: remembers the objects that are good now, for the next call
 *
 * An object that is refused for its own sake (reasons Invalid and UnsupportedValue) and was
 * good in an earlier call stays in force as it was. Its report says what is wrong now, and the
 * services that it splits have the condition ManifestRefused=True. An object that is gone is
 * forgotten.
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_translate_keeping(struct shunt_keeper *keeper, const struct shunt_objects *objects,
			    const struct shunt_translate_opts *opts, struct shunt_model *ret_model);

#endif
