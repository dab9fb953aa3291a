// SPDX-License-Identifier: Apache-2.0
#include "carry_contents.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "base/cleanup.h"
#include "datapath/flowmem.h"

/* Deterministic, different for each field and index, never 0. */
static uint32_t word(uint32_t index, uint32_t field)
{
	return (index * 64 + field) * 2654435761u | 1;
}

static uint32_t state_of(uint32_t index)
{
	return index % SHUNT_N_FLOW_STATES;
}

void contents_flow(struct shunt_flow *f, uint32_t i)
{
	memset(f, 0, sizeof(*f));
	f->life = (i + 1) << 8 | state_of(i);
	f->seen_jiffies = word(i, 1);
	f->client_lo_be = word(i, 2);
	f->frontend_lo_be = word(i, 3);
	f->client_port_be = (uint16_t)word(i, 4);
	f->frontend_port_be = (uint16_t)word(i, 5);
	f->proto = 6;
	f->family = i & 1;
	f->flags = (uint16_t)word(i, 6);
	f->backend_lo_be = word(i, 7);
	f->source_lo_be = word(i, 8);
	f->backend_port_be = (uint16_t)word(i, 9);
	f->source_port_be = (uint16_t)word(i, 10);
	f->backend = 1 + i % 100;
	f->variant = word(i, 12);
	f->service = word(i, 13);
	f->created_jiffies = word(i, 14);
	f->gate_ifindex = word(i, 15);
	f->reply_way = word(i, 16);
	f->backend_isn = word(i, 17);
	for (int w = 0; w < 3; w++) {
		f->client_hi_be[w] = word(i, 18 + (uint32_t)w);
		f->frontend_hi_be[w] = word(i, 21 + (uint32_t)w);
		f->backend_hi_be[w] = word(i, 24 + (uint32_t)w);
		f->source_hi_be[w] = word(i, 27 + (uint32_t)w);
	}
	f->client_way = word(i, 31);
	f->client_fin = word(i, 32);
	f->backend_fin = word(i, 33);
}

static uint32_t active_of(uint32_t backend)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < N_FLOWS; i++)
		n += 1 + i % 100 == backend && shunt_ft_is_counted(state_of(i));
	return n;
}

/* Arrays whose layout is the same in both ABIs, filled with words throughout. */
static const struct {
	const char *name;
	size_t offset; /* in struct shunt_dp_maps */
	uint32_t size; /* of a value */
} plain[] = {
#define PLAIN(name, type)                                                                          \
	{                                                                                          \
#name, offsetof(struct shunt_dp_maps, name), sizeof(type)                          \
	}
	PLAIN(services, struct shunt_service),
	PLAIN(service_names, struct shunt_service_name),
	PLAIN(rules, struct shunt_rule),
	PLAIN(splits, struct shunt_split),
	PLAIN(rings, struct shunt_ring_word),
	PLAIN(members, uint32_t),
	PLAIN(variants, struct shunt_variant),
	PLAIN(variant_names, struct shunt_variant_name),
	PLAIN(overlay, struct shunt_overlay),
	PLAIN(dead_man_counts, struct shunt_dead_man_counts),
	PLAIN(backends, struct shunt_backend),
	PLAIN(flow_sets, struct shunt_flow_set),
	PLAIN(reply_sets, struct shunt_reply_set),
	PLAIN(policies, struct shunt_policy_record),
	PLAIN(bucket_names, struct shunt_bucket_name),
	PLAIN(buckets, struct shunt_bucket),
	PLAIN(client_sets, struct shunt_client_set),
	PLAIN(breakers, struct shunt_breaker_rule),
	PLAIN(breaker_states, struct shunt_breaker_state),
	PLAIN(breaker_words, struct shunt_breaker_word),
	PLAIN(breaker_names, struct shunt_breaker_name),
	PLAIN(variant_guards, struct shunt_variant_guard),
	PLAIN(backend_guards, struct shunt_backend_guard),
	PLAIN(eject_states, struct shunt_eject_state),
	PLAIN(eject_places, struct shunt_eject_place),
#undef PLAIN
};

static const struct shunt_dp_array *plain_array(const struct shunt_dp_maps *maps, size_t p)
{
	return (const void *)((const char *)maps + plain[p].offset);
}

static void fill_plain(const struct shunt_dp_maps *maps, size_t p)
{
	const struct shunt_dp_array *array = plain_array(maps, p);

	for (uint32_t i = 0; i < array->n; i++)
		for (uint32_t w = 0; w < plain[p].size / 4; w++)
			SHUNT_DP_AT(*array, uint32_t, i)[w] = word(i + w, (uint32_t)p);
}

static bool plain_is_filled(const struct shunt_dp_maps *maps, size_t p)
{
	const struct shunt_dp_array *array = plain_array(maps, p);

	for (uint32_t i = 0; i < array->n; i++)
		for (uint32_t w = 0; w < plain[p].size / 4; w++)
			if (SHUNT_DP_AT(*array, uint32_t, i)[w] != word(i + w, (uint32_t)p))
				return false;
	return true;
}

static void fill_counters(int fd, uint32_t index, uint64_t value)
{
	struct shunt_counters per_cpu[256] = { 0 };

	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++) {
		per_cpu[cpu].connections = value;
		per_cpu[cpu].bytes_out = value * 3;
	}
	bpf_map_update_elem(fd, &index, per_cpu, BPF_ANY);
}

static bool counters_are(int fd, uint32_t index, uint64_t value)
{
	struct shunt_counters per_cpu[256] = { 0 };

	if (bpf_map_lookup_elem(fd, &index, per_cpu) < 0)
		return false;
	for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
		if (per_cpu[cpu].connections != value || per_cpu[cpu].bytes_out != value * 3 ||
		    per_cpu[cpu].rejects)
			return false;
	return true;
}

void contents_fill(struct shunt_dp *dp)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(dp);
	struct shunt_settings *settings = maps->settings.base;

	settings->generation = 4711;
	settings->epoch = 12;
	settings->flags = SHUNT_S_DRAIN;
	for (size_t p = 0; p < ARRAY_LEN(plain); p++)
		fill_plain(maps, p);
	for (uint32_t i = 0; i < N_FLOWS; i++)
		contents_flow(SHUNT_DP_AT(maps->flows, struct shunt_flow, i), i);
	for (uint32_t b = 1; b <= 100; b++)
		SHUNT_DP_AT(maps->backend_active, struct shunt_active, b)->connections =
			active_of(b);
	for (uint32_t i = 0; i < 100; i++) {
		struct shunt_session_key client = { .client.word_be[3] = i, .service = 3 };
		struct shunt_session session = { .variant = i + 1, .backend = i + 2 };
		struct shunt_frontend_key key = { .addr.word_be[3] = i, .proto = 17 };
		struct shunt_frontend frontend = { .service = { i, i + 1 } };

		bpf_map_update_elem(maps->sessions_fd, &client, &session, BPF_ANY);
		bpf_map_update_elem(maps->frontends_fd, &key, &frontend, BPF_ANY);
		fill_counters(maps->backend_counters_fd, i, 1000 + i);
		fill_counters(maps->variant_counters_fd, i, 2000 + i);
	}
}

static bool hash_is_filled(const struct shunt_dp_maps *maps, uint32_t i)
{
	struct shunt_session_key client = { .client.word_be[3] = i, .service = 3 };
	struct shunt_frontend_key key = { .addr.word_be[3] = i, .proto = 17 };
	struct shunt_frontend frontend = { 0 };
	struct shunt_session session = { 0 };

	return !bpf_map_lookup_elem(maps->sessions_fd, &client, &session) &&
	       !bpf_map_lookup_elem(maps->frontends_fd, &key, &frontend) &&
	       session.variant == i + 1 && session.backend == i + 2 && frontend.service[0] == i &&
	       frontend.service[1] == i + 1;
}

const char *contents_check(struct shunt_dp *dp)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(dp);
	const struct shunt_settings *settings = maps->settings.base;

	if (!shunt_dp_adopted(dp))
		return "nothing was adopted";
	if (settings->abi_version != SHUNT_ABI_VERSION || settings->generation != 4711 ||
	    settings->epoch != 12)
		return "settings differ";
	if (settings->flags != SHUNT_S_DRAIN)
		return "the hold has stuck, or drain was lost";
	if (maps->flows.n != N_FLOWS || settings->flow_set_mask != N_FLOWS / SHUNT_FLOW_WAYS - 1)
		return "the flow table has another size";
	for (size_t p = 0; p < ARRAY_LEN(plain); p++)
		if (!plain_is_filled(maps, p))
			return plain[p].name;
	for (uint32_t i = 0; i < N_FLOWS; i++) {
		struct shunt_flow expected;

		contents_flow(&expected, i);
		if (state_of(i) == SHUNT_F_FREE) {
			expected.client_fin = 0;
			expected.backend_fin = 0;
			shunt_ft_clear_hi(&expected);
		}
		if (memcmp(SHUNT_DP_AT(maps->flows, char, i), &expected, sizeof(expected)))
			return "a flow differs";
	}
	for (uint32_t b = 1; b <= 100; b++)
		if (SHUNT_DP_AT(maps->backend_active, struct shunt_active, b)->connections !=
		    active_of(b))
			return "active connections differ";
	for (uint32_t i = 0; i < 100; i++)
		if (!hash_is_filled(maps, i))
			return "a session or a frontend differs";
	return NULL;
}

const char *contents_check_counters(struct shunt_dp *dp)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(dp);

	for (uint32_t i = 0; i < 100; i++)
		if (!counters_are(maps->backend_counters_fd, i, 1000 + i) ||
		    !counters_are(maps->variant_counters_fd, i, 2000 + i))
			return "counters differ";
	return NULL;
}
