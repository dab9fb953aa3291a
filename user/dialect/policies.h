/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_POLICIES_H
#define SHUNT_DIALECT_POLICIES_H

#include "dialect/request.h"
#include "model/policy.h"

/*
 * From the objects that say what a service lets in to the policy of each model service.
 * Translators read one object into a struct shunt_policy; shunt_policies_apply() puts together
 * what concerns a service.
 */

/* A TrafficPolicy at one of its targets. */
struct shunt_attachment {
	const struct shunt_object *object;
	struct shunt_node at; /* the targetRef, for errors */
	const char *kind;     /* of the target; of the policy's namespace */
	const char *name;
	const char *section;	     /* a port or variant; "": all of it */
	const char *created;	     /* metadata.creationTimestamp or "" */
	struct shunt_policy *policy; /* owned; origins are filled, not sealed */
	bool was_used;		     /* some service has it, or has said why not */
};

/*
 * Adds an attachment, which takes @policy over if it succeeds. When the translator fails later,
 * the attachments of its object are dropped again. Return: 0 or -ENOMEM.
 */
int shunt_attachment_add(struct shunt_translation *t, const struct shunt_node *at,
			 struct shunt_policy *policy, struct shunt_attachment **ret_attachment);

/* Drops the attachments from the @from-th on; 0: all. */
void shunt_attachments_drop(struct shunt_translation *t, size_t from);

/* Adds @object to the origins of @policy. *@ret_index: its place. Return: 0 or -ENOMEM. */
int shunt_policy_origin(struct shunt_policy *policy, const struct shunt_object *object,
			uint16_t *ret_index);

/**
 * shunt_policy_warn - conditions about what @policy asks for, in the report of its object
 *
 * What this version does not put in force (NotEnforced), and what can never hold
 * (SuspiciousExpression, EjectsNothing). Return: 0 or -ENOMEM.
 */
int shunt_policy_warn(struct shunt_conditions *conditions, const struct shunt_policy *policy);

/* EjectsNothing by itself. Return: 0 or -ENOMEM. */
int shunt_policy_warn_ejection(struct shunt_conditions *conditions,
			       const struct shunt_ejection *ejection);

/* The first of these by itself, for @parts. Return: 0 or -ENOMEM. */
int shunt_policy_warn_parts(struct shunt_conditions *conditions, unsigned parts);

/**
 * shunt_policy_say_overridden - tell @object which of its parts another policy stands before
 * @origin: of the service where that is so
 * @parts:  of those that @object asks for; 0: nothing is said
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_policy_say_overridden(struct shunt_translation *t, const struct shunt_object *object,
				const struct shunt_request *origin, unsigned parts);

/**
 * shunt_policies_apply - give the services of @model their policies
 * @origins: the request of each service of @model, in the same order
 *
 * Where several objects have the same part, limits for example, TrafficPolicy stands before
 * Traefik's middlewares, these before DestinationRules; the other parts of each hold all the
 * same. Of two TrafficPolicies for one target the older wins, then the first by namespace and
 * name, as Gateway API has it; the other is Conflicted.
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_policies_apply(struct shunt_translation *t, struct shunt_model *model,
			 const struct shunt_request *const *origins);

/* The translator of TrafficPolicy, as those of request.h. */
int shunt_translate_traffic_policy(struct shunt_translation *t, const struct shunt_object *object);

#endif
