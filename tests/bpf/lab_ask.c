// SPDX-License-Identifier: Apache-2.0
/* Questions about what the programs left in the maps. */
#include "lab.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "datapath/read.h"

#define MAX_CPUS 512

const char *lab_reason_name(enum shunt_reason reason)
{
	static const char *const names[] = {
#define REASON_NAME(name, action, text) #name,
		SHUNT_REASONS(REASON_NAME)
#undef REASON_NAME
	};

	return reason < ARRAY_LEN(names) ? names[reason] : "?";
}

uint64_t lab_reason(const struct lab *lab, enum shunt_reason reason)
{
	uint64_t values[MAX_CPUS], sum = 0;
	uint32_t key = reason;

	cr_assert_eq(bpf_map_lookup_elem(lab->maps.reasons_fd, &key, values), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += values[i];
	return sum;
}

static struct shunt_counters counters(int fd, uint32_t index)
{
	struct shunt_counters values[MAX_CPUS], sum = { 0 };

	cr_assert_eq(bpf_map_lookup_elem(fd, &index, values), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		shunt_counters_add(&sum, &values[i]);
	return sum;
}

struct shunt_counters lab_backend_counters(const struct lab *lab, uint32_t backend)
{
	return counters(lab->maps.backend_counters_fd, backend);
}

struct shunt_counters lab_variant_counters(const struct lab *lab, uint32_t variant)
{
	return counters(lab->maps.variant_counters_fd, variant);
}

uint32_t lab_active(const struct lab *lab, uint32_t backend)
{
	return SHUNT_DP_AT(lab->maps.backend_active, struct shunt_active, backend)->connections;
}

static bool is_flow_of(const struct shunt_flow *flow, const struct lab_packet *packet)
{
	return flow->client_lo_be == packet->src.word_be[3] &&
	       flow->frontend_lo_be == packet->dst.word_be[3] &&
	       !memcmp(flow->client_hi_be, &packet->src, 12) &&
	       !memcmp(flow->frontend_hi_be, &packet->dst, 12) &&
	       ntohs(flow->client_port_be) == packet->sport &&
	       ntohs(flow->frontend_port_be) == packet->dport && flow->proto == packet->proto &&
	       flow->family == packet->family;
}

/* By looking at each: the table's own lookup is what is being tested. */
struct shunt_flow *lab_flow(const struct lab *lab, const struct lab_packet *packet)
{
	struct shunt_flow *found = NULL;

	for (uint32_t i = 0; i < lab->maps.flows.n; i++) {
		struct shunt_flow *flow = SHUNT_DP_AT(lab->maps.flows, struct shunt_flow, i);

		if (SHUNT_LIFE_STATE(flow->life) == SHUNT_F_FREE || !is_flow_of(flow, packet))
			continue;
		cr_assert_null(found, "%s: one tuple, two flows", lab_what);
		found = flow;
	}
	return found;
}

uint32_t lab_state(const struct lab *lab, const struct lab_packet *packet)
{
	const struct shunt_flow *flow = lab_flow(lab, packet);

	return flow ? SHUNT_LIFE_STATE(flow->life) : SHUNT_F_FREE;
}

uint32_t lab_flows_in_use(const struct lab *lab)
{
	const struct shunt_flow_set *sets = lab->maps.flow_sets.base;
	uint32_t n = 0;

	for (uint32_t s = 0; s < lab->maps.flow_sets.n; s++)
		for (int w = 0; w < SHUNT_FLOW_WAYS; w++)
			n += sets[s].tag[w] != 0;
	return n;
}

uint32_t lab_replies_in_use(const struct lab *lab)
{
	const struct shunt_reply_set *sets = lab->maps.reply_sets.base;
	uint32_t n = 0;

	for (uint32_t s = 0; s < lab->maps.reply_sets.n; s++)
		for (int w = 0; w < SHUNT_REPLY_WAYS; w++)
			n += sets[s].way[w] != 0;
	return n;
}

void lab_check_packet(const struct lab_result *got, const struct lab_packet *want)
{
	struct lab_frame frame;

	CHECK(got->sums_right);
	packet_build(want, &frame);
	CHECK_EQ(got->frame.len, frame.len);
	for (uint32_t i = 0; i < frame.len; i++)
		if (got->frame.data[i] != frame.data[i]) {
			cr_expect_fail("%s: byte %u is 0x%02x, not 0x%02x", lab_what, i,
				       got->frame.data[i], frame.data[i]);
			return;
		}
}

void lab_check_untouched(const struct lab_result *got, const struct lab_frame *sent,
			 enum shunt_reason reason)
{
	CHECK_REASON(got->reason, reason);
	CHECK_EQ(got->verdict, LAB_PASS);
	CHECK_EQ(got->frame.len, sent->len);
	CHECK(!memcmp(got->frame.data, sent->data, sent->len));
}
