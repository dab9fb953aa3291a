// SPDX-License-Identifier: Apache-2.0
#include "model/guard.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/last_good.h"

static const char condition_type[] = "WeightRefused";

/* What the data path makes of a weight. */
static uint32_t effective(uint32_t weight, bool drained)
{
	return drained ? 0 : weight;
}

static uint32_t wanted_weight(const struct shunt_model_variant *variant)
{
	return effective(variant->weight, variant->drained);
}

static uint32_t good_weight(const struct shunt_good_service *good, const char *variant)
{
	const struct shunt_good_variant *found = shunt_good_variant_find(good, variant);

	return found ? effective(found->weight, found->drained) : 0;
}

/* Has endpoints on some port, but none there that takes a connection. */
static bool is_unready(const struct shunt_model_variant *variant, size_t n_ports)
{
	if (variant->group != SHUNT_GROUP_RESOLVED)
		return false;

	for (size_t port = 0; port < n_ports; port++) {
		size_t n = 0, n_usable = 0;

		for (size_t i = 0; i < variant->n_backends; i++) {
			if (variant->backends[i].port_index != port)
				continue;
			n++;
			n_usable += variant->backends[i].usable;
		}
		if (n && !n_usable)
			return true;
	}
	return false;
}

static bool names_service(const char *const *names, size_t n,
			  const struct shunt_model_service *service)
{
	size_t len = strlen(service->namespace_);

	for (size_t i = 0; i < n; i++)
		if (!strncmp(names[i], service->namespace_, len) && names[i][len] == '/' &&
		    !strcmp(names[i] + len + 1, service->name))
			return true;
	return false;
}

/* The weights of a service before and after, and the sums that make them shares. */
struct change {
	const struct shunt_model_service *service;
	const struct shunt_good_service *good;
	uint64_t sum_before; /* over the variants that are still there */
	uint64_t sum_after;
};

static struct change change_of(const struct shunt_model_service *service,
			       const struct shunt_good_service *good)
{
	struct change change = { .service = service, .good = good };

	for (size_t i = 0; i < service->n_variants; i++) {
		change.sum_before += good_weight(good, service->variants[i].name);
		change.sum_after += wanted_weight(&service->variants[i]);
	}
	return change;
}

/*
 * By how much a variant's share rises, in basis points times both sums: exact, and no more
 * than (16 * 10^6)^2 * 10^4 < 2^62. Both sums are > 0.
 */
static int64_t share_rise(const struct change *change, const struct shunt_model_variant *variant)
{
	int64_t before = good_weight(change->good, variant->name);
	int64_t after = wanted_weight(variant);

	return (after * (int64_t)change->sum_before - before * (int64_t)change->sum_after) * 10000;
}

static bool step_too_large(const struct change *change, const struct shunt_model_variant *variant,
			   uint32_t max_step_bp)
{
	int64_t limit = (int64_t)(change->sum_before * change->sum_after);

	if (max_step_bp >= 10000)
		return false;
	return share_rise(change, variant) > limit * max_step_bp;
}

static bool rises(const struct change *change, const struct shunt_model_variant *variant)
{
	return wanted_weight(variant) > good_weight(change->good, variant->name) ||
	       share_rise(change, variant) > 0;
}

static double percent(uint64_t weight, uint64_t sum)
{
	return 100.0 * (double)weight / (double)sum;
}

static enum shunt_guard_verdict refuse(const struct change *change,
				       const struct shunt_model_variant *variant,
				       enum shunt_guard_verdict verdict, uint32_t max_step_bp,
				       struct shunt_err *err)
{
	uint32_t before = good_weight(change->good, variant->name);
	uint32_t after = wanted_weight(variant);
	double share_before = percent(before, change->sum_before);
	double share_after = percent(after, change->sum_after);

	if (verdict == SHUNT_GUARD_NO_READY_ENDPOINTS)
		shunt_err_set(err, 0,
			      "variant %s would go from weight %u (%.4g %%) to %u (%.4g %%), but "
			      "none of its endpoints is ready",
			      variant->name, before, share_before, after, share_after);
	else
		shunt_err_set(err, 0,
			      "the share of variant %s would rise from %.4g %% to %.4g %%, more "
			      "than the maximum step of %.4g %%: go in smaller steps",
			      variant->name, share_before, share_after, max_step_bp / 100.0);
	return verdict;
}

static enum shunt_guard_verdict judge_change(const struct change *change,
					     const struct shunt_guard_opts *opts,
					     struct shunt_err *err)
{
	const struct shunt_model_service *service = change->service;
	bool judge_step =
		opts->max_step_bp && !names_service(opts->any_step, opts->n_any_step, service);

	/* All rejected before, or after: nothing to lose, or an outage that is asked for. */
	if (!change->sum_before || !change->sum_after)
		return SHUNT_GUARD_GOOD;

	for (size_t i = 0; i < service->n_variants; i++) {
		const struct shunt_model_variant *variant = &service->variants[i];

		if (is_unready(variant, service->n_ports) && rises(change, variant))
			return refuse(change, variant, SHUNT_GUARD_NO_READY_ENDPOINTS, 0, err);
	}
	for (size_t i = 0; judge_step && i < service->n_variants; i++) {
		const struct shunt_model_variant *variant = &service->variants[i];

		if (step_too_large(change, variant, opts->max_step_bp))
			return refuse(change, variant, SHUNT_GUARD_STEP_TOO_LARGE,
				      opts->max_step_bp, err);
	}
	return SHUNT_GUARD_GOOD;
}

enum shunt_guard_verdict shunt_guard_judge(const struct shunt_model_service *service,
					   const struct shunt_last_good *good,
					   const struct shunt_guard_opts *opts,
					   struct shunt_err *err)
{
	const struct shunt_good_service *last = shunt_last_good_find(good, service);
	struct change change;

	if (!last || names_service(opts->forced, opts->n_forced, service))
		return SHUNT_GUARD_GOOD;
	change = change_of(service, last);
	return judge_change(&change, opts, err);
}

const char *shunt_guard_reason(enum shunt_guard_verdict verdict)
{
	switch (verdict) {
	case SHUNT_GUARD_NO_READY_ENDPOINTS:
		return "NoReadyEndpoints";
	case SHUNT_GUARD_STEP_TOO_LARGE:
		return "StepTooLarge";
	case SHUNT_GUARD_GOOD:
		break;
	}
	return "";
}

static void restore(struct shunt_model_service *service, const struct shunt_good_service *good)
{
	for (size_t i = 0; i < service->n_variants; i++) {
		struct shunt_model_variant *variant = &service->variants[i];
		const struct shunt_good_variant *last =
			shunt_good_variant_find(good, variant->name);

		variant->weight = last ? last->weight : 0;
		variant->drained = last && last->drained;
	}
}

static void condition_remove(struct shunt_conditions *conditions, const char *type)
{
	for (size_t i = 0; i < conditions->n; i++) {
		struct shunt_condition *item = &conditions->items[i];

		if (strcmp(item->type, type))
			continue;
		free(item->type);
		free(item->status);
		free(item->reason);
		free(item->message);
		memmove(item, item + 1, (--conditions->n - i) * sizeof(*item));
		return;
	}
}

/* Return: 1 if refused, 0 if not, -ENOMEM. */
static int guard_service(struct shunt_model_service *service, const struct shunt_last_good *good,
			 const struct shunt_guard_opts *opts)
{
	struct shunt_err err = { 0 };
	enum shunt_guard_verdict verdict = shunt_guard_judge(service, good, opts, &err);
	int r;

	if (verdict == SHUNT_GUARD_GOOD) {
		condition_remove(&service->conditions, condition_type);
		return 0;
	}
	restore(service, shunt_last_good_find(good, service));
	r = shunt_conditions_set(
		&service->conditions, condition_type, "True", shunt_guard_reason(verdict),
		"%s; the last good weights stay%s; shunt weight --force overrides", err.text,
		verdict == SHUNT_GUARD_NO_READY_ENDPOINTS
			? ", and the change is judged again when endpoints change"
			: "");
	return r < 0 ? r : 1;
}

int shunt_guard_apply(struct shunt_model *model, struct shunt_last_good *good,
		      const struct shunt_guard_opts *opts)
{
	int r, n_refused = 0;

	for (size_t i = 0; i < model->n_services; i++) {
		r = guard_service(&model->services[i], good, opts);
		if (r < 0)
			return r;
		n_refused += r;
	}
	r = shunt_last_good_replace(good, model);
	return r < 0 ? r : n_refused;
}
