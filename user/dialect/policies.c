// SPDX-License-Identifier: Apache-2.0
#include "dialect/policies.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "dialect/policy_http.h"
#include "dialect/policy_parts.h"
#include "policy/expression.h"

/* One model service whose policy is being put together. */
struct target {
	struct shunt_translation *t;
	struct shunt_model_service *service;
	const struct shunt_request *origin;
	struct shunt_policy *policy;	      /* what has been found so far */
	struct shunt_attachment **candidates; /* owned; the one that has precedence first */
	size_t n_candidates;
};

/* ---- what translators need ------------------------------------------------------------------ */

int shunt_policy_origin(struct shunt_policy *policy, const struct shunt_object *object,
			uint16_t *ret_index)
{
	struct shunt_object_ref *ref =
		shunt_array_add(&policy->origins, &policy->n_origins, sizeof(*ref));

	if (!ref)
		return -ENOMEM;
	*ret_index = policy->n_origins - 1;
	return shunt_report_ref(object, ref);
}

int shunt_policy_warn_parts(struct shunt_conditions *conditions, unsigned parts)
{
	char text[SHUNT_PARTS_LEN];

	parts &= ~SHUNT_PARTS_ENFORCED;
	if (!parts)
		return 0;
	return shunt_conditions_set(conditions, "NotEnforced", "True", "NotEnforced",
				    "this version of Shunt checks but does not enforce: %s",
				    shunt_policy_parts_str(parts, text));
}

/* Istio takes it without a word, and people wonder why nothing is ejected. */
int shunt_policy_warn_ejection(struct shunt_conditions *conditions,
			       const struct shunt_ejection *ejection)
{
	if (!ejection->enabled || shunt_ejection_decides(ejection))
		return 0;
	return shunt_conditions_set(
		conditions, "EjectsNothing", "True", "NeverDecides",
		ejection->max_percent
			? "outlierDetection: consecutive5xxErrors and consecutiveGatewayErrors "
			  "are both 0, so no backend is ever ejected"
			: "outlierDetection: with maxEjectionPercent 0 no backend is ever ejected");
}

int shunt_policy_warn(struct shunt_conditions *conditions, const struct shunt_policy *policy)
{
	char text[300];
	int r = shunt_policy_warn_parts(conditions, shunt_policy_parts(policy));

	if (r == 0)
		r = shunt_policy_warn_ejection(conditions, &policy->ejection);
	if (r < 0 || !policy->breaker.expression ||
	    !shunt_expression_warn(&policy->breaker.predicate, text, sizeof(text)))
		return r;
	return shunt_conditions_set(conditions, "SuspiciousExpression", "True", "NeverDecides",
				    "\"%.200s\": %s", policy->breaker.expression, text);
}

int shunt_policy_say_overridden(struct shunt_translation *t, const struct shunt_object *object,
				const struct shunt_request *origin, unsigned parts)
{
	struct shunt_conditions *conditions;
	char text[SHUNT_PARTS_LEN];

	if (!parts)
		return 0;
	conditions = shunt_report(&t->reports, object);
	if (!conditions)
		return -ENOMEM;
	return shunt_conditions_set(conditions, "Overridden", "True", "Precedence",
				    "on %s/%s a policy with precedence says what holds of: %s",
				    origin->namespace_, origin->name,
				    shunt_policy_parts_str(parts, text));
}

int shunt_attachment_add(struct shunt_translation *t, const struct shunt_node *at,
			 struct shunt_policy *policy, struct shunt_attachment **ret_attachment)
{
	const json_t *metadata = json_object_get(at->object->json, "metadata");
	const char *created = json_string_value(json_object_get(metadata, "creationTimestamp"));
	struct shunt_attachment *attachment = calloc(1, sizeof(*attachment)), **slot;

	slot = attachment ? shunt_array_add(&t->attachments, &t->n_attachments, sizeof(*slot))
			  : NULL;
	if (!slot) {
		free(attachment);
		return -ENOMEM;
	}
	attachment->object = at->object;
	attachment->at = *at;
	attachment->created = created ? created : "";
	attachment->policy = policy;
	*slot = attachment;
	*ret_attachment = attachment;
	return 0;
}

void shunt_attachments_drop(struct shunt_translation *t, size_t from)
{
	for (size_t i = from; i < t->n_attachments; i++) {
		shunt_policy_free(t->attachments[i]->policy);
		free(t->attachments[i]);
	}
	t->n_attachments = from; /* the room follows from it, as in shunt_requests_drop() */
	if (!from) {
		free(t->attachments);
		t->attachments = NULL;
	}
}

/* ---- which policy is for which service ------------------------------------------------------- */

enum match {
	MATCH_NONE,
	MATCH_ALL,	   /* the whole model service */
	MATCH_PORT,	   /* the same, named by its only port */
	MATCH_SHARED_PORT, /* one of several ports that share a split */
	MATCH_VARIANT,
};

static bool is_port(const struct shunt_port *port, const char *section)
{
	char number[8];

	snprintf(number, sizeof(number), "%u", port->port);
	return !strcmp(port->name, section) || !strcmp(number, section);
}

static enum match match_section(const struct target *target, const char *section)
{
	const struct shunt_model_service *service = target->service;

	if (!*section)
		return MATCH_ALL;
	for (size_t i = 0; i < service->n_ports; i++)
		if (is_port(&service->ports[i], section))
			return service->n_ports == 1 ? MATCH_PORT : MATCH_SHARED_PORT;
	return shunt_model_variant_find(service, section) ? MATCH_VARIANT : MATCH_NONE;
}

static enum match match_target(const struct target *target,
			       const struct shunt_attachment *attachment)
{
	const struct shunt_model_service *service = target->service;
	const char *name = service->source.name, *namespace_ = service->source.namespace_;

	if (!strcmp(attachment->kind, "Service")) {
		if (target->origin->n_addrs) /* an entry point's, whatever its name */
			return MATCH_NONE;
		name = service->name;
		namespace_ = service->namespace_;
	} else if (strcmp(attachment->kind, service->source.kind)) {
		return MATCH_NONE;
	}
	if (strcmp(attachment->name, name) || strcmp(attachment->object->namespace_, namespace_))
		return MATCH_NONE;
	return match_section(target, attachment->section);
}

/* By the names of their targets, so that they are found. */
static int compare_targets(const void *a, const void *b)
{
	const struct shunt_attachment *x = *(struct shunt_attachment *const *)a;
	const struct shunt_attachment *y = *(struct shunt_attachment *const *)b;
	int r = strcmp(x->object->namespace_, y->object->namespace_);

	return r ? r : strcmp(x->name, y->name);
}

/* The one that has precedence first: Gateway API's rule for conflicts. */
static int compare_precedence(const void *a, const void *b)
{
	const struct shunt_attachment *x = *(struct shunt_attachment *const *)a;
	const struct shunt_attachment *y = *(struct shunt_attachment *const *)b;
	int r = strcmp(x->created, y->created); /* RFC 3339 in UTC sorts as text */

	if (!r)
		r = strcmp(x->object->namespace_, y->object->namespace_);
	if (!r)
		r = strcmp(x->object->name, y->object->name);
	return r ? r : strcmp(x->at.path, y->at.path);
}

/* Index of the first attachment whose target is not before this name. */
static size_t target_place(const struct shunt_translation *t, const char *namespace_,
			   const char *name)
{
	const struct shunt_object object = { .namespace_ = namespace_ };
	const struct shunt_attachment wanted = { .object = &object, .name = name }, *key = &wanted;
	size_t low = 0, high = t->n_attachments;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_targets(&t->attachments[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int add_candidates(struct target *target, const char *namespace_, const char *name)
{
	const struct shunt_translation *t = target->t;

	for (size_t i = target_place(t, namespace_, name); i < t->n_attachments; i++) {
		struct shunt_attachment **slot;

		if (strcmp(t->attachments[i]->object->namespace_, namespace_) ||
		    strcmp(t->attachments[i]->name, name))
			break;
		if (match_target(target, t->attachments[i]) == MATCH_NONE)
			continue;
		slot = shunt_array_add(&target->candidates, &target->n_candidates, sizeof(*slot));
		if (!slot)
			return -ENOMEM;
		*slot = t->attachments[i];
		(*slot)->was_used = true; /* it is taken, or told why not */
	}
	return 0;
}

/* All attachments that name the Service, or the object that splits it. */
static int find_candidates(struct target *target)
{
	const struct shunt_model_service *service = target->service;
	int r = add_candidates(target, service->namespace_, service->name);

	if (!r && (strcmp(service->namespace_, service->source.namespace_) ||
		   strcmp(service->name, service->source.name)))
		r = add_candidates(target, service->source.namespace_, service->source.name);
	if (target->n_candidates)
		qsort(target->candidates, target->n_candidates, sizeof(*target->candidates),
		      compare_precedence);
	return r;
}

/* ---- what becomes of a policy ---------------------------------------------------------------- */

static int conflict(const struct target *target, const struct shunt_attachment *loser,
		    const struct shunt_attachment *winner)
{
	return shunt_report_refuse_at(
		&target->t->reports, &loser->at, "Conflicted",
		"%s/%s%s%s already has the TrafficPolicy %s/%s, which %s",
		target->service->namespace_, target->service->name, *loser->section ? " " : "",
		loser->section, winner->object->namespace_, winner->object->name,
		*winner->section && !*loser->section	  ? "names the port itself"
		: strcmp(winner->created, loser->created) ? "is older"
							  : "comes first by its name");
}

/* Variants that the policy names and the service lacks: what is about them is left out. */
static int drop_unknown(const struct target *target, const struct shunt_attachment *attachment,
			struct shunt_policy *policy)
{
	struct shunt_conditions *conditions;
	char names[200];

	if (!shunt_policy_drop_unknown(policy, target->service, names, sizeof(names)))
		return 0;
	conditions = shunt_report(&target->t->reports, attachment->object);
	if (!conditions)
		return -ENOMEM;
	return shunt_conditions_set(conditions, "ResolvedRefs", "False", "VariantNotFound",
				    "%s%s%s/%s has no variant %s: what is about it does not hold",
				    attachment->object->file,
				    attachment->object->file[0] ? ": " : "",
				    target->service->namespace_, target->service->name, names);
}

static void policy_freep(struct shunt_policy **policy)
{
	shunt_policy_free(*policy);
}

#define HOLDS	  "holds for "
#define MORE	  ", ..."
#define MAX_HOLDS 300 /* bytes: the first ones of many splits */

/* One more split that has the policy: the message names them. Return: 0 or -ENOMEM. */
static int say_held(const struct target *target, const struct shunt_attachment *attachment,
		    const char *variant)
{
	struct shunt_conditions *conditions = shunt_report(&target->t->reports, attachment->object);
	const struct shunt_condition *before;
	char text[MAX_HOLDS + 2 * SHUNT_NAME_LEN + 80];
	bool is_more;

	if (!conditions)
		return -ENOMEM;
	before = shunt_conditions_get(conditions, "Accepted");
	is_more = before && !strncmp(before->message, HOLDS, strlen(HOLDS));
	if (is_more && strlen(before->message) > MAX_HOLDS)
		snprintf(text, sizeof(text), "%.*s" MORE, MAX_HOLDS, before->message);
	else
		snprintf(text, sizeof(text), "%s%s%s/%s%s%s%s", is_more ? before->message : HOLDS,
			 is_more ? ", " : "", target->service->namespace_, target->service->name,
			 variant ? " (" : "", variant ? variant : "", variant ? ")" : "");
	return shunt_report_accept_part(&target->t->reports, attachment->object, "%s", text);
}

/* Puts a copy of an attachment's policy into the target's, or says why it cannot hold. */
static int take(struct target *target, const struct shunt_attachment *attachment,
		const char *variant)
{
	CLEANUP(policy_freep) struct shunt_policy *policy = shunt_policy_copy(attachment->policy);
	char text[300];
	unsigned ignored;
	int r;

	if (!policy)
		return -ENOMEM;
	if (variant && !shunt_policy_narrow(policy, variant, text, sizeof(text)))
		return shunt_report_refuse_at(&target->t->reports, &attachment->at,
					      "UnsupportedValue", "%s", text);
	if (!shunt_policy_families_fit(policy, target->service, text, sizeof(text)))
		return shunt_report_refuse_at(&target->t->reports, &attachment->at, "Invalid", "%s",
					      text);
	r = drop_unknown(target, attachment, policy);
	if (r < 0)
		return r;
	if (variant)
		r = shunt_policy_append(target->policy, policy);
	else
		r = shunt_policy_merge(target->policy, policy, &ignored);
	if (r == -E2BIG)
		return shunt_report_refuse_at(
			&target->t->reports, &attachment->at, "UnsupportedValue",
			"with those of other policies %s/%s has more than %d rate limits, %d "
			"limits in flight or one of each client's connections",
			target->service->namespace_, target->service->name, SHUNT_MAX_LIMITS,
			SHUNT_MAX_IN_FLIGHT);
	if (r < 0)
		return r;
	return say_held(target, attachment, variant);
}

/* ---- TrafficPolicies ------------------------------------------------------------------------- */

/* The winner for the whole service, the others Conflicted. */
static int take_whole(struct target *target)
{
	struct shunt_attachment *winner = NULL;
	int r = 0;

	for (int pass = MATCH_PORT; !winner && pass >= MATCH_ALL; pass--)
		for (size_t i = 0; !winner && i < target->n_candidates; i++)
			if ((int)match_target(target, target->candidates[i]) == pass)
				winner = target->candidates[i];
	for (size_t i = 0; !r && i < target->n_candidates; i++) {
		struct shunt_attachment *attachment = target->candidates[i];
		enum match match = match_target(target, attachment);

		if (match == MATCH_SHARED_PORT)
			r = shunt_report_refuse_at(
				&target->t->reports, &attachment->at, "UnsupportedValue",
				"port %s of %s/%s shares its split with others: name the port "
				"in the route's parentRef too, or leave sectionName out",
				attachment->section, target->service->namespace_,
				target->service->name);
		else if ((match == MATCH_ALL || match == MATCH_PORT) && attachment != winner)
			r = conflict(target, attachment, winner);
	}
	return r < 0 || !winner ? r : take(target, winner, NULL);
}

/* Of each variant the first; they are sorted. */
static int take_variants(struct target *target)
{
	int r = 0;

	for (size_t v = 0; v < target->service->n_variants; v++) {
		const char *name = target->service->variants[v].name;
		struct shunt_attachment *winner = NULL;

		for (size_t i = 0; !r && i < target->n_candidates; i++) {
			struct shunt_attachment *attachment = target->candidates[i];

			if (strcmp(attachment->section, name) ||
			    match_target(target, attachment) != MATCH_VARIANT)
				continue;
			r = winner ? conflict(target, attachment, winner)
				   : take(target, attachment, name);
			winner = winner ? winner : attachment;
		}
	}
	return r;
}

/* ---- the others ------------------------------------------------------------------------------ */

static int take_middlewares(struct target *target)
{
	unsigned overridden = 0;
	int r;

	if (!target->origin->policy)
		return 0;
	r = shunt_policy_merge(target->policy, target->origin->policy, &overridden);
	return r < 0 ? r
		     : shunt_policy_say_overridden(target->t, target->origin->object,
						   target->origin, overridden);
}

/* loadBalancerSourceRanges hold where a load balancer's address is a frontend. */
static int take_source_ranges(struct target *target)
{
	const struct shunt_world_service *world = shunt_world_service(
		&target->t->world, target->service->namespace_, target->service->name);
	bool has_address = false;

	for (size_t i = 0; i < target->service->n_frontends; i++)
		has_address |= target->service->frontends[i].load_balancer;
	if (!has_address || !world)
		return 0;
	return shunt_cidrs_append(&target->policy->sources.load_balancer, &world->source_ranges);
}

static int apply(struct target *target)
{
	int r;

	target->policy = shunt_policy_new();
	if (!target->policy)
		return -ENOMEM;
	r = find_candidates(target);
	if (!r)
		r = take_whole(target);
	if (!r)
		r = take_middlewares(target);
	if (!r)
		r = shunt_policy_take_rules(target->t, target->origin, target->policy);
	if (!r)
		r = take_variants(target); /* they add to the others */
	if (!r)
		r = take_source_ranges(target);
	if (r < 0 || !shunt_policy_parts(target->policy)) {
		shunt_policy_free(target->policy);
		return r;
	}
	shunt_policy_seal(target->policy);
	target->service->policy = target->policy;
	return shunt_policy_say_blind(target->t, target->service);
}

/* A target that no service has: it does not exist, or nothing splits it. */
static int report_unused(struct shunt_translation *t, const struct shunt_attachment *attachment)
{
	const char *namespace_ = attachment->object->namespace_, *why = NULL, *reason;

	if (!strcmp(attachment->kind, "Service"))
		why = shunt_why_unsplit(
			shunt_world_service(&t->world, namespace_, attachment->name), &reason);
	if (why)
		return shunt_report_refuse_at(&t->reports, &attachment->at, "TargetNotFound",
					      "Service %s/%s %s", namespace_, attachment->name,
					      why);
	return shunt_report_refuse_at(&t->reports, &attachment->at, "TargetNotFound",
				      "no split has the target %s %s/%s%s%s", attachment->kind,
				      namespace_, attachment->name,
				      *attachment->section ? " with a port or variant " : "",
				      attachment->section);
}

int shunt_policies_apply(struct shunt_translation *t, struct shunt_model *model,
			 const struct shunt_request *const *origins)
{
	int r = 0;

	if (t->n_attachments)
		qsort(t->attachments, t->n_attachments, sizeof(*t->attachments), compare_targets);
	for (size_t i = 0; i < model->n_services && !r; i++) {
		struct target target = { .t = t,
					 .service = &model->services[i],
					 .origin = origins[i] };

		r = apply(&target);
		free(target.candidates);
	}
	for (size_t i = 0; i < t->n_attachments && !r; i++)
		if (!t->attachments[i]->was_used)
			r = report_unused(t, t->attachments[i]);
	return r;
}
