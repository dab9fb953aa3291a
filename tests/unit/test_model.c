// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "base/err.h"
#include "model/model.h"

Test(model, a_condition_of_one_type_is_replaced)
{
	struct shunt_model model = { .n_reports = 1 };
	struct shunt_conditions *conditions;

	model.reports = calloc(1, sizeof(*model.reports));
	conditions = &model.reports[0].conditions;
	cr_expect_eq(shunt_conditions_set(conditions, "A", "True", "Good", "%d of %s", 1, "x"), 0);
	cr_expect_eq(shunt_conditions_set(conditions, "B", "True", "Good", "b"), 0);
	cr_expect_eq(shunt_conditions_set(conditions, "A", "False", "Bad", "now %d", 2), 0);
	cr_assert_eq(conditions->n, 2);
	cr_expect_str_eq(shunt_conditions_get(conditions, "A")->status, "False");
	cr_expect_str_eq(shunt_conditions_get(conditions, "A")->reason, "Bad");
	cr_expect_str_eq(shunt_conditions_get(conditions, "A")->message, "now 2");
	cr_expect_null(shunt_conditions_get(conditions, "C"));
	shunt_model_free(&model);
	cr_expect_eq(model.n_reports, 0);
}

Test(model, a_condition_may_be_set_from_its_own_message)
{
	struct shunt_model model = { .n_reports = 1 };
	struct shunt_conditions *conditions;

	model.reports = calloc(1, sizeof(*model.reports));
	conditions = &model.reports[0].conditions;
	shunt_conditions_set(conditions, "A", "False", "Bad", "first");
	shunt_conditions_set(conditions, "A", "True", conditions->items[0].reason, "not %s",
			     conditions->items[0].message);
	cr_expect_str_eq(conditions->items[0].reason, "Bad");
	cr_expect_str_eq(conditions->items[0].message, "not first");
	shunt_model_free(&model);
}

Test(model, services_are_found_by_name_and_port)
{
	struct shunt_port ports[] = { { .port = 80 }, { .port = 443 }, { .port = 53 } };
	struct shunt_model_variant variant = { .name = "blue" };
	struct shunt_model_service services[] = {
		{ .namespace_ = "n", .name = "a", .ports = ports, .n_ports = 2 },
		{ .namespace_ = "n",
		  .name = "a",
		  .ports = ports + 2,
		  .n_ports = 1,
		  .variants = &variant,
		  .n_variants = 1 },
	};
	struct shunt_model model = { .services = services, .n_services = 2 };

	cr_expect_eq(shunt_model_find(&model, "n", "a", 0), &services[0]);
	cr_expect_eq(shunt_model_find(&model, "n", "a", 443), &services[0]);
	cr_expect_eq(shunt_model_find(&model, "n", "a", 53), &services[1]);
	cr_expect_null(shunt_model_find(&model, "n", "a", 81));
	cr_expect_null(shunt_model_find(&model, "n", "b", 0));
	cr_expect_null(shunt_model_find(&model, "m", "a", 0));
	cr_expect_eq(shunt_model_variant_find(&services[1], "blue"), &variant);
	cr_expect_null(shunt_model_variant_find(&services[1], "green"));
}

Test(model, ports_are_named_only_where_a_name_does_not_tell)
{
	struct shunt_port web = { .port = 80, .proto = IPPROTO_TCP }, many[40];
	struct shunt_port dns[] = { { .port = 53, .proto = IPPROTO_UDP },
				    { .port = 853, .proto = IPPROTO_TCP } };
	struct shunt_model_service services[] = {
		{ .namespace_ = "n", .name = "a", .ports = &web, .n_ports = 1 },
		{ .namespace_ = "n", .name = "b", .ports = &web, .n_ports = 1 },
		{ .namespace_ = "n", .name = "b", .ports = dns, .n_ports = 2 },
		{ .namespace_ = "o", .name = "b", .ports = &web, .n_ports = 1 },
	};
	struct shunt_model model = { .services = services, .n_services = ARRAY_LEN(services) };
	char label[SHUNT_LABEL_LEN];

	cr_expect_str_eq(shunt_model_label(&model, &services[0], label), "n/a");
	cr_expect_str_eq(shunt_model_label(&model, &services[1], label), "n/b:80");
	cr_expect_str_eq(shunt_model_label(&model, &services[2], label), "n/b:53/udp,853");
	cr_expect_str_eq(shunt_model_label(&model, &services[3], label), "o/b");

	for (size_t i = 0; i < ARRAY_LEN(many); i++)
		many[i] = (struct shunt_port){ .port = 60000, .proto = IPPROTO_UDP };
	services[2].ports = many;
	services[2].n_ports = ARRAY_LEN(many);
	shunt_model_split(&model, &services[2], label);
	cr_expect(strlen(label) < SHUNT_SPLIT_LEN && strstr(label, "/udp,..."), "%s", label);
}

Test(model, the_split_of_another_model_is_found_by_port_and_protocol)
{
	struct shunt_port tcp = { .port = 53, .proto = IPPROTO_TCP };
	struct shunt_port udp = { .port = 53, .proto = IPPROTO_UDP };
	struct shunt_model_service services[] = {
		{ .namespace_ = "n", .name = "a", .ports = &tcp, .n_ports = 1 },
		{ .namespace_ = "n", .name = "a", .ports = &udp, .n_ports = 1 },
	};
	struct shunt_model model = { .services = services, .n_services = 2 };
	struct shunt_model_service wanted = services[1];

	cr_expect_eq(shunt_model_find_like(&model, &wanted), &services[1]);
	wanted.name = "b";
	cr_expect_null(shunt_model_find_like(&model, &wanted));
}

Test(model, freeing_nothing_is_fine)
{
	struct shunt_model model = { 0 };

	shunt_model_free(&model);
	shunt_model_free(NULL);
}

Test(array, elements_are_zero_and_stay)
{
	int *items = NULL;
	size_t n = 0;

	for (int i = 0; i < 1000; i++) {
		int *item = shunt_array_add(&items, &n, sizeof(*items));

		cr_assert_not_null(item);
		cr_assert_eq(*item, 0);
		*item = i;
	}
	cr_assert_eq(n, 1000);
	for (int i = 0; i < 1000; i++)
		cr_assert_eq(items[i], i);
	free(items);
}

Test(array, a_shorter_array_can_grow_again)
{
	int *items = NULL;
	size_t n = 0;

	for (int i = 0; i < 9; i++)
		*(int *)shunt_array_add(&items, &n, sizeof(*items)) = i;
	n = 4;
	for (int i = 4; i < 40; i++)
		*(int *)shunt_array_add(&items, &n, sizeof(*items)) = i;
	for (int i = 0; i < 40; i++)
		cr_assert_eq(items[i], i);
	free(items);
}

Test(err, parts_that_are_unknown_are_left_out)
{
	struct shunt_err err;
	char text[1024];

	cr_expect_eq(shunt_err_set(&err, -7, "it is %s", "bad"), -7);
	cr_expect_str_eq(shunt_err_str(&err, text, sizeof(text)), "it is bad");
	strcpy(err.file, "f");
	cr_expect_str_eq(shunt_err_str(&err, text, sizeof(text)), "f: it is bad");
	err.line = 3;
	strcpy(err.field, "spec.x");
	cr_expect_str_eq(shunt_err_str(&err, text, sizeof(text)), "f:3: spec.x: it is bad");
	err.column = 9;
	cr_expect_str_eq(shunt_err_str(&err, text, sizeof(text)), "f:3:9: spec.x: it is bad");
	cr_expect_eq(shunt_err_set(NULL, -7, "nobody listens"), -7);
}
