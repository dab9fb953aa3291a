// SPDX-License-Identifier: Apache-2.0
#include "dialect/keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "dialect/report.h"
#include "model/policy.h"

struct shunt_keeper {
	struct shunt_objects good; /* sorted by shunt_object_compare_id() */
};

/* An object that was refused in the first pass, and what stands in for it in the second. */
struct substitute {
	const struct shunt_object *refused;
	size_t report;		   /* of the refusal, in the first model */
	struct shunt_object *good; /* NULL: there is none */
	bool is_same;		   /* as the refused one: others have changed, it has not */
};

struct shunt_keeper *shunt_keeper_new(void)
{
	return calloc(1, sizeof(struct shunt_keeper));
}

void shunt_keeper_free(struct shunt_keeper *keeper)
{
	if (!keeper)
		return;
	shunt_objects_free(&keeper->good);
	free(keeper);
}

static int compare_ids(const void *a, const void *b)
{
	return shunt_object_compare_id(*(struct shunt_object *const *)a,
				       *(struct shunt_object *const *)b);
}

static struct shunt_object *find_good(const struct shunt_keeper *keeper,
				      const struct shunt_object *object)
{
	struct shunt_object **found = NULL;

	if (keeper->good.n)
		found = bsearch(&object, keeper->good.items, keeper->good.n, sizeof(object),
				compare_ids);
	return found ? *found : NULL;
}

/* Is this object refused for its own sake, so that an earlier version may be better? */
static bool is_refused(const struct shunt_object_report *report)
{
	const struct shunt_condition *accepted =
		shunt_conditions_get(&report->conditions, "Accepted");

	return accepted && !strcmp(accepted->status, "False") &&
	       (!strcmp(accepted->reason, "Invalid") ||
		!strcmp(accepted->reason, "UnsupportedValue"));
}

static bool is_about(const struct shunt_object_ref *ref, const struct shunt_object *object)
{
	return ref->line == object->line && !strcmp(ref->name, object->name) &&
	       !strcmp(ref->kind, object->kind) && !strcmp(ref->namespace_, object->namespace_) &&
	       !strcmp(ref->file, object->file);
}

/*
 * Fills @substitutes (room for all reports). Return: how many have a good version that is not
 * what is refused now.
 */
static size_t find_substitutes(const struct shunt_keeper *keeper,
			       const struct shunt_objects *objects, const struct shunt_model *model,
			       struct substitute *substitutes, size_t *ret_n)
{
	size_t n = 0, n_good = 0;

	for (size_t r = 0; r < model->n_reports; r++) {
		if (!is_refused(&model->reports[r]))
			continue;
		for (size_t i = 0; i < objects->n; i++) {
			struct shunt_object *object = objects->items[i];

			if (!is_about(&model->reports[r].ref, object))
				continue;
			substitutes[n].refused = object;
			substitutes[n].report = r;
			substitutes[n].good = find_good(keeper, object);
			substitutes[n].is_same =
				substitutes[n].good &&
				json_equal(substitutes[n].good->json, object->json);
			n_good += substitutes[n].good && !substitutes[n].is_same;
			n++;
			break;
		}
	}
	*ret_n = n;
	return n_good;
}

static const struct substitute *find_substitute(const struct substitute *substitutes, size_t n,
						const struct shunt_object *object)
{
	for (size_t i = 0; i < n; i++)
		if (substitutes[i].refused == object)
			return &substitutes[i];
	return NULL;
}

/* Borrows all objects, the good versions in place of the refused ones. */
static int substitute_all(const struct shunt_objects *objects, const struct substitute *substitutes,
			  size_t n, struct shunt_objects *ret_mixed)
{
	struct shunt_objects mixed = { .n = objects->n };

	mixed.items = calloc(objects->n, sizeof(*mixed.items));
	if (!mixed.items)
		return -ENOMEM;
	for (size_t i = 0; i < objects->n; i++) {
		const struct substitute *substitute =
			find_substitute(substitutes, n, objects->items[i]);

		mixed.items[i] = substitute && substitute->good && !substitute->is_same
					 ? substitute->good
					 : objects->items[i];
	}
	shunt_objects_sort(&mixed);
	*ret_mixed = mixed;
	return 0;
}

/* Shares of what is good now, and the good versions of what is not, become the keeper's. */
static int remember(struct shunt_keeper *keeper, const struct shunt_objects *objects,
		    const struct substitute *substitutes, size_t n)
{
	struct shunt_objects good = { 0 };

	good.items = calloc(objects->n + 1, sizeof(*good.items));
	if (!good.items)
		return -ENOMEM;
	for (size_t i = 0; i < objects->n; i++) {
		const struct substitute *substitute =
			find_substitute(substitutes, n, objects->items[i]);
		const struct shunt_object *from = substitute ? substitute->good : objects->items[i];

		if (!from)
			continue;
		good.items[good.n] = shunt_object_share(from);
		if (!good.items[good.n]) {
			shunt_objects_free(&good);
			return -ENOMEM;
		}
		good.n++;
	}
	shunt_objects_sort_ids(&good);
	shunt_objects_free(&keeper->good);
	keeper->good = good;
	return 0;
}

/* Does the policy of @service have a part that @object asks for? */
static bool has_part_of(const struct shunt_model_service *service,
			const struct shunt_object *object)
{
	for (size_t i = 0; service->policy && i < service->policy->n_origins; i++)
		if (is_about(&service->policy->origins[i], object))
			return true;
	return false;
}

/*
 * Does @service follow @object: as the one that splits it, as the Service that is split, or by
 * its policy?
 */
static bool follows(const struct shunt_model_service *service, const struct shunt_object *object)
{
	return has_part_of(service, object) || is_about(&service->source, object) ||
	       (!strcmp(object->kind, "Service") && !strcmp(service->name, object->name) &&
		!strcmp(service->namespace_, object->namespace_));
}

/* Puts the refusal @was into the report of the good version, and into the services it splits. */
static int tell(struct shunt_model *model, const struct shunt_object *good,
		const struct shunt_condition *was)
{
	for (size_t i = 0; i < model->n_reports; i++)
		if (is_about(&model->reports[i].ref, good) &&
		    shunt_conditions_set(&model->reports[i].conditions, "Accepted", "False",
					 was->reason, "%s; what it asked before stays in force",
					 was->message) < 0)
			return -ENOMEM;
	for (size_t i = 0; i < model->n_services; i++)
		if (follows(&model->services[i], good) &&
		    shunt_conditions_set(&model->services[i].conditions, "ManifestRefused", "True",
					 was->reason, "%s; what it asked before stays in force",
					 was->message) < 0)
			return -ENOMEM;
	return 0;
}

/* A good version that nothing reports on (a Service, a slice) gets a report. */
static int ensure_report(struct shunt_model *model, const struct shunt_object *good)
{
	struct shunt_object_report *report;

	for (size_t i = 0; i < model->n_reports; i++)
		if (is_about(&model->reports[i].ref, good))
			return 0;
	report = shunt_array_add(&model->reports, &model->n_reports, sizeof(*report));
	return report ? shunt_report_ref(good, &report->ref) : -ENOMEM;
}

static int translate_again(const struct shunt_objects *objects,
			   const struct shunt_translate_opts *opts,
			   const struct substitute *substitutes, size_t n,
			   const struct shunt_model *first, struct shunt_model *ret_model)
{
	struct shunt_objects mixed;
	int r = substitute_all(objects, substitutes, n, &mixed);

	if (r < 0)
		return r;
	r = shunt_translate(&mixed, opts, ret_model);
	free(mixed.items);
	for (size_t i = 0; i < n && !r; i++) {
		const struct shunt_object *good = substitutes[i].good;
		const struct shunt_conditions *was =
			&first->reports[substitutes[i].report].conditions;

		if (!good || substitutes[i].is_same)
			continue;
		r = ensure_report(ret_model, good);
		if (!r)
			r = tell(ret_model, good, shunt_conditions_get(was, "Accepted"));
	}
	return r;
}

int shunt_translate_keeping(struct shunt_keeper *keeper, const struct shunt_objects *objects,
			    const struct shunt_translate_opts *opts, struct shunt_model *ret_model)
{
	CLEANUP(freep) struct substitute *substitutes = NULL;
	struct shunt_model model = { 0 }, again = { 0 };
	size_t n, n_good;
	int r;

	r = shunt_translate(objects, opts, &model);
	if (r < 0)
		return r;
	substitutes = calloc(model.n_reports + 1, sizeof(*substitutes));
	if (!substitutes) {
		shunt_model_free(&model);
		return -ENOMEM;
	}
	n_good = find_substitutes(keeper, objects, &model, substitutes, &n);
	if (n_good) {
		r = translate_again(objects, opts, substitutes, n, &model, &again);
		shunt_model_free(&model);
		model = again;
	}
	if (!r)
		r = remember(keeper, objects, substitutes, n);
	if (r < 0)
		shunt_model_free(&model);
	else
		*ret_model = model;
	return r;
}
