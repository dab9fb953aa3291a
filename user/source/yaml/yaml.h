/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_SOURCE_YAML_YAML_H
#define SHUNT_SOURCE_YAML_YAML_H

#include <stdbool.h>

#include "source/object.h"

#define SHUNT_YAML_MAX_BYTES (16 << 20) /* of one file */
#define SHUNT_YAML_MAX_DEPTH 64
#define SHUNT_YAML_MAX_NODES 4000000 /* of one file, aliases expanded */

/**
 * shunt_yaml_parse - the objects of one YAML text
 * @file: its name, for messages
 * @text, @len: borrowed
 * @ret_objects: appended to, on 0 only
 *
 * Several documents; empty ones are skipped; `kind: List` is unfolded. Scalars are typed as
 * Kubernetes does (YAML 1.2 core: true/false, null, integers, floats; the rest strings).
 * Duplicate keys, anchors that nest without end and files that are too large are errors with
 * line and column. Documents that are no mapping, without a kind, or with names of a wrong type
 * are not: whoever uses an object asks shunt_object_check_names() first.
 *
 * Return: 0, -EINVAL, -EFBIG, -ENOMEM.
 */
int shunt_yaml_parse(const char *file, const char *text, size_t len,
		     struct shunt_objects *ret_objects, struct shunt_err *err);

/*
 * Loads one file, or every *.yaml, *.yml and *.json below a directory (not hidden). Stops at
 * the first problem. Return: 0 or -errno, with @err filled.
 */
int shunt_yaml_load(const char *path, struct shunt_objects *ret_objects, struct shunt_err *err);

/* ---- a directory that is watched: --source DIR ---------------------------------------- */

struct shunt_dir;

/* One problem with one file; its last good objects stay in force. */
struct shunt_dir_problem {
	struct shunt_err err;
	bool is_new; /* not reported by the refresh before: worth a log line */
};

/* Reads nothing yet: call shunt_dir_refresh(). Return: 0 or -errno, with @err filled. */
int shunt_dir_open(const char *path, struct shunt_dir **ret_dir, struct shunt_err *err);
void shunt_dir_close(struct shunt_dir *dir);

/*
 * Return: a descriptor to poll that becomes readable when a refresh may find something: a
 * change, the end of a waiting time, or a retry while the directory is gone; borrowed.
 */
int shunt_dir_fd(const struct shunt_dir *dir);

/**
 * shunt_dir_refresh - read what changed since the last call
 * @ret_changed: true if the objects differ from before
 *
 * Drains the descriptor. Editors' rename tricks, ConfigMap symlink swaps (..data) and
 * subdirectories are followed. A broken file keeps its last good objects, also when only the
 * names of one object are broken, for that may be the one that was there before; the same object
 * (group, kind, namespace, name) in two files is a problem of the later file, by name. A file
 * that is being written is read when it is closed, or a second after the last write; one
 * that vanished is dropped after 100 ms, for it may be about to be replaced.
 *
 * Return: 0 or -errno (the directory itself is gone: objects stay, call again).
 */
int shunt_dir_refresh(struct shunt_dir *dir, bool *ret_changed, struct shunt_err *err);

/* Borrowed, until the next refresh. */
const struct shunt_objects *shunt_dir_objects(const struct shunt_dir *dir);
const struct shunt_dir_problem *shunt_dir_problems(const struct shunt_dir *dir, size_t *ret_n);

#endif
