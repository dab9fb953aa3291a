// SPDX-License-Identifier: Apache-2.0
#include "dialect/traffic_split.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

int shunt_traffic_read_split(const struct shunt_node *spec, const struct shunt_attachment *targets,
			     size_t n, struct shunt_node *ret_refs)
{
	int r = shunt_field_list(spec, "backendRefs", ret_refs);
	size_t n_refs;

	if (r <= 0)
		return r;
	n_refs = shunt_field_length(ret_refs);
	if (!n_refs || n_refs > SHUNT_MAX_VARIANTS)
		return shunt_field_error(ret_refs, -EINVAL, NULL,
					 "must name 1..%d Services, not %zu", SHUNT_MAX_VARIANTS,
					 n_refs);
	for (size_t i = 0; i < n; i++)
		if (strcmp(targets[i].kind, "Service"))
			return shunt_field_error(&targets[i].at, -EINVAL, "kind",
						 "has a split of its own: with backendRefs all "
						 "targets are Services, and no %s is one",
						 targets[i].kind);
	return 1;
}

/* The port that a section names, or 0. */
static uint16_t find_port(const struct shunt_world_service *service, const char *section,
			  uint8_t proto)
{
	char number[8];

	for (size_t i = 0; i < service->n_ports; i++) {
		snprintf(number, sizeof(number), "%u", service->ports[i].port);
		if (service->ports[i].proto == proto &&
		    (!strcmp(service->ports[i].name, section) || !strcmp(number, section)))
			return service->ports[i].port;
	}
	return 0;
}

static bool has_proto(const struct shunt_world_service *service, uint8_t proto)
{
	for (size_t i = 0; i < service->n_ports; i++)
		if (service->ports[i].proto == proto)
			return true;
	return false;
}

/* ---- with backendRefs ------------------------------------------------------------------------ */

static int add_ref(struct shunt_request *request, const struct shunt_node *ref)
{
	static const char *const known[] = { "name", "port", "weight", NULL };
	struct shunt_request_variant *variant;
	const char *name = NULL;
	int64_t weight = 1;
	int r = shunt_field_only(ref, known);

	if (!r)
		r = shunt_field_label(ref, "name", &name);
	if (r >= 0 && !name)
		r = shunt_field_error(ref, -EINVAL, "name", "is required");
	if (r >= 0)
		r = shunt_field_int(ref, "weight", 0, SHUNT_MAX_WEIGHT, &weight);
	if (r >= 0)
		r = shunt_request_add_variant(request, ref, name, weight, request->namespace_, name,
					      &variant);
	if (r >= 0)
		r = shunt_field_port(ref, "port", &variant->port);
	return r < 0 ? r : 0;
}

static int request_split(struct shunt_translation *t, const struct shunt_attachment *target,
			 const struct shunt_node *refs, uint8_t proto, uint16_t port)
{
	struct shunt_request *request;
	struct shunt_node ref;
	int r = shunt_request_add(t, &target->at, target->at.object->namespace_, target->name,
				  proto, &request);

	if (r < 0)
		return r;
	request->port = port;
	for (size_t i = 0; i < shunt_field_length(refs) && !r; i++) {
		r = shunt_field_item_object(refs, i, &ref);
		if (!r)
			r = add_ref(request, &ref);
	}
	return r;
}

/* ---- without --------------------------------------------------------------------------------- */

/* One variant, which is the Service itself, for the ports that nobody splits. */
static int request_whole(struct shunt_translation *t, const struct shunt_attachment *target,
			 uint8_t proto, uint16_t port)
{
	const char *namespace_ = target->at.object->namespace_;
	struct shunt_request_variant *variant;
	struct shunt_request *request;
	int r = shunt_request_add(t, &target->at, namespace_, target->name, proto, &request);

	if (r < 0)
		return r;
	request->is_modest = true;
	request->port = port;
	request->rank += !port; /* one that names the port stands before */
	return shunt_request_add_variant(request, &target->at, target->name, 1, namespace_,
					 target->name, &variant);
}

/* ---- both ------------------------------------------------------------------------------------ */

static int request_ports(struct shunt_translation *t, const struct shunt_attachment *target,
			 const struct shunt_node *refs, const struct shunt_world_service *service)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	bool found = false;
	int r = 0;

	for (size_t i = 0; !r && i < 2; i++) {
		uint16_t port = find_port(service, target->section, protos[i]);

		if (!has_proto(service, protos[i]) || (!port && *target->section))
			continue;
		found = true;
		r = refs ? request_split(t, target, refs, protos[i], port)
			 : request_whole(t, target, protos[i], port);
	}
	/* A variant can have a policy, but is no part of what can be split. */
	if (!r && !found && refs && *target->section)
		r = shunt_field_error(&target->at, -EINVAL, "sectionName",
				      "is no port of Service %s: backendRefs split ports",
				      target->name);
	return r;
}

int shunt_traffic_request(struct shunt_translation *t, const struct shunt_attachment *target,
			  const struct shunt_node *refs)
{
	const struct shunt_world_service *service;
	const char *reason;

	if (strcmp(target->kind, "Service"))
		return 0;
	service = shunt_world_service(&t->world, target->at.object->namespace_, target->name);
	if (!shunt_why_unsplit(service, &reason))
		return request_ports(t, target, refs, service);
	/* The resolver says why it cannot be; without a split the policy is not in force. */
	return refs ? request_split(t, target, refs, IPPROTO_TCP, 0) : 0;
}
