// SPDX-License-Identifier: Apache-2.0
#include "lab.h"

#include <bpf/bpf.h>

TestSuite(affinity, .timeout = 60);

static void affinity(struct lab *lab, enum shunt_affinity affinity, uint8_t v4, uint8_t v6)
{
	for (int slot = 0; slot < 2; slot++) {
		struct shunt_service_slot *s = lab_slot(lab, 1, slot);

		s->affinity = affinity;
		s->prefix_len[SHUNT_V4] = v4;
		s->prefix_len[SHUNT_V6] = v6;
	}
}

/* The backend that a new connection of @client from @port gets; 0: none. */
static uint32_t backend_of(struct lab *lab, uint32_t client, uint16_t port)
{
	struct lab_packet packet = lab_from_client(lab, client, port, 1);
	struct lab_result result = lab_ingress(lab, &packet);

	return result.reason == SHUNT_R_FORWARDED ? lab_backend_of(lab, &result.packet.dst) : 0;
}

/* The same, once the connection stands. */
static uint32_t connected_to(struct lab *lab, uint32_t client, uint16_t port)
{
	struct lab_packet packet = lab_from_client(lab, client, port, 1);

	packet = lab_connect(lab, &packet);
	return lab_backend_of(lab, &packet.dst);
}

static struct shunt_session_key session_key(const struct lab *lab, uint32_t client)
{
	return (struct shunt_session_key){
		.client = lab_client_addr(lab->kind->family, client),
		.service = 1,
	};
}

static struct shunt_session session_of(const struct lab *lab, uint32_t client)
{
	struct shunt_session_key key = session_key(lab, client);
	struct shunt_session session = { 0 };

	cr_assert_eq(bpf_map_lookup_elem(lab->maps.sessions_fd, &key, &session), 0,
		     "%s: client %u has no session", lab_what, client);
	return session;
}

static void session_age(const struct lab *lab, uint32_t client, uint32_t jiffies)
{
	struct shunt_session_key key = session_key(lab, client);
	struct shunt_session session = session_of(lab, client);

	session.seen_jiffies -= jiffies;
	cr_assert_eq(bpf_map_update_elem(lab->maps.sessions_fd, &key, &session, BPF_EXIST), 0);
}

LAB_EACH(affinity, without_affinity_a_clients_connections_are_spread, 0)
{
	uint32_t seen = 0;

	(void)k;
	lab_scene(lab, 2, 2);
	for (uint16_t port = 1; port < 100; port++)
		seen |= 1u << backend_of(lab, 1, port);
	CHECK_EQ(seen, 0x1e);
}

LAB_EACH(affinity, with_hash_affinity_a_client_stays_with_its_backend_on_every_frontend, 0)
{
	uint32_t seen = 0, backend;
	struct lab_packet packet;

	lab_scene(lab, 2, 2);
	affinity(lab, SHUNT_AFFINITY_HASH, 32, 128);
	lab_frontend(lab, lab_frontend_addr(k->family, 9), LAB_PORT, 1, 1, 0);
	for (uint32_t client = 1; client < 60; client++) {
		backend = backend_of(lab, client, 1);
		seen |= 1u << backend;
		CHECK_EQ(backend_of(lab, client, 2), backend);
		packet = lab_from_client(lab, client, 3, 9);
		packet = lab_ingress(lab, &packet).packet;
		CHECK_EQ(lab_backend_of(lab, &packet.dst), backend);
	}
	CHECK_EQ(seen, 0x1e);
}

LAB_EACH(affinity, hash_affinity_follows_the_weights, 0)
{
	static const uint32_t all_to_second[] = { 0, 1 };
	uint32_t moved = 0;

	(void)k;
	lab_scene(lab, 2, 1);
	affinity(lab, SHUNT_AFFINITY_HASH, 32, 128);
	for (uint32_t client = 1; client < 60; client++)
		moved += backend_of(lab, client, 1) == 1;
	CHECK(moved > 10);
	lab_weights(lab, 1, all_to_second, 2);
	for (uint32_t client = 1; client < 60; client++)
		CHECK_EQ(backend_of(lab, client, 2), 2);
}

/* The backend of a client that differs from others in its last 8 bits only. */
static uint32_t backend_of_neighbour(struct lab *lab, uint32_t client, uint16_t port)
{
	struct lab_packet packet = lab_from_client(lab, 0, port, 1);

	packet.src = lab_client_addr(lab->kind->family, 0x4000);
	packet.src.word_be[3] |= htonl(client);
	packet = lab_ingress(lab, &packet).packet;
	return lab_backend_of(lab, &packet.dst);
}

LAB_EACH(affinity, clients_of_one_prefix_are_one_client, 0)
{
	for (uint8_t host_bits = 0; host_bits <= 8; host_bits += 4) {
		uint32_t group = 1u << host_bits, seen = 0, backend = 0;

		lab_reset(lab, k);
		lab_scene(lab, 2, 8);
		affinity(lab, SHUNT_AFFINITY_HASH, 32 - host_bits, 128 - host_bits);
		for (uint32_t client = 0; client < 256; client++) {
			uint32_t got = backend_of_neighbour(lab, client, (uint16_t)(1000 + client));

			if (client % group)
				CHECK_EQ(got, backend);
			backend = got;
			seen |= 1u << got;
		}
		CHECK(group == 256 ? __builtin_popcount(seen) == 1 : __builtin_popcount(seen) > 4);
	}
}

LAB_EACH(affinity, a_session_outlives_a_change_of_weights, 0)
{
	static const uint32_t all_to_second[] = { 0, 1 };
	uint32_t backends[40];

	(void)k;
	lab_scene(lab, 2, 2);
	affinity(lab, SHUNT_AFFINITY_SESSION, 32, 128);
	for (uint32_t client = 1; client < 40; client++)
		backends[client] = connected_to(lab, client, 1);
	lab_weights(lab, 1, all_to_second, 2);
	for (uint32_t client = 1; client < 40; client++)
		CHECK_EQ(connected_to(lab, client, 2), backends[client]);
	for (uint32_t client = 40; client < 80; client++)
		CHECK(connected_to(lab, client, 1) >= 3);
}

LAB_EACH(affinity, a_session_ends_after_its_timeout_and_each_connection_renews_it, 0)
{
	static const uint32_t all_to_second[] = { 0, 1 }, all_to_first[] = { 1, 0 };

	(void)k;
	lab_scene(lab, 2, 1);
	affinity(lab, SHUNT_AFFINITY_SESSION, 32, 128);
	lab_weights(lab, 1, all_to_first, 2);
	CHECK_EQ(connected_to(lab, 1, 1), 1);
	lab_weights(lab, 1, all_to_second, 2);

	session_age(lab, 1, LAB_LONG - 5000);
	CHECK_EQ(connected_to(lab, 1, 2), 1);
	session_age(lab, 1, LAB_LONG - 5000); /* the last connection renewed it */
	CHECK_EQ(connected_to(lab, 1, 3), 1);
	session_age(lab, 1, LAB_LONG);
	CHECK_EQ(connected_to(lab, 1, 4), 2);
	CHECK_EQ(session_of(lab, 1).backend, 2);
}

/* Two connections of a client at once, on two CPUs, around a tick. */
LAB_EACH(affinity, a_session_that_was_just_renewed_by_another_cpu_holds, 0)
{
	static const uint32_t all_to_second[] = { 0, 1 }, all_to_first[] = { 1, 0 };

	(void)k;
	lab_scene(lab, 2, 1);
	affinity(lab, SHUNT_AFFINITY_SESSION, 32, 128);
	lab_weights(lab, 1, all_to_first, 2);
	CHECK_EQ(connected_to(lab, 1, 1), 1);
	lab_weights(lab, 1, all_to_second, 2);
	session_age(lab, 1, (uint32_t)-1000);
	CHECK_EQ(connected_to(lab, 1, 2), 1);
}

LAB_EACH(affinity, a_session_with_a_drained_variant_ends_at_the_deadline, 0)
{
	static const uint32_t all_to_second[] = { 0, 1 }, all_to_first[] = { 1, 0 };
	struct shunt_variant *variant = SHUNT_DP_AT(lab->maps.variants, struct shunt_variant, 1);

	(void)k;
	lab_scene(lab, 2, 1);
	affinity(lab, SHUNT_AFFINITY_SESSION, 32, 128);
	lab_weights(lab, 1, all_to_first, 2);
	CHECK_EQ(connected_to(lab, 1, 1), 1);
	lab_weights(lab, 1, all_to_second, 2);

	variant->drain_jiffies = lab_jiffies(lab) + 10000;
	variant->flags = SHUNT_VAR_DRAINED;
	CHECK_EQ(connected_to(lab, 1, 2), 1);
	variant->drain_jiffies = lab_jiffies(lab);
	CHECK_EQ(connected_to(lab, 1, 3), 2);
	variant->flags = 0; /* the new session holds on */
	lab_weights(lab, 1, all_to_first, 2);
	CHECK_EQ(connected_to(lab, 1, 4), 2);
}

static void terminating(struct lab *lab)
{
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1)->flags = SHUNT_BE_NO_NEW;
}

static void removed(struct lab *lab)
{
	struct shunt_backend *backend = SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1);

	backend->flags = SHUNT_BE_REMOVED;
	backend->drain_jiffies = lab_jiffies(lab) + LAB_LONG;
}

static void tripped(struct lab *lab)
{
	SHUNT_DP_AT(lab->maps.overlay, struct shunt_overlay, 1)->tripped = 1;
}

static void of_another_variant(struct lab *lab)
{
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1)->variant = 7;
}

static void of_another_family(struct lab *lab)
{
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1)->family ^= 1;
}

LAB_EACH(affinity, a_session_sends_no_new_connection_to_what_must_not_get_one, 0)
{
	static void (*const changes[])(struct lab * lab) = { terminating, removed, tripped,
							     of_another_variant,
							     of_another_family };
	static const uint32_t all_to_second[] = { 0, 1 }, all_to_first[] = { 1, 0 };

	for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
		lab_reset(lab, k);
		lab_scene(lab, 2, 1);
		affinity(lab, SHUNT_AFFINITY_SESSION, 32, 128);
		lab_weights(lab, 1, all_to_first, 2);
		CHECK_EQ(connected_to(lab, 1, 1), 1);
		lab_weights(lab, 1, all_to_second, 2);
		CHECK_EQ(connected_to(lab, 1, 2), 1);
		changes[i](lab);
		CHECK_EQ(connected_to(lab, 1, 3), 2);
	}
}

/* The choice is the client's, not the connection's: another node, or a full map, agrees. */
LAB_EACH(affinity, a_client_whose_session_is_lost_gets_the_same_backend_again, 0)
{
	struct shunt_session_key key;
	uint32_t backend;

	(void)k;
	lab_scene(lab, 2, 4);
	affinity(lab, SHUNT_AFFINITY_SESSION, 32, 128);
	for (uint32_t client = 1; client < 20; client++) {
		key = session_key(lab, client);
		backend = connected_to(lab, client, 1);
		for (uint16_t port = 2; port < 5; port++) {
			cr_assert_eq(bpf_map_delete_elem(lab->maps.sessions_fd, &key), 0);
			CHECK_EQ(connected_to(lab, client, port), backend);
		}
	}
}

static bool has_session(const struct lab *lab, uint32_t client)
{
	struct shunt_session_key key = session_key(lab, client);
	struct shunt_session session;

	return !bpf_map_lookup_elem(lab->maps.sessions_fd, &key, &session);
}

/* Or spoofed SYNs would push everybody's sessions out of the map. */
LAB_EACH(affinity, a_client_is_remembered_when_it_has_proved_its_address, 0)
{
	struct lab_packet packet = lab_from_client(lab, 1, 4000, 1), answer, ack;
	uint32_t backend;

	lab_scene(lab, 2, 4);
	affinity(lab, SHUNT_AFFINITY_SESSION, 32, 128);
	answer = lab_ingress(lab, &packet).packet;
	backend = lab_backend_of(lab, &answer.dst);
	CHECK(!has_session(lab, 1));
	for (uint16_t port = 1; port < 20; port++) /* at once: the choice is the client's */
		CHECK_EQ(backend_of(lab, 1, port), backend);
	CHECK(!has_session(lab, 1));

	packet = lab_from_client(lab, 1, 5000, 1);
	answer = lab_ingress(lab, &packet).packet;
	answer = lab_answer(&answer);
	lab_egress(lab, &answer);
	CHECK(!has_session(lab, 1));
	if (k->proto == IPPROTO_UDP) {
		lab_ingress(lab, &packet);
	} else {
		ack = lab_flags(packet, TH_ACK_, 1001, 4000); /* guessed */
		lab_ingress(lab, &ack);
		CHECK(!has_session(lab, 1));
		ack = lab_flags(packet, TH_ACK_, 1001, 5001);
		lab_ingress(lab, &ack);
	}
	CHECK_EQ(session_of(lab, 1).backend, backend);
	CHECK_EQ(session_of(lab, 1).variant, (backend + 3) / 4);
}

LAB_EACH(affinity, a_first_packet_alone_renews_no_session, 0)
{
	uint32_t seen;

	(void)k;
	lab_scene(lab, 2, 1);
	affinity(lab, SHUNT_AFFINITY_SESSION, 32, 128);
	connected_to(lab, 1, 1);
	session_age(lab, 1, 5000);
	seen = session_of(lab, 1).seen_jiffies;
	backend_of(lab, 1, 2);
	CHECK_EQ(session_of(lab, 1).seen_jiffies, seen);
	connected_to(lab, 1, 3);
	CHECK((int32_t)(session_of(lab, 1).seen_jiffies - seen) >= 5000);
}

LAB_EACH(affinity, only_a_service_with_sessions_remembers_its_clients, 0)
{
	(void)k;
	lab_scene(lab, 2, 1);
	connected_to(lab, 1, 1);
	affinity(lab, SHUNT_AFFINITY_HASH, 32, 128);
	connected_to(lab, 1, 2);
	CHECK(!has_session(lab, 1));
}

LAB_EACH(affinity, a_rejected_client_is_not_remembered, 0)
{
	lab_scene(lab, 1, 1);
	affinity(lab, SHUNT_AFFINITY_SESSION, 32, 128);
	lab_split(lab, 1)->variant[0].ring_size[k->family] = 0;
	CHECK_EQ(backend_of(lab, 1, 1), 0);
	CHECK(!has_session(lab, 1));
}

LAB_EACH(affinity, sessions_belong_to_one_service, 0)
{
	struct lab_packet packet;

	(void)k;
	lab_scene(lab, 1, 1);
	affinity(lab, SHUNT_AFFINITY_SESSION, 32, 128);
	lab_service(lab, 2, 1);
	lab_variant(lab, 2, 0, 2);
	lab_ring(lab, 2, 0, 2, 1, 1);
	lab_backend(lab, 2, 2);
	lab_slot(lab, 2, 0)->affinity = SHUNT_AFFINITY_SESSION;
	CHECK_EQ(connected_to(lab, 1, 1), 1);
	packet = lab_from_client(lab, 1, 2, 2);
	packet = lab_connect(lab, &packet);
	CHECK_EQ(lab_backend_of(lab, &packet.dst), 2);
	CHECK_EQ(session_of(lab, 1).backend, 1);
}
