// SPDX-License-Identifier: Apache-2.0
/* What an installer would write, written by hand; and packets between the usual addresses. */
#include "lab.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

#include "shunt/choose.h"

/* ---- addresses ---------------------------------------------------------------------------------
 */

static struct shunt_addr address(enum shunt_slot_index family, uint32_t net, uint32_t n)
{
	struct shunt_addr addr = { 0 };

	if (family == SHUNT_V4) {
		addr.word_be[3] = htonl(10u << 24 | net << 16 | n);
		return addr;
	}
	addr.word_be[0] = htonl(0xfd000000 | net);
	addr.word_be[1] = htonl(n * 0x01000193u);
	addr.word_be[2] = htonl(n ^ 0x5a5a0000u);
	addr.word_be[3] = htonl(n);
	return addr;
}

struct shunt_addr lab_client_addr(enum shunt_slot_index family, uint32_t n)
{
	return address(family, 1, n);
}

struct shunt_addr lab_frontend_addr(enum shunt_slot_index family, uint32_t n)
{
	return address(family, 96, n);
}

struct shunt_addr lab_backend_addr(enum shunt_slot_index family, uint32_t n)
{
	return address(family, 2, n);
}

uint32_t lab_backend_of(const struct lab *lab, const struct shunt_addr *addr)
{
	for (uint32_t n = 1; n < 256; n++) {
		struct shunt_addr candidate = lab_backend_addr(lab->kind->family, n);

		if (!memcmp(&candidate, addr, sizeof(candidate)))
			return n;
	}
	return 0;
}

/* ---- records
 * ------------------------------------------------------------------------------------- */

struct shunt_settings *lab_settings(struct lab *lab)
{
	return SHUNT_DP_AT(lab->maps.settings, struct shunt_settings, 0);
}

void lab_frontend(struct lab *lab, struct shunt_addr addr, uint16_t port, uint32_t service0,
		  uint32_t service1, uint32_t is_backend)
{
	struct shunt_frontend_key key = {
		.addr = addr,
		.port_be = htons(port),
		.proto = lab->kind->proto,
	};
	struct shunt_frontend value = {
		.check = shunt_frontend_check(&key),
		.service = { service0, service1 },
		.flags = is_backend ? SHUNT_FE_BACKEND : 0,
	};

	cr_assert_eq(bpf_map_update_elem(lab->maps.frontends_fd, &key, &value, BPF_ANY), 0);
}

struct shunt_service_slot *lab_slot(struct lab *lab, uint32_t service, int slot)
{
	return &SHUNT_DP_AT(lab->maps.services, struct shunt_service, service)->slot[slot];
}

void lab_service_flags(struct lab *lab, uint32_t service, uint32_t flags)
{
	lab_slot(lab, service, 0)->flags = flags;
	lab_slot(lab, service, 1)->flags = flags;
}

struct shunt_split *lab_split(struct lab *lab, uint32_t split)
{
	return SHUNT_DP_AT(lab->maps.splits, struct shunt_split, split);
}

void lab_service(struct lab *lab, uint32_t service, uint32_t n_variants)
{
	struct shunt_service *record =
		SHUNT_DP_AT(lab->maps.services, struct shunt_service, service);
	struct shunt_rule *rule = SHUNT_DP_AT(lab->maps.rules, struct shunt_rule, service);

	record->seed = shunt_mix64(service);
	for (int slot = 0; slot < 2; slot++) {
		record->slot[slot] = (struct shunt_service_slot){
			.rule_first = service,
			.rule_count = 1,
			.session_jiffies = LAB_LONG,
			.prefix_len = { 32, 128 },
		};
		rule->split[slot] = service;
	}
	*lab_split(lab, service) =
		(struct shunt_split){ .service = service, .n_variants = n_variants };
	lab_frontend(lab, lab_frontend_addr(lab->kind->family, service), LAB_PORT, service, service,
		     0);
}

void lab_variant(struct lab *lab, uint32_t split, uint32_t position, uint32_t variant)
{
	lab_split(lab, split)->variant[position] = (struct shunt_split_variant){
		.variant = variant,
		.weight = 1,
		.seed = shunt_mix64(1000 + variant),
	};
	SHUNT_DP_AT(lab->maps.variants, struct shunt_variant, variant)->service = split;
}

void lab_weights(struct lab *lab, uint32_t split, const uint32_t *weights, uint32_t n)
{
	struct shunt_split *record = lab_split(lab, split);

	for (uint32_t i = 0; i < n; i++)
		record->variant[i].weight = weights[i];
	record->threshold = n == 2 ? shunt_threshold(weights[0], weights[1]) : 0;
}

struct shunt_backend *lab_backend(struct lab *lab, uint32_t backend, uint32_t variant)
{
	struct shunt_backend *record =
		SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, backend);

	*record = (struct shunt_backend){
		.addr = lab_backend_addr(lab->kind->family, backend),
		.port_be = htons(LAB_BACKEND_PORT),
		.proto = lab->kind->proto,
		.family = (uint8_t)lab->kind->family,
		.variant = variant,
	};
	lab_frontend(lab, record->addr, LAB_BACKEND_PORT, 0, 0, 1);
	return record;
}

void lab_ring(struct lab *lab, uint32_t split, uint32_t position, uint32_t first, uint32_t n,
	      uint32_t size)
{
	struct shunt_split_variant *variant = &lab_split(lab, split)->variant[position];
	uint16_t *entries = lab->maps.rings.base;
	uint32_t *members;

	cr_assert_leq(lab->rings_used + size, 4 * lab->maps.rings.n);
	cr_assert_leq(lab->members_used + n, lab->maps.members.n);
	variant->ring_first[lab->kind->family] = lab->rings_used;
	variant->ring_size[lab->kind->family] = size;
	variant->member_first[lab->kind->family] = lab->members_used;
	for (uint32_t i = 0; i < size; i++)
		entries[lab->rings_used + i] = (uint16_t)(i % n);
	for (uint32_t i = 0; i < n; i++) {
		members = SHUNT_DP_AT(lab->maps.members, uint32_t, lab->members_used + i);
		*members = first + i;
	}
	lab->rings_used += size;
	lab->members_used += n;
}

void lab_scene(struct lab *lab, uint32_t n_variants, uint32_t n_backends)
{
	uint32_t weights[SHUNT_MAX_VARIANTS];
	uint32_t backend = 1;

	lab_service(lab, 1, n_variants);
	for (uint32_t v = 0; v < n_variants; v++) {
		weights[v] = 1;
		lab_variant(lab, 1, v, v + 1);
		if (n_backends)
			lab_ring(lab, 1, v, backend, n_backends, n_backends == 1 ? 1 : 101);
		for (uint32_t b = 0; b < n_backends; b++)
			lab_backend(lab, backend++, v + 1);
	}
	lab_weights(lab, 1, weights, n_variants);
}

/* ---- packets
 * ------------------------------------------------------------------------------------- */

struct lab_packet lab_from_client(const struct lab *lab, uint32_t client, uint16_t port,
				  uint32_t frontend)
{
	const struct lab_kind *k = lab->kind;
	struct lab_packet packet = {
		.family = k->family,
		.proto = k->proto,
		.src = lab_client_addr(k->family, client),
		.dst = lab_frontend_addr(k->family, frontend),
		.sport = port,
		.dport = LAB_PORT,
		.ttl = 61,
	};

	if (k->proto == IPPROTO_TCP) {
		packet.tcp_flags = TH_SYN_;
		packet.seq = 1000;
	} else {
		packet.payload = 10;
	}
	return packet;
}

struct lab_packet lab_answer(const struct lab_packet *packet)
{
	struct lab_packet answer = {
		.family = packet->family,
		.proto = packet->proto,
		.src = packet->dst,
		.dst = packet->src,
		.sport = packet->dport,
		.dport = packet->sport,
		.ttl = 57,
	};

	if (packet->proto == IPPROTO_TCP) {
		answer.tcp_flags = TH_SYN_ | TH_ACK_;
		answer.seq = 5000;
		answer.ack = packet->seq + 1;
	} else {
		answer.payload = 10;
	}
	return answer;
}

struct lab_packet lab_flags(struct lab_packet packet, uint8_t flags, uint32_t seq, uint32_t ack)
{
	if (packet.proto == IPPROTO_TCP) {
		packet.tcp_flags = flags;
		packet.seq = seq;
		packet.ack = ack;
	}
	return packet;
}

struct lab_packet lab_connect(struct lab *lab, const struct lab_packet *from_client)
{
	struct lab_result at_backend = lab_ingress(lab, from_client), back;
	struct lab_packet answer = lab_answer(&at_backend.packet), ack;

	cr_assert_eq(at_backend.reason, SHUNT_R_FORWARDED, "%s: the first packet: %s", lab_what,
		     lab_reason_name(at_backend.reason));
	back = lab_egress(lab, &answer);
	cr_assert_eq(back.reason, SHUNT_R_RESTORED, "%s: the answer: %s", lab_what,
		     lab_reason_name(back.reason));
	if (from_client->proto == IPPROTO_TCP) {
		ack = lab_flags(*from_client, TH_ACK_, 1001, 5001);
		cr_assert_eq(lab_ingress(lab, &ack).reason, SHUNT_R_FORWARDED);
	} else {
		cr_assert_eq(lab_ingress(lab, from_client).reason, SHUNT_R_FORWARDED);
	}
	return at_backend.packet;
}
