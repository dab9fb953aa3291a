/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_BASE_ATOMIC_FILE_H
#define SHUNT_BASE_ATOMIC_FILE_H

#include <stddef.h>

/**
 * shunt_file_replace - give a file new contents, or leave it exactly as it was
 * @path: regular file, made with mode 0600 if missing
 *
 * Writes PATH.tmp, syncs it, renames it over @path and syncs the directory: after a power
 * cut the file holds the old contents or the new ones, never a part.
 *
 * Return: 0, or -errno (then PATH.tmp is gone again).
 */
int shunt_file_replace(const char *path, const void *data, size_t size);

/**
 * shunt_file_set_aside - move a damaged file out of the way, for people to look at
 * @path: becomes PATH.broken; an older one is replaced
 *
 * Return: 0, or -errno.
 */
int shunt_file_set_aside(const char *path);

/* Writes all of @data to @fd. Return: 0, or -errno. */
int shunt_write_all(int fd, const void *data, size_t size);

#endif
