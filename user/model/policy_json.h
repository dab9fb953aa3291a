/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_MODEL_POLICY_JSON_H
#define SHUNT_MODEL_POLICY_JSON_H

#include <jansson.h>

#include "model/policy.h"

/*
 * "policy" of a service as docs/control-protocol.md has it: null if it has none. A new
 * reference, or NULL: out of memory.
 */
json_t *shunt_policy_to_json(const struct shunt_policy *policy);

/* {"kind","namespace","name","file","line"}. A new reference, or NULL: out of memory. */
json_t *shunt_object_ref_to_json(const struct shunt_object_ref *ref);

#endif
