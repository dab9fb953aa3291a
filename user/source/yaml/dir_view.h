/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_SOURCE_YAML_DIR_VIEW_H
#define SHUNT_SOURCE_YAML_DIR_VIEW_H

#include "source/yaml/yaml.h"

/* What a watched directory shows: the objects of all files as one set, and the problems. */
struct shunt_dir_view {
	struct shunt_objects objects; /* items are the files' */
	struct shunt_dir_problem *problems;
	size_t n_problems;
};

/*
 * Adds one file's objects (borrowed) and its problem, if @problem is not NULL. Return: 0 or
 * -ENOMEM.
 */
int shunt_dir_view_add(struct shunt_dir_view *view, const struct shunt_objects *objects,
		       const struct shunt_err *problem);

/**
 * shunt_dir_view_finish - when all files are added
 * @before: the view so far: problems that it has are not new
 *
 * Of an object in two files the second, by file name, is taken out with a problem. Sorts.
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_dir_view_finish(struct shunt_dir_view *view, const struct shunt_dir_view *before);

void shunt_dir_view_clear(struct shunt_dir_view *view);

#endif
