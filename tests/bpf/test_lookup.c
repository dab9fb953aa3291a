// SPDX-License-Identifier: Apache-2.0
#include "lab.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>

TestSuite(lookup, .timeout = 60);

static enum shunt_reason reason_of(struct lab *lab, const struct lab_packet *packet)
{
	return lab_ingress(lab, packet).reason;
}

static void check_untouched(struct lab *lab, const struct lab_packet *packet,
			    enum shunt_reason reason)
{
	struct lab_frame frame;
	struct lab_result result;

	packet_build(packet, &frame);
	result = lab_ingress_frame(lab, &frame);
	lab_check_untouched(&result, &frame, reason);
}

LAB_EACH(lookup, only_address_port_and_protocol_together_are_a_frontend, 0)
{
	struct lab_packet good, other;

	(void)k;
	lab_scene(lab, 1, 1);
	good = lab_from_client(lab, 1, 4000, 1);
	CHECK_REASON(reason_of(lab, &good), SHUNT_R_FORWARDED);

	other = good;
	other.dport = LAB_PORT + 1;
	check_untouched(lab, &other, SHUNT_R_NO_SERVICE);
	other = good;
	other.proto = good.proto == IPPROTO_TCP ? IPPROTO_UDP : IPPROTO_TCP;
	other.tcp_flags = TH_SYN_;
	check_untouched(lab, &other, SHUNT_R_NO_SERVICE);
	for (int word = 0; word < 4; word++) {
		other = good;
		other.dst.word_be[word] ^= 1;
		if (good.family == SHUNT_V6 || word == 3)
			check_untouched(lab, &other, SHUNT_R_NO_SERVICE);
	}
	check_untouched(lab,
			&(struct lab_packet){ .family = good.family,
					      .proto = good.proto,
					      .src = good.dst,
					      .dst = good.src,
					      .sport = good.dport,
					      .dport = good.sport,
					      .tcp_flags = TH_SYN_ },
			SHUNT_R_NO_SERVICE);
}

LAB_EACH(lookup, one_store_of_the_epoch_switches_every_slot, 0)
{
	struct lab_packet packet;

	lab_scene(lab, 1, 1);
	/* Slot 0: frontend 1 is service 1. Slot 1: frontend 2 is service 2, owned, backend 2. */
	lab_service(lab, 2, 1);
	lab_variant(lab, 2, 0, 2);
	lab_ring(lab, 2, 0, 2, 1, 1);
	lab_backend(lab, 2, 2);
	lab_frontend(lab, lab_frontend_addr(k->family, 1), LAB_PORT, 1, 0, 0);
	lab_frontend(lab, lab_frontend_addr(k->family, 2), LAB_PORT, 0, 2, 0);

	packet = lab_from_client(lab, 1, 4000, 1);
	CHECK_REASON(reason_of(lab, &packet), SHUNT_R_FORWARDED);
	packet = lab_from_client(lab, 1, 4000, 2);
	CHECK_REASON(reason_of(lab, &packet), SHUNT_R_NO_SERVICE);

	lab_settings(lab)->epoch = 7;
	packet = lab_from_client(lab, 2, 4000, 1);
	CHECK_REASON(reason_of(lab, &packet), SHUNT_R_NO_SERVICE);
	packet = lab_from_client(lab, 2, 4000, 2);
	CHECK_REASON(reason_of(lab, &packet), SHUNT_R_FORWARDED);

	lab_settings(lab)->epoch = 8;
	packet = lab_from_client(lab, 3, 4000, 1);
	CHECK_REASON(reason_of(lab, &packet), SHUNT_R_FORWARDED);
}

/* As a reader sees it whose element another update has taken over meanwhile. */
LAB_EACH(lookup, another_address_s_element_decides_nothing, 0)
{
	struct lab_packet packet = { 0 };
	struct shunt_frontend_key key;
	struct shunt_frontend value;

	lab_scene(lab, 1, 1);
	cr_assert_eq(bpf_map_get_next_key(lab->maps.frontends_fd, NULL, &key), 0);
	cr_assert_eq(bpf_map_lookup_elem(lab->maps.frontends_fd, &key, &value), 0);
	value.check ^= 1;
	key = (struct shunt_frontend_key){ .addr = lab_frontend_addr(k->family, 1),
					   .port_be = htons(LAB_PORT),
					   .proto = k->proto };
	value.service[0] = value.service[1] = 1;
	cr_assert_eq(bpf_map_update_elem(lab->maps.frontends_fd, &key, &value, BPF_ANY), 0);
	packet = lab_from_client(lab, 1, 4000, 1);
	CHECK_REASON(reason_of(lab, &packet), SHUNT_R_HELD);
}

LAB_EACH(lookup, service_record_and_split_are_those_of_the_epoch, 0)
{
	struct shunt_rule *rule = SHUNT_DP_AT(lab->maps.rules, struct shunt_rule, 1);
	struct lab_packet packet;
	struct lab_result result;

	lab_scene(lab, 1, 1);
	lab_service(lab, 2, 1);
	lab_variant(lab, 2, 0, 2);
	lab_ring(lab, 2, 0, 2, 1, 1);
	lab_backend(lab, 2, 2);
	lab_slot(lab, 1, 1)->flags = SHUNT_SVC_RELEASED;
	rule->split[0] = 2;

	packet = lab_from_client(lab, 1, 4000, 1);
	result = lab_ingress(lab, &packet);
	CHECK_REASON(result.reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 2);
	CHECK_EQ(lab_flow(lab, &packet)->variant, 2);

	lab_settings(lab)->epoch = 1;
	packet = lab_from_client(lab, 2, 4000, 1);
	check_untouched(lab, &packet, SHUNT_R_RELEASED);
	lab_slot(lab, 1, 1)->flags = 0;
	result = lab_ingress(lab, &packet);
	CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 1);
	(void)k;
}

LAB_EACH(lookup, mid_stream_packets_without_an_entry_depend_on_who_owns_the_frontend, LAB_ONLY_TCP)
{
	static const uint8_t flags[] = { TH_ACK_, TH_FIN_ | TH_ACK_, TH_RST_, TH_SYN_ | TH_ACK_,
					 0 };
	struct lab_packet packet;
	struct lab_result result;

	(void)k;
	lab_scene(lab, 1, 1);
	for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
		packet = lab_flags(lab_from_client(lab, 1, 4000, 1), flags[i], 77, 88);
		lab_service_flags(lab, 1, 0);
		check_untouched(lab, &packet, SHUNT_R_MIDSTREAM_SHARED);
		lab_service_flags(lab, 1, SHUNT_SVC_OWNED);
		result = lab_ingress(lab, &packet);
		if ((flags[i] & (TH_SYN_ | TH_ACK_)) == TH_ACK_) {
			CHECK_REASON(result.reason, SHUNT_R_REPLACED);
			CHECK_EQ(lab_backend_of(lab, &result.packet.dst), 1);
			CHECK(result.sums_right);
		} else {
			CHECK_REASON(result.reason, SHUNT_R_MIDSTREAM_OWNED);
			CHECK_EQ(result.verdict, flags[i] & TH_RST_ ? LAB_DROP : LAB_BOUNCE);
		}
	}
	CHECK_EQ(lab_flows_in_use(lab), 0);
}

/* Refuses new flows in some way, and known ones must not notice. */
static void refuse_new(struct lab *lab, void (*change)(struct lab *lab), enum shunt_reason reason,
		       enum lab_verdict verdict)
{
	struct lab_packet known, known_answer, more, new;
	struct lab_result result;
	struct lab_frame frame;

	lab_scene(lab, 1, 1);
	known = lab_from_client(lab, 1, 4000, 1);
	known_answer = lab_connect(lab, &known);
	change(lab);

	more = lab_flags(known, TH_ACK_, 1001, 5001);
	CHECK_REASON(reason_of(lab, &more), SHUNT_R_FORWARDED);
	known_answer = lab_flags(lab_answer(&known_answer), TH_ACK_, 5001, 1001);
	CHECK_REASON(lab_egress(lab, &known_answer).reason, SHUNT_R_RESTORED);

	new = lab_from_client(lab, 2, 4000, 1);
	packet_build(&new, &frame);
	result = lab_ingress_frame(lab, &frame);
	CHECK_REASON(result.reason, reason);
	CHECK_EQ(result.verdict, verdict);
	CHECK(!memcmp(result.frame.data, frame.data, frame.len));
	CHECK_EQ(lab_flows_in_use(lab), 1);
}

static void release(struct lab *lab)
{
	lab_service_flags(lab, 1, SHUNT_SVC_RELEASED);
}

static void drain(struct lab *lab)
{
	lab_settings(lab)->flags = SHUNT_S_DRAIN;
}

static void hold(struct lab *lab)
{
	lab_settings(lab)->flags = SHUNT_S_HOLD;
}

LAB_EACH(lookup, a_released_service_keeps_its_flows_and_takes_no_new_ones, 0)
{
	(void)k;
	refuse_new(lab, release, SHUNT_R_RELEASED, LAB_PASS);
}

LAB_EACH(lookup, a_detaching_node_keeps_its_flows_and_takes_no_new_ones, 0)
{
	(void)k;
	refuse_new(lab, drain, SHUNT_R_DRAINING, LAB_PASS);
}

LAB_EACH(lookup, during_a_handover_new_flows_are_dropped_and_known_ones_go_on, 0)
{
	(void)k;
	refuse_new(lab, hold, SHUNT_R_HELD, LAB_DROP);
}

LAB_EACH(lookup, a_handover_does_not_touch_what_another_proxy_serves, LAB_ONLY_TCP)
{
	struct lab_packet packet;

	(void)k;
	lab_scene(lab, 1, 1);
	hold(lab);
	packet = lab_flags(lab_from_client(lab, 1, 4000, 1), TH_ACK_, 5, 6);
	check_untouched(lab, &packet, SHUNT_R_MIDSTREAM_SHARED);
}

/* ---- broken configurations: each missing record passes the packet ------------------------------
 */

static void no_rule(struct lab *lab)
{
	lab_slot(lab, 1, 0)->rule_first = lab->maps.rules.n;
}

static void no_split(struct lab *lab)
{
	SHUNT_DP_AT(lab->maps.rules, struct shunt_rule, 1)->split[0] = 0;
}

static void split_out_of_range(struct lab *lab)
{
	SHUNT_DP_AT(lab->maps.rules, struct shunt_rule, 1)->split[0] = lab->maps.splits.n;
}

static void ring_out_of_range(struct lab *lab)
{
	lab_split(lab, 1)->variant[0].ring_first[lab->kind->family] = 4 * lab->maps.rings.n;
}

static void member_out_of_range(struct lab *lab)
{
	lab_split(lab, 1)->variant[0].member_first[lab->kind->family] = lab->maps.members.n;
}

static void member_without_backend(struct lab *lab)
{
	*SHUNT_DP_AT(lab->maps.members, uint32_t, 0) = 0;
}

static void backend_out_of_range(struct lab *lab)
{
	*SHUNT_DP_AT(lab->maps.members, uint32_t, 0) = lab->maps.backends.n;
}

static void backend_of_the_other_family(struct lab *lab)
{
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 1)->family ^= 1;
}

static void service_out_of_range(struct lab *lab)
{
	lab_frontend(lab, lab_frontend_addr(lab->kind->family, 1), LAB_PORT, lab->maps.services.n,
		     0, 0);
}

LAB_EACH(lookup, a_missing_record_passes_the_packet_and_is_counted, 0)
{
	static void (*const breaks[])(struct lab * lab) = {
		no_rule,
		no_split,
		split_out_of_range,
		ring_out_of_range,
		member_out_of_range,
		member_without_backend,
		backend_out_of_range,
		backend_of_the_other_family,
		service_out_of_range,
	};
	struct lab_packet packet;

	for (size_t i = 0; i < ARRAY_LEN(breaks); i++) {
		lab_reset(lab, k);
		lab_scene(lab, 1, 1);
		packet = lab_from_client(lab, 1, 4000, 1);
		breaks[i](lab);
		check_untouched(lab, &packet, SHUNT_R_BAD_CONFIG);
		CHECK_EQ(lab_flows_in_use(lab), 0);
	}
}
