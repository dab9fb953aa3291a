// SPDX-License-Identifier: Apache-2.0
#include "scene.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "policies.h"
#include "script.h"
#include "shunt/choose.h"

#define RING		     7
#define KINDS		     4 /* family * 2 + protocol */
#define AT(map, type, index) ((type *)shim_at(#map, index))

uint32_t rng_draw(struct rng *rng, uint32_t bound)
{
	rng->state ^= rng->state >> 12;
	rng->state ^= rng->state << 25;
	rng->state ^= rng->state >> 27;
	return (uint32_t)(((rng->state * 0x2545f4914f6cdd1dull) >> 33) % bound);
}

struct shunt_addr scene_addr(enum shunt_slot_index family, enum scene_net net, uint32_t n)
{
	struct shunt_addr addr = { 0 };

	if (family == SHUNT_V4) {
		addr.word_be[3] = htonl(10u << 24 | net << 16 | (n + 1));
	} else {
		addr.word_be[0] = htonl(0xfd000000u | net);
		addr.word_be[3] = htonl(n + 1);
	}
	return addr;
}

uint32_t scene_variant(uint32_t service, uint32_t n)
{
	return 1 + service * SCENE_VARIANTS + n;
}

static void settings(struct rng *rng)
{
	struct shunt_settings *s = AT(shunt_settings, struct shunt_settings, 0);
	const int is_patient = rng_draw(rng, 2); /* flows live long: the table fills up */

	*s = (struct shunt_settings){
		.abi_version = SHUNT_ABI_VERSION,
		.epoch = rng_draw(rng, 4),
		.flags = rng_draw(rng, 16) ? 0 : rng_draw(rng, 4),
		.seen_grain_jiffies = rng_draw(rng, 3) * 5,
		.choice_key = { 0x0123456789abcdefull, 0xfedcba9876543210ull },
		.table_key = 0x5bd1e995cafef00dull,
		.flow_set_mask = shim_map("shunt_flow_sets")->n - 1,
		.reply_set_mask = shim_map("shunt_reply_sets")->n - 1,
		.nat_port_first = 61000,
		.nat_port_count = (uint16_t)(1 + rng_draw(rng, 16)),
		.client_limit = is_patient || rng_draw(rng, 2) ? 0 : 1 + rng_draw(rng, 12),
	};
	for (int i = 0; i < SHUNT_N_ANSWERS; i++)
		s->answer_cost[i] = rng_draw(rng, 2) << SHUNT_ANSWER_SHIFT;
	s->answer_burst_jiffies = rng_draw(rng, 50);
	for (int i = 0; i < SHUNT_N_TIMEOUTS; i++)
		s->timeout_jiffies[i] = is_patient ? 1000000 : 1 + rng_draw(rng, 1000);
	/* Past the stack; answers at ingress; external gates. */
	if (rng_draw(rng, 2))
		s->flags |= rng_draw(rng, 8) << 2;
}

static void frontend(struct shunt_addr addr, uint16_t port, uint8_t proto, uint32_t service0,
		     uint32_t service1, uint32_t is_backend)
{
	struct shunt_frontend_key key = { .addr = addr, .port_be = htons(port), .proto = proto };
	struct shunt_frontend value = {
		.check = shunt_frontend_check(&key),
		.service = { service0, service1 },
		.flags = is_backend ? SHUNT_FE_BACKEND : 0,
	};

	shim_update(shim_map("shunt_frontends"), &key, &value, BPF_ANY);
}

static uint32_t service_index(uint32_t kind, uint32_t n)
{
	return 1 + kind * SCENE_FRONTENDS + n;
}

static uint32_t backend_index(uint32_t kind, uint32_t n)
{
	return 1 + kind * SCENE_BACKENDS + n;
}

static void backends(struct rng *rng, uint32_t kind)
{
	for (uint32_t n = 0; n < SCENE_BACKENDS; n++) {
		struct shunt_backend *b =
			AT(shunt_backends, struct shunt_backend, backend_index(kind, n));
		/* One backend in eight is a frontend, too. */
		uint32_t service = rng_draw(rng, 8) ? 0 : service_index(kind, 2);

		*b = (struct shunt_backend){
			.addr = scene_addr(kind / 2, SCENE_BACKEND, n),
			.port_be = htons(SCENE_BACKEND_PORT),
			.proto = kind & 1 ? IPPROTO_UDP : IPPROTO_TCP,
			.family = (uint8_t)(kind / 2),
			.flags = rng_draw(rng, 8) ? 0 : rng_draw(rng, 4),
			.variant = scene_variant(service_index(kind, 1), n / 2),
			.drain_jiffies = (uint32_t)rng_draw(rng, 2000),
		};
		frontend(b->addr, SCENE_BACKEND_PORT, b->proto, service, service, 1);
		AT(shunt_members, struct shunt_member, backend_index(kind, n))->backend =
			backend_index(kind, n);
	}
}

/* A split of all variants; the last may have no backend, or the ring of another family. */
static void split(struct rng *rng, uint32_t kind, uint32_t index)
{
	struct shunt_split *s = AT(shunt_splits, struct shunt_split, index);

	*s = (struct shunt_split){ .service = index,
				   .n_variants = 1 + rng_draw(rng, SCENE_VARIANTS) };
	for (uint32_t v = 0; v < SCENE_VARIANTS; v++) {
		struct shunt_split_variant *variant = &s->variant[v];

		variant->variant = scene_variant(index, v);
		variant->weight = rng_draw(rng, 4);
		variant->seed = shunt_mix64(1000 + variant->variant);
		variant->ring_first[kind / 2] = v * RING;
		variant->ring_size[kind / 2] = v == 2 && rng_draw(rng, 2) ? 0 : RING;
		variant->member_first[kind / 2] = backend_index(kind, 2 * v);
		AT(shunt_variants, struct shunt_variant, variant->variant)->service = index;
		AT(shunt_overlay, struct shunt_overlay, variant->variant)->tripped =
			!rng_draw(rng, 8);
	}
	s->threshold = shunt_threshold(s->variant[0].weight, s->variant[1].weight);
}

static void service(struct rng *rng, uint32_t kind, uint32_t n)
{
	uint32_t index = service_index(kind, n);
	struct shunt_service *s = AT(shunt_services, struct shunt_service, index);
	struct shunt_rule *rule = AT(shunt_rules, struct shunt_rule, index);

	s->seed = shunt_mix64(index);
	for (int slot = 0; slot < 2; slot++) {
		s->slot[slot] = (struct shunt_service_slot){
			.rule_first = index,
			.rule_count = 1,
			.session_jiffies = 1 + rng_draw(rng, 1000),
			.prefix_len = { 24 + rng_draw(rng, 9), 64 + rng_draw(rng, 65) },
		};
		rule->split[slot] = index;
	}
	if (n == 0) {
		s->slot[0].flags = s->slot[1].flags = SHUNT_SVC_OWNED;
	} else if (n == 1) {
		s->slot[0].affinity = s->slot[1].affinity = SHUNT_AFFINITY_SESSION;
	} else if (n == 2) {
		s->slot[1].flags = rng_draw(rng, 4);
		s->slot[1].affinity = rng_draw(rng, 3);
	} else {
		s->slot[0].rule_first = rng_draw(rng, 1000);
		rule->split[1] = rng_draw(rng, 1000);
	}
	split(rng, kind, index);
	frontend(scene_addr(kind / 2, SCENE_FRONTEND, n), SCENE_PORT,
		 kind & 1 ? IPPROTO_UDP : IPPROTO_TCP, index,
		 n == 2 ? rng_draw(rng, 2) * index : index, 0);
}

/* None, plain or external, each of the two; or both uplinks, with routes. */
static void gates(struct rng *rng)
{
	const int are_uplinks = !rng_draw(rng, 4);

	for (int i = 0; i < 2; i++) {
		struct shunt_gate gate = { .flags = rng_draw(rng, 128) };

		for (int m = 0; m < SHUNT_MAX_GATE_MACS; m++)
			memcpy(gate.mac[m], shim_gate_mac, sizeof(shim_gate_mac));
		gate.mac[0][5] = (uint8_t)rng_draw(rng, 4);
		/* To lend, without which nothing goes from uplink to uplink. */
		for (int family = 0; family < SHUNT_N_FAMILIES; family++)
			if (are_uplinks || rng_draw(rng, 4))
				gate.source[family] = scene_addr(family, SCENE_NODE, (uint32_t)i);
		if (are_uplinks)
			gate.flags = SHUNT_GATE_UPLINK | rng_draw(rng, 2) * SHUNT_GATE_XMIT;
		if (are_uplinks || rng_draw(rng, 3))
			shim_update(shim_map("shunt_gates"), &script.gates[i], &gate, BPF_ANY);
	}
	script.routes = !are_uplinks && rng_draw(rng, 2) ? 0 : rng_draw(rng, UINT32_MAX);
}

void scene_make(struct rng *rng)
{
	/* Of their own, so that a seed's scene is the same but for them. */
	struct rng for_policies = { shunt_mix64(rng->state) | 1 };
	uint16_t *ring;

	shim_maps_clear();
	gates(rng);
	settings(rng);
	ring = (void *)AT(shunt_rings, struct shunt_ring_word, 0);
	for (uint32_t i = 0; i < SCENE_VARIANTS * RING; i++)
		ring[i] = (uint16_t)rng_draw(rng, 2);
	for (uint32_t kind = 0; kind < KINDS; kind++) {
		for (uint32_t n = 0; n < SCENE_FRONTENDS; n++)
			service(rng, kind, n);
		backends(rng, kind);
	}
	if (rng_draw(&for_policies, 2))
		policies_make(&for_policies, KINDS * SCENE_FRONTENDS);
}

const struct shim_map *scene_edit(uint8_t what, uint8_t value)
{
	struct shunt_settings *s = AT(shunt_settings, struct shunt_settings, 0);
	uint32_t backend = 1 + value % (KINDS * SCENE_BACKENDS);
	uint32_t service = 1 + value % (KINDS * SCENE_FRONTENDS);

	switch (what % 6) {
	case 0:
		s->epoch++;
		return shim_map("shunt_settings");
	case 1:
		s->flags = value & 0x30 ? 0 : value & 3;
		return shim_map("shunt_settings");
	case 2:
		AT(shunt_backends, struct shunt_backend, backend)->flags = value >> 6;
		return shim_map("shunt_backends");
	case 3:
		AT(shunt_services, struct shunt_service, service)->slot[s->epoch & 1].flags =
			value >> 6;
		return shim_map("shunt_services");
	case 4:
		AT(shunt_overlay, struct shunt_overlay, scene_variant(service, 0))->tripped =
			value >> 7;
		return shim_map("shunt_overlay");
	default:
		AT(shunt_splits, struct shunt_split, service)->variant[value >> 6 & 1].weight =
			value >> 7;
		return shim_map("shunt_splits");
	}
}
