/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_SETTINGS_H
#define SHUNT_DIALECT_SETTINGS_H

#include "dialect/dialect.h"
#include "dialect/field.h"
#include "dialect/world.h"
#include "model/model.h"

/*
 * What Kubernetes has no field for: annotations on the Service that is split, or on the object
 * that splits it, which wins. Values are strings, so quote the numbers.
 *
 *   shunt.io/affinity         connection | hash | session. Default connection; session where
 *                             the Service says sessionAffinity: ClientIP
 *   shunt.io/affinity-prefix  "V4/V6": how many bits of the client's address count for hash
 *                             and session; 1..32 and 1..128, default "32/128"
 *   shunt.io/session-seconds  how long a session outlives its last new connection; 1..86400,
 *                             default sessionAffinityConfig's timeout, else 10800
 *   shunt.io/drain-seconds    how long sessions stay on a variant whose weight is 0;
 *                             0..86400, default --default-drain
 *   shunt.io/empty-variant    reject | redistribute: what a variant without usable backends
 *                             does with its share. Default reject
 *   shunt.io/frontends        shared | owned: does the cluster's proxy serve the addresses
 *                             too? Default shared for Services, owned for entry points
 *
 * Another annotation below shunt.io/ is an error.
 */
struct shunt_split_settings {
	struct shunt_affinity_spec affinity;
	uint32_t drain_s;
	enum shunt_empty_policy empty_policy;
	bool owned;
};

/**
 * shunt_annotations_read - what holds for a split
 * @opts:    for the defaults
 * @service: that is split, or NULL for entry points
 * @object:  that splits it
 *
 * Return: 0 or -EINVAL with @err filled.
 */
int shunt_annotations_read(const struct shunt_translate_opts *opts,
			   const struct shunt_world_service *service,
			   const struct shunt_object *object, struct shunt_err *err,
			   struct shunt_split_settings *ret_settings);

/* Are the annotations of @object right? Return: 0 or -EINVAL with @err filled. */
int shunt_annotations_check(const struct shunt_object *object, struct shunt_err *err);

#endif
