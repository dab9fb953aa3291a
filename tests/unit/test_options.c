// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/options.h"

Test(options, what_was_set_arrives_at_the_translator)
{
	struct shunt_dialect_options options;
	struct shunt_translate_opts opts;
	struct shunt_err err = { 0 };

	shunt_dialect_options_init(&options);
	cr_expect_eq(shunt_dialect_options_set(&options, "entrypoint", "web=10.0.0.1:80", &err), 1);
	cr_expect_eq(shunt_dialect_options_set(&options, "entrypoint", "web=[fd00::1]:80", &err),
		     1);
	cr_expect_eq(shunt_dialect_options_set(&options, "frontend-cidr", "203.0.113.0/24", &err),
		     1);
	cr_expect_eq(shunt_dialect_options_set(&options, "allow-node-endpoints", NULL, &err), 1);
	cr_expect_eq(shunt_dialect_options_set(&options, "default-drain", "5m", &err), 1);
	cr_expect_eq(shunt_dialect_options_set(&options, "socket", "/x", &err), 0);
	shunt_dialect_options_get(&options, &opts);
	cr_expect_eq(opts.n_entrypoints, 2);
	cr_expect_str_eq(opts.entrypoints[1].name, "web");
	cr_expect_eq(opts.entrypoints[1].ip.family, SHUNT_V6);
	cr_expect_eq(opts.entrypoints[0].port, 80);
	cr_expect_eq(opts.n_frontend_cidrs, 1);
	cr_expect_eq(opts.frontend_cidrs[0].prefix_len, 24);
	cr_expect(opts.allow_node_endpoints);
	cr_expect_not(opts.allow_cross_namespace);
	cr_expect_eq(opts.default_drain_s, 300);
	shunt_dialect_options_free(&options);
	cr_expect_null(options.entrypoints);
}

Test(options, a_wrong_value_is_refused_by_name)
{
	static const struct {
		const char *name, *value;
	} wrong[] = { { "entrypoint", "web" },		{ "entrypoint", "=10.0.0.1:80" },
		      { "entrypoint", "web=10.0.0.1" }, { "frontend-cidr", "10.0.0.0/33" },
		      { "frontend-cidr", "x" },		{ "default-drain", "soon" },
		      { "nodeport-addresses", "all" },	{ "nodeport-addresses", "" } };
	struct shunt_dialect_options options;
	char name[128] = "a", value[160];

	shunt_dialect_options_init(&options);
	for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
		struct shunt_err err = { 0 };

		cr_expect_eq(
			shunt_dialect_options_set(&options, wrong[i].name, wrong[i].value, &err),
			-EINVAL, "%s", wrong[i].value);
		cr_expect(strstr(err.text, wrong[i].name) && strstr(err.text, wrong[i].value), "%s",
			  err.text);
	}
	memset(name, 'n', SHUNT_NAME_LEN);
	snprintf(value, sizeof(value), "%s=10.0.0.1:80", name);
	cr_expect_eq(shunt_dialect_options_set(&options, "entrypoint", value, NULL), -EINVAL);
	shunt_dialect_options_free(&options);
}

Test(options, node_port_networks_come_in_one_list_or_in_several)
{
	struct shunt_dialect_options options;
	struct shunt_translate_opts opts;
	struct shunt_err err = { 0 };

	shunt_dialect_options_init(&options);
	cr_expect_eq(shunt_dialect_options_set(&options, "nodeport-addresses",
					       "192.0.2.0/24,2001:db8::/32", &err),
		     1);
	cr_expect_eq(shunt_dialect_options_set(&options, "nodeport-addresses", "10.0.0.1", &err),
		     1);
	shunt_dialect_options_get(&options, &opts);
	cr_expect_eq(opts.n_node_port_cidrs, 3);
	cr_expect_eq(opts.node_port_cidrs[1].net.family, SHUNT_V6);
	cr_expect_eq(opts.node_port_cidrs[2].prefix_len, 32);
	cr_expect_not(opts.no_node_ports);
	cr_expect_eq(shunt_dialect_options_set(&options, "nodeport-addresses", "none", &err), 1);
	shunt_dialect_options_get(&options, &opts);
	cr_expect(opts.no_node_ports);
	shunt_dialect_options_free(&options);
}
