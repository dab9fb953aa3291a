// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "agent/args.h"
#include "base/cleanup.h"

static const char *service;
static json_t *weights;
static json_int_t port;
static bool force;

static const struct agent_arg known[] = {
	{ "service", AGENT_ARG_TEXT, &service, true, 0, 0 },
	{ "weights", AGENT_ARG_OBJECT, &weights, false, 0, 0 },
	{ "port", AGENT_ARG_INTEGER, &port, false, 1, 65535 },
	{ "force", AGENT_ARG_BOOL, &force, false, 0, 0 },
};

static const struct {
	const char *args;
	const char *expect;
} refused[] = {
	{ "{}", "weight: service is required" },
	{ "{\"service\":5}", "weight: service must be a string" },
	{ "{\"service\":null}", "weight: service must be a string" },
	{ "{\"service\":\"a\",\"port\":0}", "weight: port must be an integer from 1 to 65535" },
	{ "{\"service\":\"a\",\"port\":-1}", "weight: port must be an integer from 1 to 65535" },
	{ "{\"service\":\"a\",\"port\":65536}", "weight: port must be an integer from 1 to 65535" },
	{ "{\"service\":\"a\",\"port\":4294967376}",
	  "weight: port must be an integer from 1 to 65535" },
	{ "{\"service\":\"a\",\"port\":1.5}", "weight: port must be an integer from 1 to 65535" },
	{ "{\"service\":\"a\",\"port\":\"80\"}",
	  "weight: port must be an integer from 1 to 65535" },
	{ "{\"service\":\"a\",\"force\":1}", "weight: force must be true or false" },
	{ "{\"service\":\"a\",\"weights\":[1]}", "weight: weights must be an object" },
	{ "{\"service\":\"a\",\"prot\":80}",
	  "weight: unknown argument prot; it takes service, weights, port, force" },
};

Test(agent_args, what_is_refused_is_named)
{
	for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
		struct shunt_err err = { 0 };
		json_t *args = json_loads(refused[i].args, 0, NULL);

		cr_assert(args, "%s", refused[i].args);
		cr_expect_eq(agent_args_read(args, "weight", known, ARRAY_LEN(known), &err),
			     -EINVAL, "%s", refused[i].args);
		cr_expect_str_eq(err.text, refused[i].expect, "%s: %s", refused[i].args, err.text);
		json_decref(args);
	}
}

Test(agent_args, what_is_given_is_read_and_the_rest_left_alone)
{
	json_t *args = json_loads("{\"service\":\"shop/api\",\"port\":65535,"
				  "\"weights\":{\"blue\":1}}",
				  0, NULL);
	struct shunt_err err = { 0 };

	force = true;
	cr_assert_eq(agent_args_read(args, "weight", known, ARRAY_LEN(known), &err), 0, "%s",
		     err.text);
	cr_expect_str_eq(service, "shop/api");
	cr_expect_eq(port, 65535);
	cr_expect_eq(json_object_size(weights), 1);
	cr_expect(force);
	json_decref(args);
}

Test(agent_args, a_command_without_arguments_takes_none)
{
	json_t *args = json_loads("{\"x\":1}", 0, NULL);
	struct shunt_err err = { 0 };

	cr_expect_eq(agent_args_read(NULL, "version", NULL, 0, &err), 0);
	cr_expect_eq(agent_args_read(args, "version", NULL, 0, &err), -EINVAL);
	cr_expect_str_eq(err.text, "version: unknown argument x; it takes none");
	json_decref(args);
}
