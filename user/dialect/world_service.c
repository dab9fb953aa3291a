// SPDX-License-Identifier: Apache-2.0
#include "dialect/world_decode.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "dialect/field.h"
#include "dialect/settings.h"
#include "dialect/values.h"

/* A protocol, TCP if absent. Return: 0 or -EINVAL. */
static int decode_proto(const struct shunt_node *node, const char *key, uint8_t *ret_proto)
{
	const char *text = "TCP";
	int r = shunt_field_string(node, key, &text);

	if (r < 0)
		return r;
	if (!strcmp(text, "TCP"))
		*ret_proto = IPPROTO_TCP;
	else if (!strcmp(text, "UDP"))
		*ret_proto = IPPROTO_UDP;
	else if (!strcmp(text, "SCTP"))
		*ret_proto = IPPROTO_SCTP;
	else
		return shunt_field_error(node, -EINVAL, key, "\"%.20s\" is not TCP, UDP or SCTP",
					 text);
	return 0;
}

/* Plaintext HTTP by Kubernetes' appProtocol, or by a name as Istio reads it: "http", "grpc-web". */
static enum shunt_port_http http_of(const char *app_protocol, const char *name)
{
	static const char *const words[] = { "http", "http2", "h2c", "grpc" };
	size_t len;

	if (!strcmp(app_protocol, "kubernetes.io/ws"))
		return SHUNT_PORT_HTTP;
	if (!strcmp(app_protocol, "kubernetes.io/h2c"))
		return SHUNT_PORT_HTTP2;
	len = *app_protocol ? strlen(app_protocol) : strcspn(name, "-");
	for (size_t i = 0; i < ARRAY_LEN(words); i++)
		if (len == strlen(words[i]) &&
		    !strncasecmp(*app_protocol ? app_protocol : name, words[i], len))
			return i ? SHUNT_PORT_HTTP2 : SHUNT_PORT_HTTP;
	return SHUNT_PORT_NO_HTTP;
}

int shunt_world_decode_port(const struct shunt_node *node, struct shunt_world_port *port)
{
	const char *app_protocol = "";
	struct shunt_node ignored;
	int r = shunt_field_need(node, "port", &ignored);

	port->name = "";
	if (r > 0)
		r = shunt_field_port(node, "port", &port->port);
	if (r > 0)
		r = shunt_field_string(node, "name", &port->name);
	if (r >= 0)
		r = shunt_field_string(node, "appProtocol", &app_protocol);
	port->http = http_of(app_protocol, port->name);
	return r < 0 ? r : decode_proto(node, "protocol", &port->proto);
}

/* Adds a field that does not apply to the split to the Service's list of them. */
static void leave_out(struct shunt_world_service *service, const char *field)
{
	size_t len = strlen(service->left_out);

	snprintf(service->left_out + len, sizeof(service->left_out) - len, "%s%s", len ? ", " : "",
		 field);
}

static int check_target_port(const struct shunt_node *port)
{
	struct shunt_node target;
	uint16_t number;
	int r = shunt_field_any(port, "targetPort", &target);

	/* The number itself stands in the EndpointSlices; here it only must be sane. */
	if (r <= 0 || json_is_string(target.json))
		return r < 0 ? r : 0;
	r = shunt_field_port(port, "targetPort", &number);
	return r < 0 ? r : 0;
}

static int decode_port(struct shunt_world_service *service, const struct shunt_node *node)
{
	struct shunt_world_port *port;
	int64_t node_port = 0; /* what an API server writes for none */
	int r;

	port = shunt_array_add(&service->ports, &service->n_ports, sizeof(*port));
	if (!port)
		return -ENOMEM;
	r = shunt_world_decode_port(node, port);
	if (r >= 0)
		r = check_target_port(node);
	if (r >= 0)
		r = shunt_field_int(node, "nodePort", 0, 65535, &node_port);
	if (r < 0)
		return r;
	port->node_port = node_port;
	for (size_t i = 0; i + 1 < service->n_ports; i++)
		if (service->ports[i].port == port->port && service->ports[i].proto == port->proto)
			return shunt_field_error(node, -EINVAL, "port",
						 "port %u is in the list twice", port->port);
	return 0;
}

static int decode_ports(struct shunt_world_service *service, const struct shunt_node *spec)
{
	struct shunt_node list, item;
	int r = shunt_field_list(spec, "ports", &list);

	for (size_t i = 0; r > 0 && i < shunt_field_length(&list); i++) {
		r = shunt_field_item_object(&list, i, &item);
		if (!r)
			r = decode_port(service, &item);
		if (!r)
			r = 1;
	}
	return r < 0 ? r : 0;
}

/* One ClusterIP: not of the host's own kinds, and the only one of its family. */
static int add_cluster_ip(struct shunt_world_service *service, const struct shunt_node *node)
{
	struct shunt_ip ip, *slot;
	int r = shunt_field_ip(node, &ip);

	if (r < 0)
		return r;
	if (shunt_ip_is_loopback(&ip) || shunt_ip_is_link_local(&ip) ||
	    shunt_ip_is_unspecified(&ip) || shunt_ip_is_multicast(&ip))
		return shunt_field_error(node, -EINVAL, NULL, "%s cannot be a cluster address",
					 json_string_value(node->json));
	for (size_t i = 0; i < service->n_cluster_ips; i++) {
		if (shunt_ip_equal(&service->cluster_ips[i], &ip))
			return 0; /* clusterIP repeats clusterIPs[0] */
		if (service->cluster_ips[i].family == ip.family)
			return shunt_field_error(node, -EINVAL, NULL,
						 "a second IPv%d address: one per family",
						 ip.family == SHUNT_V6 ? 6 : 4);
	}
	slot = shunt_array_add(&service->cluster_ips, &service->n_cluster_ips, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	*slot = ip;
	return 0;
}

static int decode_cluster_ips(struct shunt_world_service *service, const struct shunt_node *spec)
{
	struct shunt_node node, list;
	const char *text = "";
	int r;

	r = shunt_field_string(spec, "clusterIP", &text);
	if (r < 0)
		return r;
	if (!strcmp(text, "None")) {
		service->headless = true;
		return 0;
	}
	r = shunt_field_list(spec, "clusterIPs", &list);
	if (r > 0 && json_array_size(list.json) > 2)
		return shunt_field_error(&list, -EINVAL, NULL, "at most two, one per family");
	for (size_t i = 0; r > 0 && i < shunt_field_length(&list); i++) {
		node = shunt_field_item(&list, i);
		r = add_cluster_ip(service, &node);
		if (!r)
			r = 1;
	}
	if (r >= 0 && *text && shunt_field_any(spec, "clusterIP", &node) > 0)
		r = add_cluster_ip(service, &node);
	return r < 0 ? r : 0;
}

static int add_address(struct shunt_world_service *service, const struct shunt_node *node,
		       bool load_balancer)
{
	struct shunt_world_address *slot;
	struct shunt_ip ip;
	int r = shunt_field_ip(node, &ip);

	if (r < 0)
		return r;
	slot = shunt_array_add(&service->addresses, &service->n_addresses, sizeof(*slot));
	if (!slot)
		return -ENOMEM;
	slot->ip = ip;
	slot->json = node->json;
	slot->load_balancer = load_balancer;
	snprintf(slot->path, sizeof(slot->path), "%.63s", node->path);
	return 0;
}

static int decode_external_ips(struct shunt_world_service *service, const struct shunt_node *spec)
{
	struct shunt_node list, node;
	int r = shunt_field_list(spec, "externalIPs", &list);

	for (size_t i = 0; r > 0 && i < shunt_field_length(&list); i++) {
		node = shunt_field_item(&list, i);
		r = add_address(service, &node, false);
		if (!r)
			r = 1;
	}
	return r < 0 ? r : 0;
}

/* One entry of status.loadBalancer.ingress: a host name or ipMode Proxy is not for us. */
static int decode_ingress(struct shunt_world_service *service, const struct shunt_node *entry)
{
	const char *mode = "VIP", *text = "";
	struct shunt_node ip;
	int r = shunt_field_string(entry, "ipMode", &mode);

	if (r >= 0)
		r = shunt_field_string(entry, "ip", &text);
	if (r < 0 || !*text || !strcmp(mode, "Proxy"))
		return r < 0 ? r : 0;
	shunt_field_any(entry, "ip", &ip);
	return add_address(service, &ip, true);
}

static int decode_status(struct shunt_world_service *service, const struct shunt_node *root)
{
	struct shunt_node status, balancer, list, item;
	int r = shunt_field_object(root, "status", &status);

	if (r > 0)
		r = shunt_field_object(&status, "loadBalancer", &balancer);
	if (r > 0)
		r = shunt_field_list(&balancer, "ingress", &list);
	for (size_t i = 0; r > 0 && i < shunt_field_length(&list); i++) {
		r = shunt_field_item_object(&list, i, &item);
		if (!r)
			r = decode_ingress(service, &item);
		if (!r)
			r = 1;
	}
	return r < 0 ? r : 0;
}

static int decode_affinity(struct shunt_world_service *service, const struct shunt_node *spec)
{
	struct shunt_node config, client;
	const char *affinity = "None";
	int64_t timeout_s = 10800;
	int r = shunt_field_string(spec, "sessionAffinity", &affinity);

	if (r < 0)
		return r;
	if (strcmp(affinity, "None") && strcmp(affinity, "ClientIP"))
		return shunt_field_error(spec, -EINVAL, "sessionAffinity",
					 "\"%.40s\" is not None or ClientIP", affinity);
	r = shunt_field_object(spec, "sessionAffinityConfig", &config);
	if (r > 0)
		r = shunt_field_object(&config, "clientIP", &client);
	if (r > 0)
		r = shunt_field_int(&client, "timeoutSeconds", 1, 86400, &timeout_s);
	service->session_affinity = !strcmp(affinity, "ClientIP");
	service->session_timeout_s = timeout_s;
	return r < 0 ? r : 0;
}

/* Reads "Local" or "Cluster". */
static int decode_policy(const struct shunt_node *spec, const char *key, bool *ret_local)
{
	const char *policy = "Cluster";
	int r = shunt_field_string(spec, key, &policy);

	if (r < 0)
		return r;
	if (strcmp(policy, "Cluster") && strcmp(policy, "Local"))
		return shunt_field_error(spec, -EINVAL, key, "\"%.40s\" is not Cluster or Local",
					 policy);
	*ret_local = !strcmp(policy, "Local");
	return 0;
}

static int decode_type(struct shunt_world_service *service, const struct shunt_node *spec)
{
	static const char *const types[] = { "ClusterIP", "NodePort", "LoadBalancer",
					     "ExternalName" };
	const char *type = types[0];
	int r = shunt_field_string(spec, "type", &type);
	bool known = false;

	for (size_t i = 0; i < ARRAY_LEN(types); i++)
		known |= !strcmp(types[i], type);
	if (r >= 0 && !known)
		r = shunt_field_error(spec, -EINVAL, "type", "\"%.40s\" is no type of a Service",
				      type);
	service->external_name = !strcmp(type, "ExternalName");
	service->has_node_ports = !strcmp(type, "NodePort") || !strcmp(type, "LoadBalancer");
	return r < 0 ? r : 0;
}

/* Fields of spec that change nothing here, for others read them or write them. */
static const char *const plain_fields[] = {
	"type",
	"selector",
	"ports",
	"clusterIP",
	"clusterIPs",
	"externalIPs",
	"sessionAffinity",
	"sessionAffinityConfig",
	"internalTrafficPolicy",
	"externalTrafficPolicy",
	"loadBalancerSourceRanges",
	"ipFamilies",
	"ipFamilyPolicy",
	"publishNotReadyAddresses",
	"loadBalancerIP",
	"loadBalancerClass",
	"allocateLoadBalancerNodePorts",
	"externalName",
	NULL,
};

static void list_left_out(struct shunt_world_service *service, const struct shunt_node *spec)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)spec->json, key, value) {
		const char *const *name = plain_fields;
		char path[80];

		while (*name && strcmp(*name, key))
			name++;
		if (*name || json_is_null(value))
			continue;
		snprintf(path, sizeof(path), "spec.%.60s", key);
		leave_out(service, path);
	}
}

static int decode_source_ranges(struct shunt_world_service *service, const struct shunt_node *spec)
{
	struct shunt_node list;
	int r = shunt_field_list(spec, "loadBalancerSourceRanges", &list);

	if (r <= 0 || !shunt_field_length(&list))
		return r < 0 ? r : 0;
	r = shunt_field_cidrs(spec, "loadBalancerSourceRanges", &service->source_ranges);
	return r < 0 ? r : 0;
}

int shunt_world_decode_service(const struct shunt_object *object, struct shunt_err *err,
			       struct shunt_world_service *service)
{
	struct shunt_node root = shunt_field_root(object, err), spec;
	int r = shunt_field_need(&root, "spec", &spec);

	if (r > 0)
		r = shunt_field_object(&root, "spec", &spec);
	if (r > 0)
		r = decode_type(service, &spec);
	if (r >= 0)
		r = decode_ports(service, &spec);
	if (r >= 0)
		r = decode_cluster_ips(service, &spec);
	if (r >= 0)
		r = decode_external_ips(service, &spec);
	if (r >= 0)
		r = decode_status(service, &root);
	if (r >= 0)
		r = decode_affinity(service, &spec);
	if (r >= 0)
		r = decode_policy(&spec, "internalTrafficPolicy", &service->internal_local);
	if (r >= 0)
		r = decode_policy(&spec, "externalTrafficPolicy", &service->external_local);
	if (r >= 0)
		r = decode_source_ranges(service, &spec);
	if (r < 0)
		return r;
	list_left_out(service, &spec);
	return shunt_annotations_check(object, err);
}
