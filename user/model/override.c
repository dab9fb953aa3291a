// SPDX-License-Identifier: Apache-2.0
#include "model/override.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/atomic_file.h"
#include "base/cleanup.h"
#include "model/override_state.h"

static void overrides_freep(struct shunt_overrides **overrides)
{
	shunt_overrides_close(*overrides);
}

/* ---- the file ------------------------------------------------------------------------- */

static int load(struct shunt_overrides *overrides, struct shunt_err *err)
{
	json_error_t error;
	json_t *json;
	int r;

	if (access(overrides->overrides_path, F_OK) < 0)
		return errno == ENOENT ? 0 : -errno;
	json = json_load_file(overrides->overrides_path, JSON_REJECT_DUPLICATES, &error);
	r = json ? shunt_records_from_json(overrides, json) : -EINVAL;
	json_decref(json);
	if (r != -EINVAL)
		return r;

	for (size_t i = 0; i < overrides->n_records; i++)
		shunt_record_free(&overrides->records[i]);
	overrides->n_records = 0;
	r = shunt_file_set_aside(overrides->overrides_path);
	if (r < 0)
		return shunt_err_set(err, r, "%s is damaged and cannot be moved aside: %s",
				     overrides->overrides_path, strerror(-r));
	return shunt_err_set(err, 1,
			     "%s is damaged: moved aside as %s.broken, no override is in force",
			     overrides->overrides_path, overrides->overrides_path);
}

/* Return: 0 or -errno. */
static int write_overrides(struct shunt_overrides *overrides)
{
	CLEANUP(freep) char *text = NULL;
	json_t *json;
	int r;

	if (!overrides->overrides_path)
		return 0;
	json = shunt_records_to_json(overrides);
	text = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
	json_decref(json);
	r = text ? shunt_file_replace(overrides->overrides_path, text, strlen(text)) : -ENOMEM;
	overrides->overrides_unsaved = r < 0;
	return r;
}

int shunt_overrides_save(struct shunt_overrides *overrides, struct shunt_err *err)
{
	int r = write_overrides(overrides);

	if (!r)
		return 0;
	return shunt_err_set(err, 1,
			     "in force, but will not survive a restart: cannot write %s: %s",
			     overrides->overrides_path, strerror(-r));
}

static int open_state_dir(struct shunt_overrides *overrides, const char *state_dir,
			  struct shunt_err *err)
{
	struct shunt_err history_err = { 0 };
	int r, history_r;

	if (mkdir(state_dir, 0700) < 0 && errno != EEXIST)
		return shunt_err_set(err, -errno, "cannot make the state directory %s: %s",
				     state_dir, strerror(errno));
	if (asprintf(&overrides->overrides_path, "%s/overrides.json", state_dir) < 0) {
		overrides->overrides_path = NULL;
		return -ENOMEM;
	}
	if (asprintf(&overrides->history_path, "%s/history.jsonl", state_dir) < 0) {
		overrides->history_path = NULL;
		return -ENOMEM;
	}
	r = load(overrides, err);
	if (r < 0)
		return r;
	history_r = shunt_history_load(overrides, &history_err);
	if (history_r == 1 && r == 1)
		return shunt_err_set(err, 1,
				     "%s.broken and %s.broken: both were damaged and are "
				     "moved aside",
				     overrides->overrides_path, overrides->history_path);
	if (history_r && err)
		*err = history_err;
	return history_r ? history_r : r;
}

int shunt_overrides_open(const char *state_dir, struct shunt_overrides **ret_overrides,
			 struct shunt_err *err)
{
	CLEANUP(overrides_freep) struct shunt_overrides *overrides = NULL;
	int r = 0;

	overrides = calloc(1, sizeof(*overrides));
	if (!overrides)
		return -ENOMEM;
	if (state_dir)
		r = open_state_dir(overrides, state_dir, err);
	if (r < 0)
		return r;
	*ret_overrides = TAKE_PTR(overrides);
	return r;
}

void shunt_overrides_close(struct shunt_overrides *overrides)
{
	if (!overrides)
		return;
	/* A last try for what did not fit; who cares has been told when it failed. */
	if (overrides->overrides_unsaved)
		write_overrides(overrides);
	if (overrides->history_unsaved)
		shunt_history_compact(overrides);
	for (size_t i = 0; i < overrides->n_records; i++)
		shunt_record_free(&overrides->records[i]);
	free(overrides->records);
	free(overrides->overrides_path);
	free(overrides->history_path);
	free(overrides);
}

/* ---- overrides ------------------------------------------------------------------------ */

static const struct shunt_weight *weight_find(const struct shunt_weight *weights, size_t n,
					      const char *variant)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(weights[i].variant, variant))
			return &weights[i];
	return NULL;
}

int shunt_overrides_check(const struct shunt_model_service *service,
			  const struct shunt_weight *weights, size_t n, struct shunt_err *err)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++) {
		if (!shunt_model_variant_find(service, weights[i].variant))
			return shunt_err_set(err, -ENOENT, "service %s/%s has no variant %s",
					     service->namespace_, service->name,
					     weights[i].variant);
		if (weights[i].weight > SHUNT_MAX_WEIGHT)
			return shunt_err_set(err, -ERANGE, "weight %u of variant %s is above %u",
					     weights[i].weight, weights[i].variant,
					     SHUNT_MAX_WEIGHT);
		if (weight_find(weights, i, weights[i].variant))
			return shunt_err_set(err, -EINVAL, "variant %s is named twice",
					     weights[i].variant);
	}
	for (size_t i = 0; i < service->n_variants; i++) {
		const struct shunt_model_variant *variant = &service->variants[i];
		const struct shunt_weight *named = weight_find(weights, n, variant->name);

		if (named)
			sum += named->weight;
		else if (!variant->drained)
			sum += variant->weight;
	}
	if (!sum)
		return shunt_err_set(err, -EINVAL,
				     "no variant of %s/%s would get connections: all would be "
				     "rejected",
				     service->namespace_, service->name);
	return 0;
}

void shunt_record_end_drain(struct shunt_record *record, size_t i)
{
	memmove(&record->drains[i], &record->drains[i + 1],
		(--record->n_drains - i) * sizeof(*record->drains));
}

/* A backend's drain is about a pod, not about weights: it stays. */
bool shunt_record_end_outdated(struct shunt_record *record, uint64_t digest)
{
	bool ended = false;

	if (record->digest == digest)
		return false;
	record->digest = digest;
	if (record->override) {
		shunt_change_free(TAKE_PTR(record->override));
		ended = true;
	}
	for (size_t i = record->n_drains; i-- > 0;)
		if (!record->drains[i].is_backend) {
			shunt_record_end_drain(record, i);
			ended = true;
		}
	return ended;
}

/* The weights of @service before (as they are) and after (with @weights in their place). */
static int fill_weights(struct shunt_change *change, const struct shunt_model_service *service,
			const struct shunt_weight *weights, size_t n)
{
	change->from = calloc(service->n_variants + 1, sizeof(*change->from));
	change->to = calloc(service->n_variants + 1, sizeof(*change->to));
	if (!change->from || !change->to)
		return -ENOMEM;
	for (size_t i = 0; i < service->n_variants; i++) {
		const struct shunt_model_variant *variant = &service->variants[i];
		const struct shunt_weight *named = weight_find(weights, n, variant->name);

		snprintf(change->from[i].variant, sizeof(change->from[i].variant), "%s",
			 variant->name);
		change->from[i].weight = variant->drained ? 0 : variant->weight;
		change->to[i] = change->from[i];
		change->to[i].weight = named ? named->weight : variant->weight;
	}
	change->n_from = change->n_to = service->n_variants;
	return 0;
}

int shunt_overrides_set(struct shunt_overrides *overrides,
			const struct shunt_model_service *service,
			const struct shunt_weight *weights, size_t n,
			const struct shunt_cause *cause, struct shunt_err *err)
{
	struct shunt_change *change;
	struct shunt_record *record;
	int r = shunt_overrides_check(service, weights, n, err);

	if (r < 0)
		return r;
	change = shunt_change_new(cause, cause->when_ms);
	if (!change || fill_weights(change, service, weights, n) < 0 ||
	    shunt_record_claim(overrides, service, true, &record) < 0) {
		shunt_change_free(change);
		return -ENOMEM;
	}
	shunt_record_end_outdated(record, service->source.digest);
	shunt_change_free(record->override);
	record->override = change;
	for (size_t i = record->n_drains; i-- > 0;) {
		const struct shunt_weight *named =
			weight_find(weights, n, record->drains[i].target);

		if (named && named->weight && !record->drains[i].is_backend)
			shunt_record_end_drain(record, i);
	}
	return shunt_overrides_save(overrides, err);
}

int shunt_overrides_clear(struct shunt_overrides *overrides,
			  const struct shunt_model_service *service, struct shunt_err *err)
{
	struct shunt_record *record = shunt_record_find(overrides, service);

	if (!record || (!record->override && !record->n_drains))
		return shunt_err_set(err, -ENOENT, "service %s/%s has no override",
				     service->namespace_, service->name);
	shunt_change_free(TAKE_PTR(record->override));
	record->n_drains = 0;
	return shunt_overrides_save(overrides, err);
}

const struct shunt_change *shunt_overrides_get(const struct shunt_overrides *overrides,
					       const struct shunt_model_service *service)
{
	const struct shunt_record *record = shunt_record_find(overrides, service);

	return record && record->digest == service->source.digest ? record->override : NULL;
}

/* ---- into the model ------------------------------------------------------------------- */

static void apply_weights(const struct shunt_change *change, struct shunt_model_service *service)
{
	for (size_t i = 0; i < change->n_to; i++) {
		struct shunt_model_variant *variant =
			shunt_model_variant_find(service, change->to[i].variant);

		if (variant)
			variant->weight = change->to[i].weight;
	}
}

/* Return: whether something of @record has ended. */
static bool apply_record(struct shunt_record *record, struct shunt_model_service *service)
{
	bool ended = shunt_record_end_outdated(record, service->source.digest);

	if (record->override)
		apply_weights(record->override, service);
	for (size_t i = record->n_drains; i-- > 0;)
		if (!shunt_drain_apply(&record->drains[i], service)) {
			shunt_record_end_drain(record, i);
			ended = true;
		}
	return ended;
}

int shunt_overrides_apply(struct shunt_overrides *overrides, struct shunt_model *model,
			  struct shunt_err *err)
{
	bool ended = false;

	for (size_t i = 0; i < model->n_services; i++) {
		struct shunt_record *record;
		int r = shunt_record_claim(overrides, &model->services[i], false, &record);

		if (r < 0)
			return r;
		if (r)
			ended |= apply_record(record, &model->services[i]);
	}
	return ended ? shunt_overrides_save(overrides, err) : 0;
}
