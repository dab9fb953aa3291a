// SPDX-License-Identifier: Apache-2.0
#include "dialect/world_decode.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/array.h"
#include "dialect/field.h"

static int decode_port(struct shunt_world_slice *slice, const struct shunt_node *node)
{
	struct shunt_world_port *port;

	port = shunt_array_add(&slice->ports, &slice->n_ports, sizeof(*port));
	return port ? shunt_world_decode_port(node, port) : -ENOMEM;
}

/* Kubernetes' rules for what is not said: ready and serving, not terminating. */
static int decode_conditions(struct shunt_world_endpoint *endpoint, const struct shunt_node *node)
{
	struct shunt_node conditions;
	int r;

	endpoint->ready = true;
	endpoint->serving = true;
	r = shunt_field_object(node, "conditions", &conditions);
	if (r <= 0)
		return r;
	r = shunt_field_bool(&conditions, "ready", &endpoint->ready);
	if (r >= 0)
		r = shunt_field_bool(&conditions, "serving", &endpoint->serving);
	if (r >= 0)
		r = shunt_field_bool(&conditions, "terminating", &endpoint->terminating);
	return r < 0 ? r : 0;
}

static int decode_pod(struct shunt_world_endpoint *endpoint, const struct shunt_node *node)
{
	struct shunt_node target;
	const char *kind = "";
	int r;

	endpoint->pod = "";
	r = shunt_field_object(node, "targetRef", &target);
	if (r <= 0)
		return r;
	r = shunt_field_string(&target, "kind", &kind);
	if (r >= 0 && !strcmp(kind, "Pod"))
		r = shunt_field_string(&target, "name", &endpoint->pod);
	return r < 0 ? r : 0;
}

static int decode_address(struct shunt_world_endpoint *endpoint, const struct shunt_node *node,
			  uint8_t family)
{
	struct shunt_node list, first;
	int r = shunt_field_need(node, "addresses", &list);

	if (r > 0)
		r = shunt_field_list(node, "addresses", &list);
	if (r < 0)
		return r;
	if (!shunt_field_length(&list))
		return shunt_field_error(&list, -EINVAL, NULL, "must not be empty");
	/* More than one would be the same endpoint again: the API says to use the first. */
	first = shunt_field_item(&list, 0);
	r = shunt_field_ip(&first, &endpoint->ip);
	if (!r && endpoint->ip.family != family)
		r = shunt_field_error(&first, -EINVAL, NULL, "%s is not of the slice's addressType",
				      json_string_value(first.json));
	endpoint->json = first.json;
	snprintf(endpoint->path, sizeof(endpoint->path), "%.39s", first.path);
	return r;
}

static int decode_endpoint(struct shunt_world_slice *slice, const struct shunt_node *node,
			   uint8_t family)
{
	struct shunt_world_endpoint *endpoint;
	int r;

	endpoint = shunt_array_add(&slice->endpoints, &slice->n_endpoints, sizeof(*endpoint));
	if (!endpoint)
		return -ENOMEM;
	r = decode_address(endpoint, node, family);
	if (!r)
		r = decode_conditions(endpoint, node);
	return r < 0 ? r : decode_pod(endpoint, node);
}

static int decode_family(const struct shunt_node *root, uint8_t *ret_family)
{
	const char *type = "";
	int r = shunt_field_string(root, "addressType", &type);

	if (!r)
		r = shunt_field_error(root, -EINVAL, "addressType", "is required");
	if (r < 0)
		return r;
	if (!strcmp(type, "FQDN"))
		return shunt_field_error(root, -EOPNOTSUPP, "addressType",
					 "Shunt does not resolve host names");
	if (strcmp(type, "IPv4") && strcmp(type, "IPv6"))
		return shunt_field_error(root, -EINVAL, "addressType",
					 "\"%.20s\" is not IPv4 or IPv6", type);
	*ret_family = !strcmp(type, "IPv6") ? SHUNT_V6 : SHUNT_V4;
	return 0;
}

/* The Service whose slice this is, by label. Return: 1, 0 if none, -EINVAL. */
static int decode_owner(const struct shunt_node *root, const char **ret_service)
{
	struct shunt_node metadata, labels;
	int r = shunt_field_object(root, "metadata", &metadata);

	if (r > 0)
		r = shunt_field_object(&metadata, "labels", &labels);
	if (r > 0)
		r = shunt_field_string(&labels, "kubernetes.io/service-name", ret_service);
	return r;
}

static int decode_list(struct shunt_world_slice *slice, const struct shunt_node *root,
		       const char *key, uint8_t family)
{
	struct shunt_node list, item;
	int r = shunt_field_list(root, key, &list);

	for (size_t i = 0; r > 0 && i < shunt_field_length(&list); i++) {
		r = shunt_field_item_object(&list, i, &item);
		if (!r)
			r = *key == 'p' ? decode_port(slice, &item)
					: decode_endpoint(slice, &item, family);
		if (!r)
			r = 1;
	}
	return r < 0 ? r : 0;
}

int shunt_world_decode_slice(const struct shunt_object *object, struct shunt_err *err,
			     struct shunt_world_slice *slice)
{
	struct shunt_node root = shunt_field_root(object, err);
	uint8_t family = SHUNT_V4;
	int r = decode_owner(&root, &slice->service);

	if (r <= 0)
		return r < 0 ? r : 1;
	r = decode_family(&root, &family);
	if (!r)
		r = decode_list(slice, &root, "ports", family);
	return r < 0 ? r : decode_list(slice, &root, "endpoints", family);
}
