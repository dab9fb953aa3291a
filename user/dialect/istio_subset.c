// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "dialect/istio_policy.h"
#include "dialect/policies.h"

/*
 * DestinationRule: subsets are the pods of a Service that carry labels; what its traffic policy
 * asks for is in istio_policy.c.
 */

/* ---- hosts ------------------------------------------------------------------------------ */

/* Copies @len bytes as a name. Return: whether they are one. */
static bool copy_label(char name[SHUNT_NAME_LEN], const char *text, size_t len)
{
	if (!len || len >= SHUNT_NAME_LEN ||
	    strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") < len)
		return false;
	memcpy(name, text, len);
	name[len] = '\0';
	return true;
}

int shunt_istio_read_host(const struct shunt_translation *t, const struct shunt_node *host,
			  struct shunt_istio_host *ret_host)
{
	const char *own = host->object->namespace_, *text = "", *dot, *rest;
	struct shunt_istio_host found;
	int r = shunt_field_text(host, &text);
	bool ok;

	if (r < 0)
		return r;
	dot = strchrnul(text, '.');
	ok = copy_label(found.service, text, dot - text);
	if (*dot) {
		rest = strchrnul(dot + 1, '.');
		ok = ok && copy_label(found.namespace_, dot + 1, rest - (dot + 1)) &&
		     (!*rest || !strcmp(rest, ".svc") || !strcmp(rest, ".svc.cluster.local"));
	} else {
		ok = ok && copy_label(found.namespace_, own, strlen(own));
	}
	if (!ok)
		return shunt_field_error(host, -EOPNOTSUPP, NULL,
					 "\"%.120s\" does not name a Service: NAME, NAME.NAMESPACE "
					 "or NAME.NAMESPACE.svc.cluster.local",
					 text);
	if (strcmp(found.namespace_, own) && !t->opts->allow_cross_namespace)
		return shunt_field_error(host, -EOPNOTSUPP, NULL,
					 "%s is another namespace than the object's own, %s: only "
					 "with --allow-cross-namespace",
					 found.namespace_, own);
	*ret_host = found;
	return 0;
}

int shunt_istio_check_export(const struct shunt_node *spec)
{
	struct shunt_node list, item;
	const char *text = "";
	int r = shunt_field_list(spec, "exportTo", &list);

	for (size_t i = 0; r > 0 && i < shunt_field_length(&list); i++) {
		item = shunt_field_item(&list, i);
		r = shunt_field_text(&item, &text);
		if (!r && strcmp(text, "*"))
			r = shunt_field_error(&item, -EOPNOTSUPP, NULL,
					      "Shunt splits for clients of all namespaces: only "
					      "\"*\"");
		else if (!r)
			r = 1;
	}
	return r < 0 ? r : 0;
}

/* ---- DestinationRule --------------------------------------------------------------------- */

/* Is trafficPolicy, if there is one, what Shunt can do? */
static int check_policy(const struct shunt_node *node)
{
	struct shunt_policy ignored = { 0 };

	return shunt_istio_read_policy(node, 0, &ignored);
}

static int check_labels(const struct shunt_node *subset)
{
	struct shunt_node labels;
	const char *key;
	json_t *value;
	int r = shunt_field_object(subset, "labels", &labels);

	if (r <= 0)
		return r;
	json_object_foreach ((json_t *)labels.json, key, value)
		if (!json_is_string(value))
			return shunt_field_error(&labels, -EINVAL, key, "must be a string");
	return 0;
}

static int check_subset(const struct shunt_node *list, size_t i)
{
	static const char *const known[] = { "name", "labels", "trafficPolicy", NULL };
	struct shunt_node subset, name;
	const char *text = "";
	int r = shunt_field_item_object(list, i, &subset);

	if (!r)
		r = shunt_field_only(&subset, known);
	if (!r)
		r = shunt_field_need(&subset, "name", &name);
	if (r > 0)
		r = shunt_field_label(&subset, "name", &text);
	if (r > 0)
		r = check_labels(&subset);
	return r < 0 ? r : check_policy(&subset);
}

/* Checks all of @object; *ret_subsets is its list, with json NULL if it has none. */
static int read_rule(const struct shunt_translation *t, const struct shunt_object *object,
		     struct shunt_err *err, struct shunt_istio_host *ret_host,
		     struct shunt_node *ret_subsets)
{
	static const char *const known[] = { "host", "subsets", "trafficPolicy", "exportTo", NULL };
	struct shunt_node spec, host;
	int r = shunt_field_spec(object, err, &spec);

	if (!r)
		r = shunt_field_only(&spec, known);
	if (!r)
		r = shunt_istio_check_export(&spec);
	if (!r)
		r = check_policy(&spec);
	if (!r)
		r = shunt_field_need(&spec, "host", &host);
	if (r > 0)
		r = shunt_istio_read_host(t, &host, ret_host);
	if (r < 0)
		return r;
	*ret_subsets = (struct shunt_node){ 0 };
	r = shunt_field_list(&spec, "subsets", ret_subsets);
	for (size_t i = 0; r > 0 && i < shunt_field_length(ret_subsets); i++) {
		r = check_subset(ret_subsets, i);
		if (!r)
			r = 1;
	}
	return r < 0 ? r : 0;
}

/* Conditions about all that the rule and its subsets, which are right, ask for. */
static int warn(const struct shunt_object *object, const struct shunt_node *subsets,
		struct shunt_conditions *conditions)
{
	struct shunt_policy policy = { 0 };
	struct shunt_node spec, subset;
	struct shunt_err ignored;
	unsigned parts;
	int r;

	shunt_field_spec(object, &ignored, &spec);
	shunt_istio_read_policy(&spec, 0, &policy);
	parts = shunt_policy_parts(&policy);
	r = shunt_policy_warn_ejection(conditions, &policy.ejection);
	for (size_t i = 0; r == 0 && subsets->json && i < shunt_field_length(subsets); i++) {
		subset = shunt_field_item(subsets, i);
		policy = (struct shunt_policy){ 0 };
		shunt_istio_read_policy(&subset, 0, &policy);
		parts |= shunt_policy_parts(&policy);
		r = shunt_policy_warn_ejection(conditions, &policy.ejection);
	}
	return r < 0 ? r : shunt_policy_warn_parts(conditions, parts);
}

int shunt_translate_destination_rule(struct shunt_translation *t, const struct shunt_object *object)
{
	struct shunt_conditions *conditions;
	struct shunt_istio_host host;
	struct shunt_node subsets;
	int r = read_rule(t, object, &t->err, &host, &subsets);

	if (r < 0)
		return r;
	conditions = shunt_report(&t->reports, object);
	if (!conditions)
		return -ENOMEM;
	r = shunt_conditions_set(conditions, "Accepted", "True", "Accepted", "%zu subsets of %s/%s",
				 subsets.json ? shunt_field_length(&subsets) : 0, host.namespace_,
				 host.service);
	return r ? r : warn(object, &subsets, conditions);
}

/* ---- the way from a VirtualService --------------------------------------------------------- */

/* A rule and its host, which is right whatever else of it may be wrong. */
struct shunt_istio_rule {
	struct shunt_istio_host host;
	const struct shunt_object *object;
	size_t order; /* among all rules */
};

static int compare_hosts(const struct shunt_istio_host *a, const struct shunt_istio_host *b)
{
	int r = strcmp(a->namespace_, b->namespace_);

	return r ? r : strcmp(a->service, b->service);
}

static int compare_rules(const void *a, const void *b)
{
	const struct shunt_istio_rule *x = a, *y = b;
	int r = compare_hosts(&x->host, &y->host);

	return r ? r : (x->order > y->order) - (x->order < y->order);
}

/* All rules by their hosts, found out once. Return: 0 or -ENOMEM. */
static int index_rules(struct shunt_translation *t)
{
	const struct shunt_object *object;
	struct shunt_istio_rule *rule;
	size_t pos = 0;

	if (t->rules_known)
		return 0;
	while ((object = shunt_world_next(&t->world, "networking.istio.io", "DestinationRule",
					  &pos))) {
		struct shunt_istio_host host;
		struct shunt_err ignored;
		struct shunt_node root = shunt_field_root(object, &ignored), spec, node;

		if (shunt_field_object(&root, "spec", &spec) <= 0 ||
		    shunt_field_any(&spec, "host", &node) <= 0 ||
		    shunt_istio_read_host(t, &node, &host))
			continue;
		rule = shunt_array_add(&t->rules, &t->n_rules, sizeof(*rule));
		if (!rule)
			return -ENOMEM;
		*rule = (struct shunt_istio_rule){ host, object, t->n_rules };
	}
	if (t->n_rules)
		qsort(t->rules, t->n_rules, sizeof(*t->rules), compare_rules);
	t->rules_known = true;
	return 0;
}

/*
 * The next rule of @namespace_ about @host, in their order; begin with *@pos = 0. Return: NULL
 * at the end, and where index_rules() has failed.
 */
static const struct shunt_object *next_rule(const struct shunt_translation *t,
					    const char *namespace_,
					    const struct shunt_istio_host *host, size_t *pos)
{
	size_t low = 0, high = *pos ? 0 : t->n_rules;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (compare_hosts(&t->rules[middle].host, host) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	for (size_t i = *pos ? *pos : low;
	     i < t->n_rules && !compare_hosts(&t->rules[i].host, host); i++) {
		*pos = i + 1;
		if (!strcmp(t->rules[i].object->namespace_, namespace_))
			return t->rules[i].object;
	}
	return NULL;
}

/* Return: whether @subsets has one of this name. */
static bool find_labels(const struct shunt_node *subsets, const char *name,
			const json_t **ret_labels)
{
	const json_t *subset, *labels;
	size_t i;

	json_array_foreach (subsets->json, i, subset) {
		const char *found = json_string_value(json_object_get(subset, "name"));

		if (!found || strcmp(found, name))
			continue;
		labels = json_object_get(subset, "labels");
		*ret_labels = json_is_object(labels) ? labels : NULL;
		return true;
	}
	return false;
}

/* The error of @rule becomes one of the object that builds on it: say whose it is. */
static int blame(struct shunt_translation *t, const struct shunt_object *rule, int r)
{
	char text[sizeof(t->err.text)];

	memcpy(text, t->err.text, sizeof(text));
	snprintf(t->err.text, sizeof(t->err.text), "(of DestinationRule %s/%s) %.300s",
		 rule->namespace_, rule->name, text);
	return r;
}

static int search(struct shunt_translation *t, const char *namespace_,
		  const struct shunt_istio_host *host, const char *subset,
		  const json_t **ret_labels)
{
	const struct shunt_object *rule;
	struct shunt_istio_host found;
	struct shunt_node subsets;
	size_t pos = 0;
	int r;

	while ((rule = next_rule(t, namespace_, host, &pos))) {
		r = read_rule(t, rule, &t->err, &found, &subsets);
		if (r < 0)
			return blame(t, rule, r);
		if (find_labels(&subsets, subset, ret_labels))
			return 1;
	}
	return 0;
}

int shunt_istio_find_subset(struct shunt_translation *t, const char *from,
			    const struct shunt_istio_host *host, const char *subset,
			    const json_t **ret_labels)
{
	int r = index_rules(t);

	if (!r)
		r = search(t, from, host, subset, ret_labels);
	if (!r && strcmp(from, host->namespace_))
		r = search(t, host->namespace_, host, subset, ret_labels);
	return r;
}

/* ---- policies ------------------------------------------------------------------------------ */

/* The subset of this name, or false. */
static bool find_subset(const struct shunt_node *subsets, const char *name,
			struct shunt_node *ret_subset)
{
	for (size_t i = 0; subsets->json && i < shunt_field_length(subsets); i++) {
		struct shunt_node item = shunt_field_item(subsets, i);
		const char *found = json_string_value(json_object_get(item.json, "name"));

		if (!found || strcmp(found, name))
			continue;
		*ret_subset = item;
		return true;
	}
	return false;
}

/* What the first rule of a namespace that is about the variant says. 1, 0 or -ENOMEM. */
static int search_policy(struct shunt_translation *t, const char *namespace_,
			 const struct shunt_istio_host *host, const char *name,
			 struct shunt_policy *policy, const struct shunt_object **ret_rule)
{
	const struct shunt_object *rule;
	struct shunt_istio_host found;
	struct shunt_node subsets, spec, subset;
	struct shunt_err ignored;
	uint16_t origin;
	size_t pos = 0;

	while ((rule = next_rule(t, namespace_, host, &pos))) {
		bool has_subset;

		if (read_rule(t, rule, &ignored, &found, &subsets) < 0)
			continue;
		shunt_field_spec(rule, &ignored, &spec);
		has_subset = *name && find_subset(&subsets, name, &subset);
		if (!has_subset && (*name || !json_object_get(spec.json, "trafficPolicy")))
			continue;
		if (shunt_policy_origin(policy, rule, &origin) < 0)
			return -ENOMEM;
		shunt_istio_read_policy(&spec, origin, policy);
		if (has_subset)
			shunt_istio_read_policy(&subset, origin, policy);
		*ret_rule = rule;
		return 1;
	}
	return 0;
}

int shunt_istio_variant_policy(struct shunt_translation *t, const char *from,
			       const struct shunt_istio_host *host, const char *subset,
			       struct shunt_policy *policy, const struct shunt_object **ret_rule)
{
	int r = index_rules(t);

	if (!r)
		r = search_policy(t, from, host, subset, policy, ret_rule);
	if (!r && strcmp(from, host->namespace_))
		r = search_policy(t, host->namespace_, host, subset, policy, ret_rule);
	return r;
}
