// SPDX-License-Identifier: Apache-2.0
#include "dialect/dialect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/grant.h"
#include "dialect/policies.h"

#define GATEWAY	    "gateway.networking.k8s.io"
#define TRAEFIK	    "traefik.io/v1alpha1"
#define TRAEFIK_OLD "traefik.containo.us/v1alpha1"
#define ISTIO	    "networking.istio.io"
#define SHUNT	    "shunt.io/v1alpha1"

/*
 * Every kind that we read. The order is the precedence: where two objects split the same
 * port, the kind that stands higher wins, then the older object.
 */
static const struct {
	const char *api_version;
	const char *kind;
	/* NULL: read by the world or by other translators, splits nothing by itself */
	int (*translate)(struct shunt_translation *t, const struct shunt_object *object);
} kinds[] = {
	{ GATEWAY "/v1", "HTTPRoute", shunt_translate_route },
	{ GATEWAY "/v1beta1", "HTTPRoute", shunt_translate_route },
	{ GATEWAY "/v1", "TCPRoute", shunt_translate_route },
	{ GATEWAY "/v1alpha2", "TCPRoute", shunt_translate_route },
	{ GATEWAY "/v1", "UDPRoute", shunt_translate_route },
	{ GATEWAY "/v1alpha2", "UDPRoute", shunt_translate_route },
	{ TRAEFIK, "TraefikService", shunt_translate_traefik_service },
	{ TRAEFIK_OLD, "TraefikService", shunt_translate_traefik_service },
	{ TRAEFIK, "IngressRoute", shunt_translate_ingress_route },
	{ TRAEFIK_OLD, "IngressRoute", shunt_translate_ingress_route },
	{ TRAEFIK, "IngressRouteTCP", shunt_translate_ingress_route },
	{ TRAEFIK_OLD, "IngressRouteTCP", shunt_translate_ingress_route },
	{ ISTIO "/v1", "VirtualService", shunt_translate_virtual_service },
	{ ISTIO "/v1beta1", "VirtualService", shunt_translate_virtual_service },
	{ ISTIO "/v1alpha3", "VirtualService", shunt_translate_virtual_service },
	{ ISTIO "/v1", "DestinationRule", shunt_translate_destination_rule },
	{ ISTIO "/v1beta1", "DestinationRule", shunt_translate_destination_rule },
	{ ISTIO "/v1alpha3", "DestinationRule", shunt_translate_destination_rule },
	{ TRAEFIK, "Middleware", shunt_translate_middleware },
	{ TRAEFIK_OLD, "Middleware", shunt_translate_middleware },
	{ TRAEFIK, "MiddlewareTCP", shunt_translate_middleware },
	{ TRAEFIK_OLD, "MiddlewareTCP", shunt_translate_middleware },
	{ SHUNT, "TrafficPolicy", shunt_translate_traffic_policy },
	{ GATEWAY "/v1", "ReferenceGrant", shunt_translate_reference_grant },
	{ GATEWAY "/v1beta1", "ReferenceGrant", shunt_translate_reference_grant },
	{ "v1", "Service", NULL },
	{ "v1", "Pod", NULL },
	{ "discovery.k8s.io/v1", "EndpointSlice", NULL },
};

/* Index of @object's row, or -1. */
static int find_kind(const struct shunt_object *object)
{
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		if (!strcmp(kinds[i].kind, object->kind) &&
		    !strcmp(kinds[i].api_version, object->api_version))
			return i;
	return -1;
}

/* Versions of one kind have one rank: that of the kind's first row. */
static unsigned kind_rank(int row)
{
	for (int i = 0; i < row; i++)
		if (!strcmp(kinds[i].kind, kinds[row].kind))
			return i;
	return row;
}

static int report_unknown(struct shunt_translation *t, const struct shunt_object *object)
{
	struct shunt_conditions *conditions = shunt_report(&t->reports, object);

	if (!conditions)
		return -ENOMEM;
	return shunt_conditions_set(conditions, "Accepted", "False", "UnsupportedKind",
				    "%s%sShunt does not read %s of %s; nothing is done with them",
				    object->file, object->file[0] ? ": " : "", object->kind,
				    object->api_version);
}

/* Has an object before the @i-th the same kind? They are sorted by it. */
static bool kind_seen(const struct shunt_objects *objects, size_t i)
{
	return i && !strcmp(objects->items[i - 1]->kind, objects->items[i]->kind) &&
	       !strcmp(objects->items[i - 1]->api_version, objects->items[i]->api_version);
}

static int translate_object(struct shunt_translation *t, const struct shunt_object *object, int row)
{
	size_t n_requests = t->n_requests, n_attachments = t->n_attachments;
	int r;

	t->rank = kind_rank(row);
	memset(&t->err, 0, sizeof(t->err));
	if (!object->name[0])
		r = shunt_object_err(&t->err, -EINVAL, object, NULL, "metadata.name",
				     "is required");
	else
		r = kinds[row].translate(t, object);
	if (r >= 0)
		return 0;

	shunt_requests_drop(t, n_requests);
	shunt_attachments_drop(t, n_attachments);
	return r == -ENOMEM ? r : shunt_report_refuse(&t->reports, object, r, &t->err);
}

static int translate_objects(struct shunt_translation *t, const struct shunt_objects *objects)
{
	int r = 0;

	for (size_t i = 0; i < objects->n && !r; i++) {
		int row = find_kind(objects->items[i]);

		if (shunt_object_check_names(objects->items[i], &t->err) < 0)
			r = shunt_report_refuse(&t->reports, objects->items[i], -EINVAL, &t->err);
		else if (row < 0)
			r = kind_seen(objects, i) ? 0 : report_unknown(t, objects->items[i]);
		else if (kinds[row].translate)
			r = translate_object(t, objects->items[i], row);
	}
	return r;
}

int shunt_translate(const struct shunt_objects *objects, const struct shunt_translate_opts *opts,
		    struct shunt_model *ret_model)
{
	struct shunt_translation t = { .opts = opts };
	struct shunt_model model = { 0 };
	int r;

	r = shunt_world_build(objects, &t.reports, &t.world);
	if (!r)
		r = translate_objects(&t, objects);
	if (!r)
		r = shunt_resolve(&t, &model);
	if (!r) {
		model.reports = TAKE_PTR(t.reports.items);
		model.n_reports = t.reports.n;
		t.reports.n = 0;
		*ret_model = model;
		model = (struct shunt_model){ 0 };
	}

	shunt_requests_drop(&t, 0);
	shunt_attachments_drop(&t, 0);
	free(t.rules);
	shunt_reports_free(&t.reports);
	shunt_world_free(&t.world);
	shunt_model_free(&model);
	return r;
}
