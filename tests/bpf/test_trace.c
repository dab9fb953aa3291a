// SPDX-License-Identifier: Apache-2.0
/* What the tracing programs tell of a packet, stage by stage. */
#include "conversation.h"
#include "odd.h"

#include <bpf/bpf.h>
#include <string.h>

#include "tracing.h"

TestSuite(trace, .init = tracing_programs, .timeout = 120);

#define STAGE(name) (1u << SHUNT_TRACE_##name)
/* What every packet of a known family passes, and what a new flow passes besides. */
#define HEAD   (STAGE(PARSE) | STAGE(LOOKUP) | STAGE(CONNTRACK))
#define ASKED  (STAGE(GATE) | STAGE(ADMIT))
#define CHOICE (ASKED | STAGE(VARIANT) | STAGE(BACKEND))
#define OPENED (HEAD | CHOICE | STAGE(ENTRY) | STAGE(REWRITE))

/* ---- records --------------------------------------------------------------------------------- */

/* The record of the one packet that was told since the last reading. */
static struct shunt_trace_event told(const struct lab *lab)
{
	struct tracing_records records = tracing_read(lab);

	cr_expect_eq(records.n, 1, "%s: %u records", lab_what, records.n);
	return records.last;
}

static struct shunt_trace_event trace_in(struct lab *lab, const struct lab_packet *packet,
					 struct lab_result *ret_result)
{
	tracing_read(lab);
	*ret_result = lab_ingress(lab, packet);
	return told(lab);
}

static struct shunt_trace_event trace_out(struct lab *lab, const struct lab_packet *packet,
					  struct lab_result *ret_result)
{
	tracing_read(lab);
	*ret_result = lab_egress(lab, packet);
	return told(lab);
}

static struct shunt_tuple tuple_of(const struct lab_packet *packet)
{
	return (struct shunt_tuple){
		.src = packet->src,
		.dst = packet->dst,
		.sport_be = htons(packet->sport),
		.dport_be = htons(packet->dport),
		.proto = packet->proto,
		.family = (uint8_t)packet->family,
	};
}

static void check_tuple(const struct shunt_tuple *got, const struct lab_packet *want)
{
	struct shunt_tuple tuple = tuple_of(want);

	CHECK(!memcmp(got, &tuple, sizeof(tuple)));
}

/* What holds for the record of every packet that has ports. */
static void check_record(const struct lab *lab, const struct shunt_trace_event *e,
			 const struct lab_packet *packet, const struct lab_result *result,
			 enum shunt_trace_direction direction)
{
	enum lab_hook hook = direction == SHUNT_TRACE_EGRESS ? LAB_TC : lab->kind->hook;

	check_tuple(&e->in, packet);
	CHECK_REASON(e->reason, result->reason);
	CHECK_EQ(lab_verdict(hook, (uint32_t)e->verdict), result->verdict);
	CHECK_EQ(e->hook, hook == LAB_XDP ? SHUNT_TRACE_XDP : SHUNT_TRACE_TC);
	CHECK_EQ(e->direction, direction);
	CHECK_EQ(e->ifindex, lab->gate);
	CHECK_EQ(e->segments, 1);
	CHECK_EQ(e->ip_bytes,
		 packet_ip_len(packet->family) + packet_l4_len(packet->proto) + packet->payload);
	CHECK_EQ(e->tcp.seq, packet->seq);
	CHECK_EQ(e->tcp.ack, packet->ack);
	CHECK_EQ(ntohs(e->eth_proto_be), packet->family == SHUNT_V6 ? 0x86dd : 0x0800);
	CHECK(e->took_ns && e->time_ns);
	if (e->stages & STAGE(REWRITE))
		check_tuple(&e->out, &result->packet);
	else
		CHECK_EQ(e->out.proto, 0);
}

/* ---- the stages -------------------------------------------------------------------------------
 */

LAB_EACH(trace, a_new_flow_tells_of_every_stage_and_of_its_choice, 0)
{
	struct shunt_trace_filter filter = tracing_everything();
	const uint32_t weights[] = { 3, 1 };
	struct lab_result result;
	uint32_t backend;

	lab_scene(lab, 2, 2);
	lab_weights(lab, 1, weights, 2);
	tracing_set_filter(lab, &filter);
	for (uint16_t port = 4000; port < 4040; port++) {
		struct lab_packet packet = lab_from_client(lab, 1, port, 1);
		struct shunt_trace_event e = trace_in(lab, &packet, &result);

		check_record(lab, &e, &packet, &result, SHUNT_TRACE_INGRESS);
		backend = lab_backend_of(lab, &result.packet.dst);
		CHECK_EQ(e.stages, OPENED);
		CHECK_EQ(e.service, 1);
		CHECK_EQ(e.backend, backend);
		CHECK_EQ(e.variant, backend > 2 ? 2 : 1);
		CHECK_EQ(e.weight, backend > 2 ? 1 : 3);
		CHECK_EQ(e.weights, 4);
		CHECK_EQ(e.split, 1);
		CHECK(e.hash);
		CHECK_EQ(e.state, SHUNT_F_FREE);
		CHECK_EQ(e.state_after, k->proto == IPPROTO_TCP ? SHUNT_F_SYN : SHUNT_F_UDP_NEW);
		CHECK_EQ(e.gate_ifindex, lab->gate);
		CHECK(e.flow);
		CHECK(!e.is_stale && !e.is_kept);
	}
}

LAB_EACH(trace, a_known_flow_tells_of_its_state_and_age_in_both_directions, 0)
{
	struct shunt_trace_filter filter = tracing_everything();
	bool is_tcp = k->proto == IPPROTO_TCP;
	struct conversation c = begin(lab);
	struct shunt_trace_event e;
	struct lab_result result;
	struct lab_packet packet;

	tracing_set_filter(lab, &filter);
	lab_flow(lab, &c.client)->created_jiffies -= 500;
	lab_flow(lab, &c.client)->seen_jiffies -= 300;
	e = trace_out(lab, &c.answer, &result);
	check_record(lab, &e, &c.answer, &result, SHUNT_TRACE_EGRESS);
	CHECK_REASON(e.reason, SHUNT_R_RESTORED);
	CHECK_EQ(e.stages, STAGE(PARSE) | STAGE(CONNTRACK) | STAGE(REWRITE));
	CHECK_EQ(e.state, is_tcp ? SHUNT_F_SYN : SHUNT_F_UDP_NEW);
	CHECK_EQ(e.state_after, is_tcp ? SHUNT_F_SYN_ACK : SHUNT_F_UDP_ANSWERED);
	CHECK(e.age_jiffies >= 500 && e.age_jiffies < 1500);
	CHECK(e.idle_jiffies >= 300 && e.idle_jiffies < 1300);
	CHECK_EQ(e.service, 1);
	CHECK_EQ(e.variant, 1);
	CHECK_EQ(e.backend, 1);
	CHECK_EQ(e.hash, 0);

	packet = lab_flags(c.client, TH_ACK_, 1001, 5001);
	e = trace_in(lab, &packet, &result);
	check_record(lab, &e, &packet, &result, SHUNT_TRACE_INGRESS);
	CHECK_EQ(e.stages, HEAD | STAGE(REWRITE));
	CHECK_EQ(e.state, is_tcp ? SHUNT_F_SYN_ACK : SHUNT_F_UDP_ANSWERED);
	CHECK_EQ(e.state_after, is_tcp ? SHUNT_F_ESTABLISHED : SHUNT_F_UDP);
	CHECK(e.age_jiffies >= 500 && e.idle_jiffies < 300);
	CHECK_EQ(e.tcp.flags, is_tcp ? SHUNT_TCP_ACK : 0);
}

LAB_EACH(trace, a_session_is_named_as_what_decided, 0)
{
	struct shunt_trace_filter filter = tracing_everything();
	struct shunt_trace_event first, e;
	struct lab_packet packet;
	struct lab_result result;

	(void)k;
	lab_scene(lab, 2, 2);
	lab_slot(lab, 1, 0)->affinity = lab_slot(lab, 1, 1)->affinity = SHUNT_AFFINITY_SESSION;
	tracing_set_filter(lab, &filter);
	packet = lab_from_client(lab, 1, 4000, 1);
	first = trace_in(lab, &packet, &result);
	CHECK_EQ(first.stages, OPENED | STAGE(AFFINITY));
	CHECK_EQ(first.is_kept, 0);
	packet = lab_from_client(lab, 1, 4001, 1);
	lab_connect(lab, &packet);
	packet = lab_from_client(lab, 1, 4002, 1);
	e = trace_in(lab, &packet, &result);
	CHECK_EQ(e.stages, HEAD | ASKED | STAGE(AFFINITY) | STAGE(ENTRY) | STAGE(REWRITE));
	CHECK_EQ(e.is_kept, 1);
	CHECK_EQ(e.backend, first.backend);
	CHECK_EQ(e.variant, first.variant);
	CHECK_EQ(e.hash, 0);
}

/* One packet in, why it ends where it ends. */
struct ending {
	const char *what;
	void (*arrange)(struct lab *lab, struct lab_packet *packet);
	enum shunt_reason reason;
	uint32_t stages;
	enum shunt_trace_stage last; /* says @reason */
};

static void foreign(struct lab *lab, struct lab_packet *packet)
{
	(void)lab;
	packet->dport = 81;
}

static void weightless(struct lab *lab, struct lab_packet *packet)
{
	const uint32_t weights[] = { 0, 0 };

	(void)packet;
	lab_weights(lab, 1, weights, 2);
}

static void empty(struct lab *lab, struct lab_packet *packet)
{
	(void)packet;
	for (int v = 0; v < 2; v++)
		lab_split(lab, 1)->variant[v].ring_size[lab->kind->family] = 0;
}

static void released(struct lab *lab, struct lab_packet *packet)
{
	(void)packet;
	lab_service_flags(lab, 1, SHUNT_SVC_RELEASED);
}

static void held(struct lab *lab, struct lab_packet *packet)
{
	(void)packet;
	lab_settings(lab)->flags = SHUNT_S_HOLD;
}

static void portless(struct lab *lab, struct lab_packet *packet)
{
	struct lab_packet direct = *packet;

	direct.dst = lab_backend_addr(lab->kind->family, 1);
	direct.dport = LAB_BACKEND_PORT;
	for (int v = 0; v < 2; v++)
		lab_ring(lab, 1, v, 1, 1, 1);
	lab_settings(lab)->nat_port_first = direct.sport;
	lab_settings(lab)->nat_port_count = 1;
	CHECK_REASON(lab_ingress(lab, &direct).reason, SHUNT_R_DIRECT);
}

static const struct ending endings[] = {
	{ "no frontend", foreign, SHUNT_R_NO_SERVICE, STAGE(PARSE) | STAGE(LOOKUP),
	  SHUNT_TRACE_LOOKUP },
	{ "no weight", weightless, SHUNT_R_NO_WEIGHT, HEAD | ASKED | STAGE(VARIANT),
	  SHUNT_TRACE_VARIANT },
	{ "no backend", empty, SHUNT_R_NO_BACKEND, HEAD | CHOICE, SHUNT_TRACE_BACKEND },
	{ "released", released, SHUNT_R_RELEASED, HEAD | ASKED, SHUNT_TRACE_ADMIT },
	{ "held", held, SHUNT_R_HELD, HEAD | ASKED, SHUNT_TRACE_ADMIT },
	{ "no port", portless, SHUNT_R_NO_PORT, HEAD | CHOICE | STAGE(ENTRY), SHUNT_TRACE_ENTRY },
};

LAB_EACH(trace, a_packet_that_is_not_split_tells_which_stage_says_so_and_why, 0)
{
	struct shunt_trace_filter filter = tracing_everything();
	struct lab_result result;

	for (size_t i = 0; i < ARRAY_LEN(endings); i++) {
		const struct ending *ending = &endings[i];
		struct shunt_trace_event e;
		struct lab_packet packet;

		lab_reset(lab, k);
		lab_what = ending->what;
		lab_scene(lab, 2, 2);
		packet = lab_from_client(lab, 1, 4000, 1);
		ending->arrange(lab, &packet);
		tracing_set_filter(lab, &filter);
		e = trace_in(lab, &packet, &result);
		check_record(lab, &e, &packet, &result, SHUNT_TRACE_INGRESS);
		CHECK_REASON(result.reason, ending->reason);
		CHECK_EQ(e.stages, ending->stages);
		CHECK_REASON(e.said[ending->last], ending->reason);
	}
}

LAB_EACH(trace, an_entry_of_no_use_is_told_with_the_flow_that_replaces_it, LAB_ONLY_TCP)
{
	struct shunt_trace_filter filter = tracing_everything();
	struct conversation c = established(lab);
	struct lab_packet packet = c.client;
	struct shunt_trace_event e;
	struct lab_result result;

	(void)k;
	tracing_set_filter(lab, &filter);
	from_client(lab, &c, TH_RST_, 1001, 0);
	e = trace_in(lab, &packet, &result);
	CHECK_EQ(e.is_stale, 1);
	CHECK_EQ(e.state, SHUNT_F_RESET_BY_CLIENT);
	CHECK_EQ(e.stages, OPENED);
	CHECK_EQ(e.state_after, SHUNT_F_SYN);
	CHECK_EQ(e.backend, 1);

	/* And one that ends: the backend is gone. */
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1)->flags = SHUNT_BE_NO_NEW;
	packet = lab_flags(c.client, TH_ACK_, 1001, 5001);
	e = trace_in(lab, &packet, &result);
	CHECK_REASON(e.reason, SHUNT_R_BACKEND_GONE);
	CHECK_EQ(e.stages, HEAD);
	CHECK_EQ(e.is_stale, 0);
	CHECK_EQ(e.state_after, SHUNT_F_CLOSED);
}

LAB_EACH(trace, what_does_not_belong_to_a_flow_is_told_at_egress_too, 0)
{
	struct shunt_trace_filter filter = tracing_everything();
	struct lab_packet packet = lab_from_client(lab, 1, 4000, 1);
	struct shunt_trace_event e;
	struct lab_result result;

	(void)k;
	tracing_set_filter(lab, &filter);
	e = trace_out(lab, &packet, &result);
	check_record(lab, &e, &packet, &result, SHUNT_TRACE_EGRESS);
	CHECK_REASON(e.reason, SHUNT_R_NO_REPLY);
	CHECK_EQ(e.stages, STAGE(PARSE) | STAGE(CONNTRACK));
	CHECK_EQ(e.flow, 0);
}

LAB_EACH(trace, a_direct_connection_is_told_with_its_marker, 0)
{
	struct shunt_trace_filter filter = tracing_everything();
	struct shunt_trace_event e;
	struct lab_packet packet;
	struct lab_result result;

	(void)k;
	lab_scene(lab, 1, 1);
	tracing_set_filter(lab, &filter);
	packet = lab_from_client(lab, 1, 4000, 1);
	packet.dst = lab_backend_addr(lab->kind->family, 1);
	packet.dport = LAB_BACKEND_PORT;
	e = trace_in(lab, &packet, &result);
	check_record(lab, &e, &packet, &result, SHUNT_TRACE_INGRESS);
	CHECK_REASON(e.reason, SHUNT_R_DIRECT);
	CHECK_EQ(e.stages, HEAD | ASKED | STAGE(ENTRY));
	CHECK_EQ(e.is_backend, 1);
	CHECK_EQ(e.service, 0);
	CHECK(e.flow_flags & SHUNT_FLOW_DIRECT);
}

LAB_EACH(trace, frames_without_an_ip_packet_are_told_by_their_type, LAB_ONLY_V4 | LAB_ONLY_TCP)
{
	struct shunt_trace_filter filter = tracing_everything();
	struct lab_frame frame = { .len = 60, .data = { [12] = 0x08, [13] = 0x06 } };
	struct shunt_trace_event e;

	(void)k;
	tracing_set_filter(lab, &filter);
	tracing_read(lab);
	lab_ingress_frame(lab, &frame);
	e = told(lab);
	CHECK_REASON(e.reason, SHUNT_R_NOT_IP);
	CHECK_EQ(ntohs(e.eth_proto_be), 0x0806);
	CHECK_EQ(e.stages, 0);
	CHECK_EQ(e.in.proto, 0);
}

LAB_EACH(trace, a_flow_without_an_entry_is_told_both_ways, LAB_ONLY_TCP)
{
	struct shunt_trace_filter filter = tracing_everything();
	struct shunt_trace_event e;
	struct lab_packet packet;
	struct lab_result result;

	(void)k;
	lab_scene(lab, 1, 1);
	lab_service_flags(lab, 1, SHUNT_SVC_OWNED);
	tracing_set_filter(lab, &filter);
	packet = lab_flags(lab_from_client(lab, 1, 4000, 1), TH_ACK_, 1001, 5001);
	e = trace_in(lab, &packet, &result);
	check_record(lab, &e, &packet, &result, SHUNT_TRACE_INGRESS);
	CHECK_REASON(e.reason, SHUNT_R_REPLACED);
	CHECK_REASON(e.said[SHUNT_TRACE_ADMIT], SHUNT_R_REPLACED);
	CHECK_EQ(e.stages, HEAD | CHOICE | STAGE(REWRITE));
	CHECK_EQ(e.is_new, 1);

	packet = lab_flags(lab_answer(&result.packet), TH_RST_, 5001, 1001);
	e = trace_out(lab, &packet, &result);
	check_record(lab, &e, &packet, &result, SHUNT_TRACE_EGRESS);
	CHECK_REASON(e.reason, SHUNT_R_RESTORED);
	CHECK_EQ(e.stages, STAGE(PARSE) | STAGE(CONNTRACK) | STAGE(REWRITE));
	CHECK_EQ(e.service, 1);
	CHECK_EQ(e.backend, 1);
	CHECK_EQ(e.flow, 0);
}

static void gate_role(const struct lab *lab, uint32_t ifindex, uint32_t flags)
{
	struct shunt_gate role = { .flags = flags };

	cr_assert_eq(bpf_map_update_elem(lab->maps.gates_fd, &ifindex, &role, BPF_ANY), 0);
}

LAB_EACH(trace, a_gate_that_lets_a_packet_not_in_is_told_with_its_reason, 0)
{
	struct shunt_trace_filter filter = tracing_everything();
	struct conversation c = begin(lab);
	struct shunt_trace_event e;
	struct lab_result result;

	(void)k;
	gate_role(lab, lab->gates[0], 0);
	gate_role(lab, lab->gates[1], SHUNT_GATE_EXTERNAL);
	tracing_set_filter(lab, &filter);
	lab->gate = lab->gates[1];
	e = trace_in(lab, &c.client, &result);
	check_record(lab, &e, &c.client, &result, SHUNT_TRACE_INGRESS);
	CHECK_REASON(e.reason, SHUNT_R_SPOOFED);
	CHECK_REASON(e.said[SHUNT_TRACE_GATE], SHUNT_R_SPOOFED);
	CHECK_EQ(e.stages, HEAD | STAGE(GATE));
	CHECK_EQ(e.gate_ifindex, lab->gates[0]);
	CHECK_EQ(e.is_new, 0);
}

LAB_EACH(trace, fragments_are_told_as_what_they_are_and_with_the_flow_of_the_first, LAB_ONLY_UDP)
{
	struct shunt_trace_filter filter = tracing_everything();
	struct conversation c = established(lab);
	struct lab_packet packet = c.client;
	struct shunt_trace_event e;
	struct lab_frame frame;

	(void)k;
	packet.payload = 1200;
	tracing_set_filter(lab, &filter);
	for (int n = 0; n < 2; n++) {
		struct odd_fragment f = { 0xbeef, n ? 800 : 0, n ? 1208 : 800, n };

		odd_build_fragment(&packet, &odd_plain, &f, &frame);
		tracing_read(lab);
		CHECK_REASON(lab_ingress_frame(lab, &frame).reason, SHUNT_R_FORWARDED);
		e = told(lab);
		CHECK_EQ(e.part, n + 1);
		CHECK_EQ(e.in.sport_be, n ? 0 : htons(packet.sport));
		CHECK_EQ(e.backend, 1);
		CHECK_EQ(e.stages, (n ? HEAD & ~STAGE(LOOKUP) : HEAD) | STAGE(REWRITE));
		CHECK_EQ(e.out.dport_be, htons(LAB_BACKEND_PORT));
	}
}

/* A fragmentation-needed or packet-too-big about @quote, from the host that it went to. */
static void error_about(const struct lab_packet *quote, struct lab_frame *frame)
{
	const bool is_v6 = quote->family == SHUNT_V6;
	const size_t ip = packet_ip_len(quote->family);
	struct lab_packet outer = { .family = quote->family,
				    .proto = IPPROTO_UDP,
				    .src = quote->dst,
				    .dst = quote->src,
				    .ttl = 60,
				    .payload = (uint16_t)(ip + packet_l4_len(quote->proto)) };
	struct lab_frame quoted;

	packet_build(&outer, frame);
	packet_build(quote, &quoted);
	frame->data[LAB_ETH + (is_v6 ? 6 : 9)] = is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	memset(frame->data + LAB_ETH + ip, 0, 8);
	frame->data[LAB_ETH + ip] = is_v6 ? 2 : 3;
	frame->data[LAB_ETH + ip + 1] = is_v6 ? 0 : 4;
	memcpy(frame->data + LAB_ETH + ip + 8, quoted.data + LAB_ETH, outer.payload);
}

LAB_EACH(trace, an_icmp_error_is_told_with_the_flow_that_it_is_about, 0)
{
	struct shunt_trace_filter filter = tracing_everything();
	struct conversation c = established(lab);
	struct lab_packet quote = c.answer;
	struct shunt_trace_event e;
	struct lab_frame frame;

	(void)k;
	filter.conditions = SHUNT_TRACE_IF_TUPLE;
	filter.tuple.port_be[0] = htons(LAB_PORT); /* of the quoted packet only */
	tracing_set_filter(lab, &filter);
	quote.src = c.client.dst; /* as the client has seen it */
	quote.sport = c.client.dport;
	quote.payload = 0;
	error_about(&quote, &frame);
	tracing_read(lab);
	CHECK_REASON(lab_ingress_frame(lab, &frame).reason, SHUNT_R_ICMP_FORWARDED);
	e = told(lab);
	check_tuple(&e.quoted, &c.client);
	CHECK_EQ(e.backend, 1);
	CHECK_EQ(e.out.dport_be, htons(LAB_BACKEND_PORT));
	CHECK(e.stages & STAGE(CONNTRACK) && e.stages & STAGE(REWRITE));
	CHECK_REASON(e.said[SHUNT_TRACE_PARSE], SHUNT_R_L4_PROTO);
}
