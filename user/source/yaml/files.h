/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_SOURCE_YAML_FILES_H
#define SHUNT_SOURCE_YAML_FILES_H

#include <stddef.h>
#include <sys/stat.h>

#include "base/err.h"

/* What a walk calls; a negative return ends the walk and is its result. */
struct shunt_walk_ops {
	/* Before the entries of the directory are read. May be NULL. */
	int (*directory)(void *context, const char *path);
	int (*file)(void *context, const char *path, const struct stat *st);
};

/**
 * shunt_files_walk - every *.yaml, *.yml and *.json at or below @path
 * @path: a directory, or one file with any name
 *
 * In the order of the names. Hidden entries are skipped, symbolic links followed (but not in
 * circles), at most 16 levels deep. What vanishes during the walk is skipped.
 *
 * Return: 0, or -errno with @err filled; what a callback returned.
 */
int shunt_files_walk(const char *path, const struct shunt_walk_ops *ops, void *context,
		     struct shunt_err *err);

/* Would the walk of its directory visit a regular file of this name? */
int shunt_files_is_manifest(const char *name);

/**
 * shunt_file_read - a whole regular file
 * @max:      bytes; a larger file is -EFBIG
 * @ret_text: owned by the caller, NUL-terminated behind *@ret_len bytes
 *
 * Return: 0, or -errno with @err naming the file.
 */
int shunt_file_read(const char *path, size_t max, char **ret_text, size_t *ret_len,
		    struct shunt_err *err);

/* shunt_err_set() with the file's name. Return: @code. */
int shunt_file_err(struct shunt_err *err, int code, const char *path, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

#endif
