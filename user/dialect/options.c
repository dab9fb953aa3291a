// SPDX-License-Identifier: Apache-2.0
#include "dialect/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/units.h"

#define DEFAULT_DRAIN_S 60

void shunt_dialect_options_init(struct shunt_dialect_options *options)
{
	*options = (struct shunt_dialect_options){ .default_drain_s = DEFAULT_DRAIN_S };
}

void shunt_dialect_options_free(struct shunt_dialect_options *options)
{
	if (!options)
		return;
	free(options->entrypoints);
	free(options->frontend_cidrs);
	free(options->node_port_cidrs);
	shunt_dialect_options_init(options);
}

int shunt_entrypoint_parse(const char *text, struct shunt_entrypoint *ret_entrypoint,
			   struct shunt_err *err)
{
	struct shunt_entrypoint entrypoint = { 0 };
	const char *equals = strchr(text, '=');

	if (!equals || equals == text || equals - text >= (long)sizeof(entrypoint.name))
		return shunt_err_set(err, -EINVAL, "--entrypoint %s: want NAME=ADDR:PORT", text);
	memcpy(entrypoint.name, text, equals - text);
	if (shunt_addr_port_parse(equals + 1, &entrypoint.ip, &entrypoint.port) < 0)
		return shunt_err_set(err, -EINVAL,
				     "--entrypoint %s: want NAME=ADDR:PORT, an IPv6 address in "
				     "brackets, a port from 1 to 65535",
				     text);
	*ret_entrypoint = entrypoint;
	return 0;
}

static int add_entrypoint(struct shunt_dialect_options *options, const char *value,
			  struct shunt_err *err)
{
	struct shunt_entrypoint entrypoint, *slot;
	int r = shunt_entrypoint_parse(value, &entrypoint, err);

	if (r < 0)
		return r;
	slot = shunt_array_add(&options->entrypoints, &options->n_entrypoints, sizeof(*slot));
	if (!slot)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	*slot = entrypoint;
	return 1;
}

static int add_cidr(struct shunt_cidr **cidrs, size_t *n, const char *option, const char *value,
		    struct shunt_err *err)
{
	struct shunt_cidr cidr, *slot;

	if (shunt_cidr_parse(value, &cidr) < 0)
		return shunt_err_set(err, -EINVAL, "--%s %.100s: want ADDRESS/LENGTH or an address",
				     option, value);
	slot = shunt_array_add(cidrs, n, sizeof(*slot));
	if (!slot)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	*slot = cidr;
	return 1;
}

/* "CIDR,CIDR" as kube-proxy's option of this name, or "none". */
static int add_node_port_cidrs(struct shunt_dialect_options *options, const char *value,
			       struct shunt_err *err)
{
	char text[SHUNT_IP_STR_LEN + 8];
	int r = 1;

	options->no_node_ports = !strcmp(value, "none");
	while (!options->no_node_ports && r > 0) {
		size_t len = strcspn(value, ",");

		snprintf(text, sizeof(text), "%.*s", (int)len, value);
		r = add_cidr(&options->node_port_cidrs, &options->n_node_port_cidrs,
			     "nodeport-addresses", text, err);
		if (!value[len])
			break;
		value += len + 1;
	}
	return r;
}

static int set_drain(struct shunt_dialect_options *options, const char *value,
		     struct shunt_err *err)
{
	uint64_t ms;

	if (shunt_duration_parse(value, &ms) < 0)
		return shunt_err_set(err, -EINVAL,
				     "--default-drain %s: want a time such as 60s or 5m", value);
	options->default_drain_s = (ms + 999) / 1000;
	return 1;
}

int shunt_dialect_options_set(struct shunt_dialect_options *options, const char *name,
			      const char *value, struct shunt_err *err)
{
	if (!strcmp(name, "allow-node-endpoints"))
		return options->allow_node_endpoints = true;
	if (!strcmp(name, "allow-cross-namespace"))
		return options->allow_cross_namespace = true;
	if (!strcmp(name, "require-reference-grants"))
		return options->require_reference_grants = true;
	if (!strcmp(name, "entrypoint"))
		return add_entrypoint(options, value, err);
	if (!strcmp(name, "frontend-cidr"))
		return add_cidr(&options->frontend_cidrs, &options->n_frontend_cidrs, name, value,
				err);
	if (!strcmp(name, "nodeport-addresses"))
		return add_node_port_cidrs(options, value, err);
	if (!strcmp(name, "default-drain"))
		return set_drain(options, value, err);
	return 0;
}

void shunt_dialect_options_get(const struct shunt_dialect_options *options,
			       struct shunt_translate_opts *ret_opts)
{
	*ret_opts = (struct shunt_translate_opts){
		.entrypoints = options->entrypoints,
		.n_entrypoints = options->n_entrypoints,
		.frontend_cidrs = options->frontend_cidrs,
		.n_frontend_cidrs = options->n_frontend_cidrs,
		.node_port_cidrs = options->node_port_cidrs,
		.n_node_port_cidrs = options->n_node_port_cidrs,
		.no_node_ports = options->no_node_ports,
		.allow_node_endpoints = options->allow_node_endpoints,
		.allow_cross_namespace = options->allow_cross_namespace,
		.require_reference_grants = options->require_reference_grants,
		.default_drain_s = options->default_drain_s,
	};
}
