// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "install_lab.h"

static struct shunt_ids *ids;
static struct lab_service web;

static struct shunt_ids *ids_new(void)
{
	const uint32_t limit[SHUNT_N_ID_KINDS] = { 100, 100, 1000, 100, 100 };
	struct shunt_ids *made = shunt_ids_new(limit);

	cr_assert_not_null(made);
	return made;
}

static void setup(void)
{
	ids = ids_new();
	lab_service(&web, "web", 1);
	lab_variant(&web, "blue", 90, 1, 3);
	lab_variant(&web, "green", 10, 2, 3);
}

static void teardown(void)
{
	lab_service_free(&web);
	shunt_ids_free(ids);
}

static struct shunt_image_service *compile(struct shunt_ids *with)
{
	struct shunt_image_service *image = NULL;

	cr_assert_eq(shunt_compile(&web.model, with, &image), 0);
	return image;
}

/* The weights in force of the first port. */
static void assert_weights(uint32_t blue, uint32_t green)
{
	struct shunt_image_service *image = compile(ids);

	cr_assert_eq(image->ports[0].variants[0].weight, blue, "blue %u",
		     image->ports[0].variants[0].weight);
	cr_assert_eq(image->ports[0].variants[1].weight, green, "green %u",
		     image->ports[0].variants[1].weight);
	cr_assert_eq(image->ports[0].threshold, shunt_threshold(blue, green));
	shunt_image_free(image);
}

static void set_unusable(struct shunt_model_variant *variant, enum shunt_backend_state state)
{
	for (size_t i = 0; i < variant->n_backends; i++) {
		variant->backends[i].state = state;
		variant->backends[i].usable = false;
	}
}

Test(compile, ports_share_variants_and_have_services_of_their_own, .init = setup, .fini = teardown)
{
	struct shunt_image_service *image;

	web.ports[web.model.n_ports++] =
		(struct shunt_port){ .name = (char *)"tls", .port = 443, .proto = IPPROTO_TCP };
	image = compile(ids);
	cr_assert_eq(image->n_ports, 2);
	cr_assert_neq(image->ports[0].id, image->ports[1].id);
	cr_assert_eq(image->ports[0].variants[1].id, image->ports[1].variants[1].id);
	cr_assert_eq(image->ports[0].n_backends, 6);
	cr_assert_eq(image->ports[1].n_backends, 0, "they all serve port 80");
	cr_assert_eq(image->ports[0].n_frontends, 1);
	cr_assert_eq(image->ports[1].n_frontends, 0);
	shunt_image_free(image);
}

Test(compile, an_empty_variant_keeps_its_share_by_default, .init = setup, .fini = teardown)
{
	set_unusable(&web.variants[1], SHUNT_BACKEND_NOT_READY);
	assert_weights(90, 10);
}

Test(compile, redistribution_takes_the_share_of_an_empty_variant, .init = setup, .fini = teardown)
{
	web.model.empty_policy = SHUNT_EMPTY_REDISTRIBUTE;
	assert_weights(90, 10);
	set_unusable(&web.variants[1], SHUNT_BACKEND_NOT_READY);
	assert_weights(90, 0);
	set_unusable(&web.variants[0], SHUNT_BACKEND_NOT_READY);
	assert_weights(90, 10);
}

Test(compile, nobody_inherits_from_an_empty_variant_at_weight_zero, .init = setup, .fini = teardown)
{
	web.model.empty_policy = SHUNT_EMPTY_REDISTRIBUTE;
	web.variants[0].weight = 0;
	set_unusable(&web.variants[1], SHUNT_BACKEND_NOT_READY);
	assert_weights(0, 10);
}

Test(compile, only_families_that_clients_come_in_count, .init = setup, .fini = teardown)
{
	web.model.empty_policy = SHUNT_EMPTY_REDISTRIBUTE;
	web.variants[1].n_backends = 0;
	lab_backend(&web.variants[1], "fd00::1");
	assert_weights(90, 0);
	lab_frontend(&web, "fd00:1::1");
	assert_weights(90, 10);
}

Test(compile, a_drained_variant_gets_nothing, .init = setup, .fini = teardown)
{
	struct shunt_image_service *image;

	web.variants[0].drained = true;
	assert_weights(0, 10);
	image = compile(ids);
	cr_assert(image->ports[0].variants[0].drained);
	cr_assert(!image->ports[0].variants[1].drained);
	cr_assert_neq(image->ports[0].variants[0].ring[SHUNT_V4].size, 0, "sessions need it");
	shunt_image_free(image);
}

Test(compile, redistribution_does_not_drain_the_sessions, .init = setup, .fini = teardown)
{
	struct shunt_image_service *image;

	web.model.empty_policy = SHUNT_EMPTY_REDISTRIBUTE;
	set_unusable(&web.variants[1], SHUNT_BACKEND_NOT_READY);
	image = compile(ids);
	cr_assert_eq(image->ports[0].variants[1].weight, 0);
	cr_assert(!image->ports[0].variants[1].drained);
	shunt_image_free(image);
}

Test(compile, a_backend_that_is_not_ready_keeps_its_flows_if_it_had_any, .init = setup,
     .fini = teardown)
{
	struct shunt_image_service *image;

	set_unusable(&web.variants[1], SHUNT_BACKEND_NOT_READY);
	image = compile(ids);
	cr_assert_eq(image->ports[0].n_backends, 3, "never ready: no index");
	shunt_image_free(image);

	for (size_t i = 0; i < 3; i++) {
		web.variants[1].backends[i].usable = true;
		web.variants[1].backends[i].state = SHUNT_BACKEND_READY;
	}
	shunt_image_free(compile(ids));
	set_unusable(&web.variants[1], SHUNT_BACKEND_NOT_READY);
	image = compile(ids);
	cr_assert_eq(image->ports[0].n_backends, 6);
	cr_assert_eq(image->ports[0].backends[5].flags, SHUNT_BE_NO_NEW);
	cr_assert_eq(image->ports[0].variants[1].ring[SHUNT_V4].size, 0);
	shunt_image_free(image);
}

Test(compile, the_last_resort_is_in_the_ring_without_the_flag, .init = setup, .fini = teardown)
{
	struct shunt_image_service *image;
	struct shunt_image_port *port;

	shunt_image_free(compile(ids));
	web.variants[0].backends[1].state = SHUNT_BACKEND_TERMINATING;
	web.variants[0].backends[1].usable = false;
	set_unusable(&web.variants[1], SHUNT_BACKEND_TERMINATING);
	web.variants[1].backends[2].usable = true;
	image = compile(ids);
	port = &image->ports[0];
	cr_assert_eq(port->n_backends, 6);
	for (size_t i = 0; i < 6; i++)
		cr_assert_eq(port->backends[i].flags,
			     i == 1 || i == 3 || i == 4 ? SHUNT_BE_NO_NEW : 0, "%zu", i);
	cr_assert_eq(port->variants[1].ring[SHUNT_V4].size, 1);
	cr_assert_eq(port->variants[1].ring[SHUNT_V4].member[0], port->backends[5].id);
	shunt_image_free(image);
}

Test(compile, order_of_arrival_does_not_reach_the_rings, .init = setup, .fini = teardown)
{
	struct shunt_ids *others = ids_new();
	struct shunt_image_service *image = compile(ids), *other;
	struct shunt_model_backend first = web.variants[0].backends[0];

	/* Other ids, and the same backends in another order. */
	shunt_ids_get(others, SHUNT_ID_BACKEND, "stranger");
	web.variants[0].backends[0] = web.variants[0].backends[2];
	web.variants[0].backends[2] = first;
	other = compile(others);
	for (size_t v = 0; v < 2; v++) {
		const struct shunt_image_ring *a = &image->ports[0].variants[v].ring[SHUNT_V4];
		const struct shunt_image_ring *b = &other->ports[0].variants[v].ring[SHUNT_V4];

		cr_assert_eq(a->size, 503);
		cr_assert_eq(b->size, 503);
		cr_assert_arr_eq(a->entry, b->entry, 503 * sizeof(*a->entry));
	}
	cr_assert_neq(image->digest, other->digest, "the ids differ");
	shunt_image_free(image);
	shunt_image_free(other);
	shunt_ids_free(others);
}

Test(compile, the_digest_tells_every_change, .init = setup, .fini = teardown)
{
	struct shunt_image_service *image = compile(ids);
	uint64_t digest = image->digest;

	shunt_image_free(image);
#define ASSERT_DIGEST_CHANGES(change, undo)                                                        \
	do {                                                                                       \
		change;                                                                            \
		image = compile(ids);                                                              \
		cr_assert_neq(image->digest, digest, #change);                                     \
		shunt_image_free(image);                                                           \
		undo;                                                                              \
		image = compile(ids);                                                              \
		cr_assert_eq(image->digest, digest, #undo);                                        \
		shunt_image_free(image);                                                           \
	} while (0)
	ASSERT_DIGEST_CHANGES(web.variants[0].weight++, web.variants[0].weight--);
	ASSERT_DIGEST_CHANGES(web.model.owned = true, web.model.owned = false);
	ASSERT_DIGEST_CHANGES(web.model.affinity.timeout_s++, web.model.affinity.timeout_s--);
	ASSERT_DIGEST_CHANGES(web.model.affinity.prefix_len_4 = 24,
			      web.model.affinity.prefix_len_4 = 32);
	ASSERT_DIGEST_CHANGES(web.variants[0].drain_deadline_s++,
			      web.variants[0].drain_deadline_s--);
	ASSERT_DIGEST_CHANGES(web.variants[0].n_backends--, web.variants[0].n_backends++);
	ASSERT_DIGEST_CHANGES(web.variants[0].backends[1].weight = 3,
			      web.variants[0].backends[1].weight = 1);
	ASSERT_DIGEST_CHANGES(web.model.n_frontends--, web.model.n_frontends++);
	ASSERT_DIGEST_CHANGES(web.frontends[0].node_port = 30080, web.frontends[0].node_port = 0);
}

Test(compile, names_that_the_maps_cannot_hold_are_refused, .init = setup, .fini = teardown)
{
	struct shunt_image_service *image = NULL;

	free(web.variants[1].name);
	web.variants[1].name = calloc(1, SHUNT_NAME_LEN + 1);
	memset(web.variants[1].name, 'x', SHUNT_NAME_LEN);
	cr_assert_eq(shunt_compile(&web.model, ids, &image), -ENAMETOOLONG);
	cr_assert_null(image);
}

Test(compile, backends_at_weight_zero_are_in_no_ring, .init = setup, .fini = teardown)
{
	struct shunt_image_service *image;

	web.variants[0].backends[0].weight = 0;
	image = compile(ids);
	cr_assert_eq(image->ports[0].variants[0].ring[SHUNT_V4].n_members, 2);
	shunt_image_free(image);
}
