/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DIALECT_OPTIONS_H
#define SHUNT_DIALECT_OPTIONS_H

#include "base/err.h"
#include "dialect/dialect.h"

/*
 * The command line options of translation, the same for `shuntd` and `shunt check`.
 * X(name, value, help): value NULL means a switch.
 */
#define SHUNT_TRANSLATE_OPTIONS(X)                                                                 \
	X("entrypoint", "NAME=ADDR:PORT", "address of a Traefik entry point; may be repeated")     \
	X("frontend-cidr", "CIDR",                                                                 \
	  "external and load-balancer addresses only inside of it; may be repeated")               \
	X("nodeport-addresses", "CIDR[,CIDR...]|none",                                             \
	  "NodePorts only at this node's addresses inside of these (default: at all but "          \
	  "loopback); may be repeated")                                                            \
	X("allow-node-endpoints", NULL,                                                            \
	  "take loopback, link-local and node addresses as endpoints")                             \
	X("allow-cross-namespace", NULL, "let a route name another namespace's hosts")             \
	X("require-reference-grants", NULL,                                                        \
	  "reject a backendRef into another namespace without a ReferenceGrant there")             \
	X("default-drain", "TIME", "drain deadline of removed backends and sessions (60s)")

/* What the options add up to. Zeroed by shunt_dialect_options_init(), emptied by _free(). */
struct shunt_dialect_options {
	struct shunt_entrypoint *entrypoints;
	size_t n_entrypoints;
	struct shunt_cidr *frontend_cidrs;
	size_t n_frontend_cidrs;
	struct shunt_cidr *node_port_cidrs;
	size_t n_node_port_cidrs;
	bool no_node_ports;
	bool allow_node_endpoints;
	bool allow_cross_namespace;
	bool require_reference_grants;
	uint32_t default_drain_s;
};

void shunt_dialect_options_init(struct shunt_dialect_options *options);
void shunt_dialect_options_free(struct shunt_dialect_options *options); /* contents; NULL is fine */

/**
 * shunt_dialect_options_set - take one option
 * @name:  without dashes
 * @value: borrowed; NULL for a switch
 *
 * Return: 1: taken; 0: @name is none of ours; -EINVAL with @err; -ENOMEM.
 */
int shunt_dialect_options_set(struct shunt_dialect_options *options, const char *name,
			      const char *value, struct shunt_err *err);

/* Fills @ret_opts, which borrows from @options, but for the addresses of this node. */
void shunt_dialect_options_get(const struct shunt_dialect_options *options,
			       struct shunt_translate_opts *ret_opts);

/* Parses NAME=ADDR:PORT. Return: 0, or -EINVAL with @err. */
int shunt_entrypoint_parse(const char *text, struct shunt_entrypoint *ret_entrypoint,
			   struct shunt_err *err);

#endif
