// SPDX-License-Identifier: Apache-2.0
#include "dialect/request.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "model/policy.h"

static int copy_name(char *buf, const struct shunt_node *at, const char *name)
{
	size_t len = strlen(name);

	if (!len || len >= SHUNT_NAME_LEN)
		return shunt_field_error(at, -EINVAL, NULL,
					 "the name \"%.80s\" has not 1..%d bytes", name,
					 SHUNT_NAME_LEN - 1);
	memcpy(buf, name, len + 1);
	return 0;
}

static const char *creation_time(const struct shunt_object *object)
{
	const json_t *metadata = json_object_get(object->json, "metadata");
	const char *created = json_string_value(json_object_get(metadata, "creationTimestamp"));

	return created ? created : "";
}

static void request_free(struct shunt_request *request)
{
	free(request->addrs);
	shunt_policy_free(request->policy);
	free(request->variants);
	free(request);
}

int shunt_request_add(struct shunt_translation *t, const struct shunt_node *at,
		      const char *namespace_, const char *name, uint8_t proto,
		      struct shunt_request **ret_request)
{
	struct shunt_request *request, **slot;
	int r;

	request = calloc(1, sizeof(*request));
	if (!request)
		return -ENOMEM;
	request->object = at->object;
	request->at = *at;
	request->proto = proto;
	request->rank = t->rank;
	request->order = t->n_requests;
	request->created = creation_time(at->object);
	r = copy_name(request->namespace_, at, namespace_);
	if (!r)
		r = copy_name(request->name, at, name);
	if (r < 0) {
		free(request);
		return r;
	}

	slot = shunt_array_add(&t->requests, &t->n_requests, sizeof(*slot));
	if (!slot) {
		free(request);
		return -ENOMEM;
	}
	*slot = request;
	*ret_request = request;
	return 0;
}

int shunt_request_add_variant(struct shunt_request *request, const struct shunt_node *at,
			      const char *name, uint32_t weight, const char *namespace_,
			      const char *service, struct shunt_request_variant **ret_variant)
{
	struct shunt_request_variant *variant, named = { .weight = weight, .at = *at };
	int r;

	for (size_t i = 0; i < request->n_variants; i++)
		if (!strcmp(request->variants[i].name, name))
			return shunt_field_error(at, -EINVAL, NULL,
						 "\"%s\" is already named by %s: name it once",
						 name, request->variants[i].at.path);
	if (request->n_variants == SHUNT_MAX_VARIANTS)
		return shunt_field_error(at, -EINVAL, NULL, "at most %d variants can be split",
					 SHUNT_MAX_VARIANTS);

	r = copy_name(named.name, at, name);
	if (!r)
		r = copy_name(named.namespace_, at, namespace_);
	if (!r)
		r = copy_name(named.service, at, service);
	if (r < 0)
		return r;

	variant = shunt_array_add(&request->variants, &request->n_variants, sizeof(*variant));
	if (!variant)
		return -ENOMEM;
	*variant = named;
	*ret_variant = variant;
	return 0;
}

int shunt_request_add_addr(struct shunt_request *request, const struct shunt_ip *ip, uint16_t port)
{
	struct shunt_request_addr *addr;

	addr = shunt_array_add(&request->addrs, &request->n_addrs, sizeof(*addr));
	if (!addr)
		return -ENOMEM;
	addr->ip = *ip;
	addr->port = port;
	return 0;
}

void shunt_requests_drop(struct shunt_translation *t, size_t from)
{
	for (size_t i = from; i < t->n_requests; i++)
		request_free(t->requests[i]);
	/*
	 * The array's room follows from n_requests; a lower n only means that a later addition
	 * reallocates to the size it has.
	 */
	t->n_requests = from;
	if (!from) {
		free(t->requests);
		t->requests = NULL;
	}
}
