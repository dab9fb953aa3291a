// SPDX-License-Identifier: Apache-2.0
#include "source/yaml/dir_view.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"

static int add_problem(struct shunt_dir_view *view, const struct shunt_err *err)
{
	struct shunt_dir_problem *problem;

	problem = shunt_array_add(&view->problems, &view->n_problems, sizeof(*problem));
	if (!problem)
		return -ENOMEM;
	problem->err = *err;
	return 0;
}

int shunt_dir_view_add(struct shunt_dir_view *view, const struct shunt_objects *objects,
		       const struct shunt_err *problem)
{
	for (size_t i = 0; i < objects->n; i++) {
		struct shunt_object **slot;

		slot = shunt_array_add(&view->objects.items, &view->objects.n, sizeof(*slot));
		if (!slot)
			return -ENOMEM;
		*slot = objects->items[i];
	}
	return problem ? add_problem(view, problem) : 0;
}

/* Takes out the second of two equal objects, by file and line, with a problem each. */
static int drop_duplicates(struct shunt_dir_view *view)
{
	struct shunt_objects *objects = &view->objects;
	size_t kept = 0;

	shunt_objects_sort_ids(objects);
	for (size_t i = 0; i < objects->n; i++) {
		const struct shunt_object *first = kept ? objects->items[kept - 1] : NULL;
		struct shunt_object *second = objects->items[i];
		struct shunt_err err;

		if (!first || !second->name[0] || shunt_object_compare_id(first, second)) {
			objects->items[kept++] = second;
			continue;
		}
		shunt_object_err(&err, -EEXIST, second, second->json, "",
				 "%s %s/%s is already in %s line %u, which stays in force",
				 second->kind, second->namespace_, second->name, first->file,
				 first->line);
		if (add_problem(view, &err) < 0)
			return -ENOMEM;
	}
	objects->n = kept;
	return 0;
}

static bool has_problem(const struct shunt_dir_view *view, const struct shunt_err *err)
{
	for (size_t i = 0; i < view->n_problems; i++) {
		const struct shunt_err *other = &view->problems[i].err;

		if (!strcmp(other->file, err->file) && other->line == err->line &&
		    !strcmp(other->text, err->text))
			return true;
	}
	return false;
}

int shunt_dir_view_finish(struct shunt_dir_view *view, const struct shunt_dir_view *before)
{
	if (drop_duplicates(view) < 0)
		return -ENOMEM;
	shunt_objects_sort(&view->objects);
	for (size_t i = 0; i < view->n_problems; i++)
		view->problems[i].is_new = !has_problem(before, &view->problems[i].err);
	return 0;
}

void shunt_dir_view_clear(struct shunt_dir_view *view)
{
	free(view->objects.items);
	free(view->problems);
	*view = (struct shunt_dir_view){ 0 };
}
