// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/images.h"
#include "base/cleanup.h"
#include "small_model.h"

static struct shunt_model model;
static struct agent_images old, images;
static struct shunt_ids *ids;

static void setup(void)
{
	const uint32_t limits[SHUNT_N_ID_KINDS] = { 64, 64, 64, 64, 64 };
	const struct small_variant variants[] = { { "blue", 90, 3, 0 }, { "green", 10, 2, 1 } };
	char name[16];

	ids = shunt_ids_new(limits);
	for (unsigned i = 0; i < 5; i++) {
		snprintf(name, sizeof(name), "web%u", i);
		small_service(&model, name, 80, 1, variants, ARRAY_LEN(variants));
	}
}

static void teardown(void)
{
	agent_images_free(&old);
	agent_images_free(&images);
	shunt_model_free(&model);
	shunt_ids_free(ids);
}

TestSuite(images, .init = setup, .fini = teardown);

/* The next images; what was the newest becomes the old. */
static void build(void)
{
	agent_images_free(&old);
	old = images;
	images = (struct agent_images){ 0 };
	cr_assert_eq(agent_images_build(&model, ids, &old, &images, NULL), 0);
}

Test(images, the_first_build_compiles_everything_and_the_second_nothing)
{
	build();
	cr_assert_eq(images.n, 5);
	cr_assert_eq(images.compiled, 5);
	build();
	cr_assert_eq(images.compiled, 0);
	for (size_t i = 0; i < 5; i++)
		cr_assert_eq(images.items[i], old.items[i]);
}

Test(images, one_change_compiles_one_service)
{
	build();
	model.services[3].variants[0].weight = 80;
	build();
	cr_assert_eq(images.compiled, 1);
	cr_assert_neq(images.items[3], old.items[3]);
	cr_assert_eq(images.items[3]->image->ports[0].variants[0].weight, 80);
	cr_assert_eq(images.items[2], old.items[2]);
}

Test(images, images_outlive_the_set_that_compiled_them)
{
	build();
	build();
	agent_images_free(&old);
	cr_assert_str_eq(images.items[0]->image->name, "web0");
	cr_assert_eq(images.items[0]->refs, 1);
}

Test(images, a_full_id_space_names_the_option_and_leaves_the_result_alone)
{
	const uint32_t limits[SHUNT_N_ID_KINDS] = { 64, 64, 8, 64, 64 };
	struct shunt_ids *few = shunt_ids_new(limits);
	struct agent_images none = { 0 };
	struct shunt_err err = { 0 };

	cr_assert_eq(agent_images_build(&model, few, &none, &images, &err), -ENOSPC);
	cr_assert(strstr(err.text, "--max-backends"), "%s", err.text);
	cr_assert_eq(images.n, 0);
	shunt_ids_free(few);
}

/* ---- the digest: whatever the compiler reads must move it ---------------------------------- */

#define MOVES(what)                                                                                \
	do {                                                                                       \
		uint64_t before_ = agent_service_digest(s);                                        \
		what;                                                                              \
		cr_expect_neq(agent_service_digest(s), before_, #what);                            \
	} while (0)

#define KEEPS(what)                                                                                \
	do {                                                                                       \
		uint64_t before_ = agent_service_digest(s);                                        \
		what;                                                                              \
		cr_expect_eq(agent_service_digest(s), before_, #what);                             \
	} while (0)

Test(images, the_digest_sees_all_that_is_compiled)
{
	struct shunt_model_service *s = &model.services[0];
	struct shunt_model_variant *v = &s->variants[0];

	MOVES(s->name[0] = 'x');
	MOVES(s->namespace_[0] = 'x');
	MOVES(s->ports[0].port++);
	MOVES(s->ports[0].proto = IPPROTO_UDP);
	MOVES(s->ports[0].http = SHUNT_PORT_HTTP2 - s->ports[0].http);
	MOVES(s->owned = !s->owned);
	MOVES(s->empty_policy = SHUNT_EMPTY_REDISTRIBUTE);
	MOVES(s->affinity.kind = SHUNT_AFFINITY_SESSION);
	MOVES(s->affinity.timeout_s++);
	MOVES(s->affinity.prefix_len_4--);
	MOVES(s->affinity.prefix_len_6--);
	MOVES(v->name[0] = 'x');
	MOVES(v->weight++);
	MOVES(v->group = SHUNT_GROUP_NOT_FOUND);
	MOVES(v->drained = true);
	MOVES(v->drain_deadline_s++);
	MOVES(v->backends[0].ip.addr.word_be[3]++);
	MOVES(v->backends[0].ip.family = SHUNT_V6);
	MOVES(v->backends[0].port++);
	MOVES(v->backends[0].port_index++);
	MOVES(v->backends[0].weight++);
	MOVES(v->backends[0].state = SHUNT_BACKEND_TERMINATING);
	MOVES(v->backends[0].usable = !v->backends[0].usable);
	s->frontends = calloc(1, sizeof(*s->frontends));
	cr_assert(s->frontends);
	MOVES(s->n_frontends = 1);
	MOVES(s->frontends[0].ip.addr.word_be[3]++);
	MOVES(s->frontends[0].node_port++);
	MOVES(s->frontends[0].load_balancer = true);
}

Test(images, the_digest_does_not_see_what_is_for_people)
{
	struct shunt_model_service *s = &model.services[0];

	KEEPS(s->source.line++);
	KEEPS(s->source.digest++);
	KEEPS(s->variants[0].manifest_weight++);
	KEEPS(shunt_conditions_set(&s->conditions, "Accepted", "True", "Accepted", "yes"));
}
