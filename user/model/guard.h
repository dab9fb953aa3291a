/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_MODEL_GUARD_H
#define SHUNT_MODEL_GUARD_H

#include "model/model.h"

/*
 * The guard stands between what is asked and what is installed. It compares the desired
 * weights with the last good ones and refuses a change that would hurt.
 */
struct shunt_guard_opts {
	uint32_t max_step_bp; /* largest rise of one variant's share at once, basis points of the
			       * service's total; 0: off (default) */
	const char *const *forced; /* "namespace/name" whose next change is not judged */
	size_t n_forced;
};

/* The weights in force of every service, by name; survives restarts (state directory). */
struct shunt_last_good;

struct shunt_last_good *shunt_last_good_new(void);
void shunt_last_good_free(struct shunt_last_good *good);

/**
 * shunt_guard_apply - judge @model against @good
 * @model: desired; weights of refused services are set back to the last good ones and the
 *         service gets the condition WeightRefused=True (reason NoReadyEndpoints or
 *         StepTooLarge); services that pass have the condition removed
 * @good:  updated with what is now in force
 *
 * NoReadyEndpoints: the weight of a variant whose group is resolved and has endpoints, but
 * none usable, rises above its last good weight, on a service that has last good weights.
 * New services, unresolved groups and groups without any endpoint are applied as asked.
 * A variant that has no last good weight counts as 0 there; a variant that is gone is ignored.
 *
 * Return: number of services refused, or -ENOMEM.
 */
int shunt_guard_apply(struct shunt_model *model, struct shunt_last_good *good,
		      const struct shunt_guard_opts *opts);

/* As JSON {"ns/name":{"ports":..,"weights":{variant:n}}}, for the state directory. */
struct json_t;
int shunt_last_good_to_json(const struct shunt_last_good *good, struct json_t **ret_json);
int shunt_last_good_from_json(struct json_t *json, struct shunt_last_good **ret_good);

#endif
