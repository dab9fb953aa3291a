/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_MODEL_GUARD_H
#define SHUNT_MODEL_GUARD_H

#include <jansson.h>

#include "base/err.h"
#include "model/model.h"

/*
 * The guard stands between what is asked and what is installed. It compares the desired
 * weights with the last good ones and refuses a change that would hurt.
 */
struct shunt_guard_opts {
	uint32_t max_step_bp; /* largest rise of one variant's share at once, basis points of the
			       * service's total; 0: off (default) */
	const char *const *forced; /* "namespace/name" whose next change is not judged: for one
				    * call, the caller passes them once */
	size_t n_forced;
	const char *const *any_step; /* "namespace/name" whose next change may be of any size but
				      * is judged otherwise: rollback must not be slow */
	size_t n_any_step;
};

/* The weights in force of every service, by name and ports; survives restarts (state directory). */
struct shunt_last_good;

enum shunt_guard_verdict {
	SHUNT_GUARD_GOOD,
	SHUNT_GUARD_NO_READY_ENDPOINTS,
	SHUNT_GUARD_STEP_TOO_LARGE,
};

struct shunt_last_good *shunt_last_good_new(void);
void shunt_last_good_free(struct shunt_last_good *good); /* NULL is fine */

/* The reason of a condition, "NoReadyEndpoints"; "" for SHUNT_GUARD_GOOD. */
const char *shunt_guard_reason(enum shunt_guard_verdict verdict);

/**
 * shunt_guard_judge - would the weights that @service has now be let in?
 * @service: desired; borrowed, unchanged
 * @good:    borrowed
 * @err:     a sentence when refused: which variant, from what to what, why; may be NULL
 *
 * For a command that wants to know before it changes anything. Ignores nothing that
 * shunt_guard_apply() would see: same rules, same options.
 */
enum shunt_guard_verdict shunt_guard_judge(const struct shunt_model_service *service,
					   const struct shunt_last_good *good,
					   const struct shunt_guard_opts *opts,
					   struct shunt_err *err);

/**
 * shunt_guard_apply - judge @model against @good
 * @model: desired; weights and drains of refused services are set back to the last good ones
 *         and the service gets the condition WeightRefused=True (reason NoReadyEndpoints or
 *         StepTooLarge); services that pass have the condition removed
 * @good:  updated with what is now in force; services that @model lacks are forgotten
 *
 * NoReadyEndpoints: the weight or the share of a variant whose group is resolved and has
 * endpoints, but none usable (on one of the ports), rises above its last good one, on a
 * service that has last good weights. The share rises also when another variant's weight
 * falls: 50/50 -> 0/50 sends everything to the second. A drained variant counts as 0.
 * New services, services whose last good weights are all 0 (nothing to lose), unresolved
 * groups and groups without any endpoint are applied as asked. A variant that has no last
 * good weight counts as 0 there; a variant that is gone is ignored.
 *
 * StepTooLarge: the share of a variant rises by more than max_step_bp.
 *
 * Nothing is remembered of a refused change: the same wish is judged anew by each call, so
 * it is let in as soon as the endpoints are ready.
 *
 * Return: number of services refused, or -ENOMEM (@good is unchanged, @model is not to be
 * used).
 */
int shunt_guard_apply(struct shunt_model *model, struct shunt_last_good *good,
		      const struct shunt_guard_opts *opts);

/**
 * shunt_last_good_replace - forget all, remember the weights of @model
 *
 * For a caller who could not install what shunt_guard_apply() let in.
 *
 * Return: 0, or -ENOMEM: nothing is changed.
 */
int shunt_last_good_replace(struct shunt_last_good *good, const struct shunt_model *model);

/**
 * shunt_last_good_to_json - for the state directory
 * @ret_json: {"ns/name":[{"ports":"80/TCP","weights":{variant:n},"drained":[variant]}]};
 *            new reference
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_last_good_to_json(const struct shunt_last_good *good, json_t **ret_json);

/* The reverse; @json is borrowed. Return: 0, -EINVAL if it is something else, or -ENOMEM. */
int shunt_last_good_from_json(json_t *json, struct shunt_last_good **ret_good);

#endif
