// SPDX-License-Identifier: Apache-2.0
/* Limits of a service's policy: rates, connections in being, packets, address lists. */
#include "lab.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <time.h>

#include "datapath/flowmem.h"
#include "policy/rate.h"

TestSuite(limit, .timeout = 120);

#define POLICY	1
#define ACCOUNT 7
#define S	1000000000ull

static struct shunt_policy_record *policy(struct lab *lab)
{
	return SHUNT_DP_AT(lab->maps.policies, struct shunt_policy_record, POLICY);
}

/* The usual scene with two variants of one backend each, and an empty policy. */
static void scene(struct lab *lab)
{
	struct shunt_service *service;

	lab_scene(lab, 2, 1);
	service = SHUNT_DP_AT(lab->maps.services, struct shunt_service, 1);
	service->policy[0] = service->policy[1] = POLICY;
	service->account = ACCOUNT;
	*policy(lab) = (struct shunt_policy_record){ .service = 1 };
}

/* @average a second (0: one an hour, so that nothing comes back while a test runs). */
static struct shunt_rate rate(uint64_t average, uint32_t burst)
{
	struct shunt_rate rate;
	struct shunt_err err;

	cr_assert_eq(shunt_rate_make(average ? average : 1, average ? 1000 : 3600 * 1000, burst,
				     &rate, &err),
		     0);
	return rate;
}

static struct shunt_limit connections(uint32_t scope, uint32_t burst)
{
	return (struct shunt_limit){
		.rate = rate(0, burst),
		.bucket = 1,
		.scope = scope,
		.prefix_len = { 32, 128 },
		.variant = { { 1, 11 }, { 2, 12 } },
	};
}

static void limit_before(struct lab *lab, struct shunt_limit limit)
{
	policy(lab)->rate[policy(lab)->n_before++] = limit;
}

static void limit_behind(struct lab *lab, struct shunt_limit limit)
{
	policy(lab)->rate[policy(lab)->n_before + policy(lab)->n_behind++] = limit;
}

static void limit_packets(struct lab *lab, struct shunt_limit limit)
{
	struct shunt_policy_record *p = policy(lab);

	p->rate[p->n_before + p->n_behind + p->n_packet++] = limit;
	p->flags |= SHUNT_POLICY_PACKETS;
	lab_settings(lab)->flags |= SHUNT_S_PACKET_LIMITS;
}

static void at_once(struct lab *lab, uint32_t scope, uint32_t max)
{
	struct shunt_policy_record *p = policy(lab);

	p->at_once[p->n_at_once++] = (struct shunt_limit){
		.max = max,
		.bucket = 20 + p->n_at_once,
		.scope = scope,
		.prefix_len = { 32, 128 },
	};
}

static struct shunt_limit_counters counted(const struct lab *lab, uint32_t bucket)
{
	struct shunt_limit_counters cells[256], sum = { 0 };
	int cpus = libbpf_num_possible_cpus();

	cr_assert_leq(cpus, 256);
	cr_assert_eq(bpf_map_lookup_elem(lab->maps.limit_counters_fd, &bucket, cells), 0);
	for (int i = 0; i < cpus; i++) {
		sum.admitted += cells[i].admitted;
		sum.refused += cells[i].refused;
		sum.untracked += cells[i].untracked;
	}
	return sum;
}

/* A first packet of @client, from @port. */
static struct lab_result begin(struct lab *lab, uint32_t client, uint16_t port)
{
	struct lab_packet packet = lab_from_client(lab, client, port, 1);

	return lab_ingress(lab, &packet);
}

static uint32_t in_being(const struct lab *lab)
{
	return SHUNT_DP_AT(lab->maps.service_active, struct shunt_active, ACCOUNT)->connections;
}

static uint32_t of_variant(const struct lab *lab, uint32_t variant)
{
	return SHUNT_DP_AT(lab->maps.variant_active, struct shunt_active, variant)->connections;
}

static uint32_t of_clients(const struct lab *lab)
{
	uint32_t sum = 0;

	for (uint32_t i = 0; i < lab->maps.client_active.n; i++)
		sum += (uint32_t)SHUNT_DP_AT(lab->maps.client_active, struct shunt_client_active, i)
			       ->word;
	return sum;
}

/* ---- rates of connections ------------------------------------------------------------------ */

LAB_EACH(limit, a_service_takes_its_burst_of_connections_and_refuses_the_next, 0)
{
	struct lab_result got;

	scene(lab);
	limit_before(lab, connections(SHUNT_LIMIT_SERVICE, 5));
	for (uint16_t i = 0; i < 5; i++)
		CHECK_REASON(begin(lab, i, 4000).reason, SHUNT_R_FORWARDED);
	got = begin(lab, 9, 4000);
	CHECK_REASON(got.reason, SHUNT_R_LIMITED);
	CHECK_EQ(got.verdict, LAB_BOUNCE);
	CHECK(got.sums_right || k->proto == IPPROTO_UDP);
	CHECK_EQ(lab_flows_in_use(lab), 5);
	CHECK_EQ(counted(lab, 1).admitted, 5);
	CHECK_EQ(counted(lab, 1).refused, 1);
	/* UDP: administratively prohibited, which is not that nobody is there. */
	if (k->proto == IPPROTO_UDP && k->family == SHUNT_V4)
		CHECK_EQ(got.frame.data[14 + 20 + 1], 13);
	if (k->proto == IPPROTO_UDP && k->family == SHUNT_V6)
		CHECK_EQ(got.frame.data[14 + 40 + 1], 1);
}

LAB_EACH(limit, the_packets_of_a_flow_that_began_are_no_new_connections, 0)
{
	struct lab_packet packet;

	(void)k;
	scene(lab);
	limit_before(lab, connections(SHUNT_LIMIT_SERVICE, 1));
	packet = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &packet);
	packet = k->proto == IPPROTO_TCP ? lab_flags(packet, TH_ACK_, 1001, 5001) : packet;
	for (int i = 0; i < 5; i++)
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(counted(lab, 1).admitted, 1);
	CHECK_EQ(counted(lab, 1).refused, 0);
}

LAB_EACH(limit, one_that_says_drop_answers_nothing, 0)
{
	struct shunt_limit limit = connections(SHUNT_LIMIT_SERVICE, 1);
	struct lab_result got;

	(void)k;
	scene(lab);
	limit.answer = SHUNT_LIMIT_DROP;
	limit_before(lab, limit);
	begin(lab, 1, 4000);
	got = begin(lab, 2, 4000);
	CHECK_REASON(got.reason, SHUNT_R_LIMITED_DROP);
	CHECK_EQ(got.verdict, LAB_DROP);
}

LAB_EACH(limit, each_client_has_a_bucket_of_its_own, 0)
{
	(void)k;
	scene(lab);
	limit_before(lab, connections(SHUNT_LIMIT_CLIENT, 2));
	for (uint32_t client = 1; client <= 20; client++) {
		CHECK_REASON(begin(lab, client, 1).reason, SHUNT_R_FORWARDED);
		CHECK_REASON(begin(lab, client, 2).reason, SHUNT_R_FORWARDED);
		CHECK_REASON(begin(lab, client, 3).reason, SHUNT_R_LIMITED);
	}
	CHECK_EQ(counted(lab, 1).admitted, 40);
	CHECK_EQ(counted(lab, 1).refused, 20);
	CHECK_EQ(counted(lab, 1).untracked, 0);
}

LAB_EACH(limit, clients_of_one_prefix_share_a_bucket, 0)
{
	struct shunt_limit limit = connections(SHUNT_LIMIT_CLIENT, 2);

	(void)k;
	scene(lab);
	limit.prefix_len[SHUNT_V4] = 24;
	limit.prefix_len[SHUNT_V6] = 32;
	limit_before(lab, limit);
	CHECK_REASON(begin(lab, 1, 1).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(begin(lab, 2, 1).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(begin(lab, 3, 1).reason, SHUNT_R_LIMITED);
	if (k->family == SHUNT_V4) /* another /24 */
		CHECK_REASON(begin(lab, 300, 1).reason, SHUNT_R_FORWARDED);
}

LAB_EACH(limit, each_variant_has_a_bucket_of_its_own, 0)
{
	uint32_t made[3] = { 0 }, refused = 0;

	(void)k;
	scene(lab);
	limit_behind(lab, connections(SHUNT_LIMIT_VARIANT, 4));
	for (uint32_t client = 1; client <= 60; client++) {
		struct lab_packet packet = lab_from_client(lab, client, 4000, 1);

		if (lab_ingress(lab, &packet).reason == SHUNT_R_FORWARDED)
			made[lab_flow(lab, &packet)->variant]++;
		else
			refused++;
	}
	CHECK_EQ(made[1], 4);
	CHECK_EQ(made[2], 4);
	CHECK_EQ(refused, 52);
	CHECK_EQ(counted(lab, 11).admitted, 4);
	CHECK_EQ(counted(lab, 12).admitted, 4);
	CHECK_EQ(counted(lab, 11).refused + counted(lab, 12).refused, 52);
}

LAB_EACH(limit, one_of_a_single_variant_leaves_the_other_alone, 0)
{
	struct shunt_limit limit = connections(SHUNT_LIMIT_SERVICE, 3);
	uint32_t made[3] = { 0 };

	(void)k;
	scene(lab);
	limit.only_variant = 2;
	limit_behind(lab, limit);
	for (uint32_t client = 1; client <= 40; client++) {
		struct lab_packet packet = lab_from_client(lab, client, 4000, 1);

		if (lab_ingress(lab, &packet).reason == SHUNT_R_FORWARDED)
			made[lab_flow(lab, &packet)->variant]++;
	}
	CHECK(made[1] > 10);
	CHECK_EQ(made[2], 3);
}

LAB_EACH(limit, a_bucket_fills_again_as_time_goes_by, LAB_ONLY_TCP)
{
	struct shunt_limit limit = connections(SHUNT_LIMIT_SERVICE, 1);
	struct shunt_bucket *bucket;

	(void)k;
	scene(lab);
	limit_before(lab, limit);
	begin(lab, 1, 1);
	CHECK_REASON(begin(lab, 2, 1).reason, SHUNT_R_LIMITED);
	/* An hour later. */
	bucket = SHUNT_DP_AT(lab->maps.buckets, struct shunt_bucket, 1);
	bucket->word -= (3600 * S) << SHUNT_GCRA_TICK;
	CHECK_REASON(begin(lab, 2, 1).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(begin(lab, 3, 1).reason, SHUNT_R_LIMITED);
}

/* The table is full of clients whose buckets have not rested. */
LAB_EACH(limit, who_finds_no_room_among_the_clients_passes_and_is_counted, LAB_ONLY_TCP)
{
	uint64_t ahead = UINT64_MAX >> 1;
	struct shunt_client_set *set;

	(void)k;
	scene(lab);
	limit_before(lab, connections(SHUNT_LIMIT_CLIENT, 1));
	begin(lab, 1, 1);
	CHECK_REASON(begin(lab, 1, 2).reason, SHUNT_R_LIMITED);
	for (uint32_t i = 0; i < lab->maps.client_sets.n; i++) {
		set = SHUNT_DP_AT(lab->maps.client_sets, struct shunt_client_set, i);
		for (int w = 0; w < SHUNT_LIMIT_WAYS; w++) {
			if (set->tag[w])
				continue;
			set->tag[w] = 1 + (uint64_t)w;
			set->word[w] = ahead;
		}
	}
	CHECK_REASON(begin(lab, 2, 1).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(begin(lab, 2, 2).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(counted(lab, 1).untracked, 2);
	/* Who was there before is limited as before. */
	CHECK_REASON(begin(lab, 1, 3).reason, SHUNT_R_LIMITED);
}

LAB_EACH(limit, a_client_that_rested_makes_room_for_another, LAB_ONLY_TCP)
{
	uint64_t tags = 0;

	(void)k;
	scene(lab);
	limit_before(lab, connections(SHUNT_LIMIT_CLIENT, 1));
	for (uint32_t i = 0; i < lab->maps.client_sets.n; i++)
		for (uint64_t w = 0; w < SHUNT_LIMIT_WAYS; w++)
			SHUNT_DP_AT(lab->maps.client_sets, struct shunt_client_set, i)->tag[w] = 99;
	begin(lab, 1, 1);
	CHECK_REASON(begin(lab, 1, 2).reason, SHUNT_R_LIMITED);
	for (uint32_t i = 0; i < lab->maps.client_sets.n; i++)
		for (uint64_t w = 0; w < SHUNT_LIMIT_WAYS; w++)
			tags += SHUNT_DP_AT(lab->maps.client_sets, struct shunt_client_set, i)
					->tag[w] != 99;
	CHECK_EQ(tags, 1);
}

/* ---- packets and bytes --------------------------------------------------------------------- */

static struct shunt_limit packets(uint32_t scope, uint32_t unit, uint32_t burst)
{
	struct shunt_limit limit = connections(scope, burst);

	limit.unit = (uint8_t)unit;
	return limit;
}

static struct lab_packet established(struct lab *lab, uint32_t client)
{
	struct lab_packet packet = lab_from_client(lab, client, 4000, 1);

	lab_connect(lab, &packet);
	return lab->kind->proto == IPPROTO_TCP ? lab_flags(packet, TH_ACK_, 1001, 5001) : packet;
}

LAB_EACH(limit, packets_over_their_rate_are_dropped, 0)
{
	struct lab_packet packet;
	struct lab_result got;

	(void)k;
	scene(lab);
	packet = established(lab, 1);
	limit_packets(lab, packets(SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_PACKETS, 3));
	for (int i = 0; i < 3; i++)
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	got = lab_ingress(lab, &packet);
	CHECK_REASON(got.reason, SHUNT_R_LIMITED_DROP);
	CHECK_EQ(got.verdict, LAB_DROP);
	CHECK_EQ(counted(lab, 1).admitted, 3);
	CHECK_EQ(counted(lab, 1).refused, 1);
}

LAB_EACH(limit, bytes_are_those_of_the_ip_packets, 0)
{
	struct lab_packet packet;

	scene(lab);
	packet = established(lab, 1);
	limit_packets(lab, packets(SHUNT_LIMIT_CLIENT, SHUNT_LIMIT_BYTES, 1000));
	CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	if (k->proto == IPPROTO_UDP)
		CHECK_EQ(counted(lab, 1).admitted, (k->family == SHUNT_V6 ? 40 : 20) + 8 + 10);
	else
		CHECK(counted(lab, 1).admitted >= 40);
	for (int i = 0; i < 100; i++)
		lab_ingress(lab, &packet);
	CHECK(counted(lab, 1).admitted <= 1000);
	CHECK(counted(lab, 1).admitted > 900);
}

LAB_EACH(limit, a_super_packet_counts_as_its_segments, LAB_ONLY_TC)
{
	struct lab_packet packet;
	struct lab_frame frame;

	(void)k;
	scene(lab);
	packet = established(lab, 1);
	limit_packets(lab, packets(SHUNT_LIMIT_VARIANT, SHUNT_LIMIT_PACKETS, 10));
	packet_build(&packet, &frame);
	CHECK_REASON(lab_ingress_gso(lab, &frame, 7).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(lab_ingress_gso(lab, &frame, 7).reason, SHUNT_R_LIMITED_DROP);
	CHECK_REASON(lab_ingress_gso(lab, &frame, 3).reason, SHUNT_R_FORWARDED);
}

/* More than the burst passes a full bucket, and is owed. */
LAB_EACH(limit, a_super_packet_larger_than_the_burst_gets_through_once, LAB_ONLY_TC)
{
	struct lab_packet packet;
	struct lab_frame frame;

	(void)k;
	scene(lab);
	packet = established(lab, 1);
	limit_packets(lab, packets(SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_PACKETS, 2));
	policy(lab)->rate[0].rate = rate(1, 2);
	packet_build(&packet, &frame);
	CHECK_REASON(lab_ingress_gso(lab, &frame, 20).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(lab_ingress_gso(lab, &frame, 20).reason, SHUNT_R_LIMITED_DROP);
	CHECK_REASON(lab_ingress_gso(lab, &frame, 1).reason, SHUNT_R_LIMITED_DROP);
	/* Ten seconds later it is still owed, 19 seconds later no more. */
	SHUNT_DP_AT(lab->maps.buckets, struct shunt_bucket, 1)->word -= (10 * S) << SHUNT_GCRA_TICK;
	CHECK_REASON(lab_ingress_gso(lab, &frame, 1).reason, SHUNT_R_LIMITED_DROP);
	SHUNT_DP_AT(lab->maps.buckets, struct shunt_bucket, 1)->word -= (9 * S) << SHUNT_GCRA_TICK;
	CHECK_REASON(lab_ingress_gso(lab, &frame, 1).reason, SHUNT_R_FORWARDED);
}

LAB_EACH(limit, the_first_packet_of_a_flow_is_a_packet, LAB_ONLY_UDP)
{
	(void)k;
	scene(lab);
	limit_packets(lab, packets(SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_PACKETS, 3));
	for (uint16_t port = 1; port <= 3; port++)
		CHECK_REASON(begin(lab, 1, port).reason, SHUNT_R_FORWARDED);
	CHECK(begin(lab, 1, 4).reason != SHUNT_R_FORWARDED);
	CHECK_EQ(lab_flows_in_use(lab), 3);
}

/* A mid-stream packet to an owned frontend: its own client's bucket, whoever came before it. */
LAB_EACH(limit, a_packet_that_is_led_without_an_entry_pays_for_itself, LAB_ONLY_TCP)
{
	struct lab_packet one, two;

	(void)k;
	scene(lab);
	lab_service_flags(lab, 1, SHUNT_SVC_OWNED);
	limit_packets(lab, packets(SHUNT_LIMIT_CLIENT, SHUNT_LIMIT_PACKETS, 1));
	one = lab_from_client(lab, 1, 4000, 1);
	two = lab_flags(lab_from_client(lab, 2, 4000, 1), TH_ACK_ | TH_PSH_, 1001, 5001);
	CHECK_REASON(lab_ingress(lab, &one).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(lab_ingress(lab, &two).reason, SHUNT_R_REPLACED);
	CHECK_REASON(lab_ingress(lab, &two).reason, SHUNT_R_LIMITED);
	CHECK_EQ(counted(lab, 1).admitted, 2);
}

LAB_EACH(limit, without_the_bit_in_the_settings_no_packet_is_asked, 0)
{
	struct lab_packet packet;

	(void)k;
	scene(lab);
	packet = established(lab, 1);
	limit_packets(lab, packets(SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_PACKETS, 1));
	lab_settings(lab)->flags = 0;
	for (int i = 0; i < 5; i++)
		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(counted(lab, 1).admitted, 0);
}

/* ---- connections in being ------------------------------------------------------------------ */

/* Ends a flow: by RST, or as the sweep does. */
static void end(struct lab *lab, uint32_t client, uint16_t port)
{
	struct lab_packet packet = lab_from_client(lab, client, port, 1);
	struct shunt_flow *flow = lab_flow(lab, &packet);

	if (lab->kind->proto == IPPROTO_TCP) {
		packet = lab_flags(packet, TH_RST_, 1001, 0);
		lab_ingress(lab, &packet);
		return;
	}
	cr_assert_not_null(flow);
	shunt_ft_remove(
		&lab->maps,
		SHUNT_FT_REF((uint32_t)(flow - SHUNT_DP_AT(lab->maps.flows, struct shunt_flow, 0)),
			     flow->life));
}

LAB_EACH(limit, a_service_has_so_many_connections_and_gets_one_more_when_one_ends, 0)
{
	struct lab_result got;

	(void)k;
	scene(lab);
	at_once(lab, SHUNT_LIMIT_SERVICE, 3);
	for (uint32_t client = 1; client <= 3; client++)
		CHECK_REASON(begin(lab, client, 1).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(in_being(lab), 3);
	CHECK_EQ(of_variant(lab, 1) + of_variant(lab, 2), 3);
	got = begin(lab, 4, 1);
	CHECK_REASON(got.reason, SHUNT_R_IN_FLIGHT);
	CHECK_EQ(got.verdict, LAB_BOUNCE);
	CHECK_EQ(in_being(lab), 3);
	end(lab, 2, 1);
	CHECK_EQ(in_being(lab), 2);
	CHECK_REASON(begin(lab, 4, 1).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(begin(lab, 5, 1).reason, SHUNT_R_IN_FLIGHT);
	for (uint32_t client = 1; client <= 4; client++)
		if (client != 2)
			end(lab, client, 1);
	CHECK_EQ(in_being(lab), 0);
	CHECK_EQ(of_variant(lab, 1) + of_variant(lab, 2), 0);
	CHECK_EQ(counted(lab, 21).admitted, 4);
	CHECK_EQ(counted(lab, 21).refused, 2);
}

LAB_EACH(limit, a_client_has_so_many_connections_and_others_theirs, 0)
{
	(void)k;
	scene(lab);
	at_once(lab, SHUNT_LIMIT_CLIENT, 2);
	for (int round = 0; round < 3; round++) {
		for (uint32_t client = 1; client <= 10; client++) {
			CHECK_REASON(begin(lab, client, 1).reason, SHUNT_R_FORWARDED);
			CHECK_REASON(begin(lab, client, 2).reason, SHUNT_R_FORWARDED);
			CHECK_REASON(begin(lab, client, 3).reason, SHUNT_R_IN_FLIGHT);
		}
		CHECK_EQ(of_clients(lab), 20);
		for (uint32_t client = 1; client <= 10; client++) {
			end(lab, client, 1);
			end(lab, client, 2);
		}
		CHECK_EQ(of_clients(lab), 0);
		CHECK_EQ(in_being(lab), 0);
	}
}

LAB_EACH(limit, variants_and_backends_have_so_many_each, 0)
{
	static const uint32_t scopes[] = { SHUNT_LIMIT_VARIANT, SHUNT_LIMIT_BACKEND };

	for (int i = 0; i < 2; i++) {
		lab_reset(lab, k);
		scene(lab);
		at_once(lab, scopes[i], 4);
		for (uint32_t client = 1; client <= 60; client++)
			begin(lab, client, 1);
		CHECK_EQ(of_variant(lab, 1), 4);
		CHECK_EQ(of_variant(lab, 2), 4);
		CHECK_EQ(lab_active(lab, 1), 4);
		CHECK_EQ(lab_active(lab, 2), 4);
		CHECK_EQ(lab_reason(lab, SHUNT_R_IN_FLIGHT), 52);
	}
}

/* A flow that is not made gives back what was counted for it. */
LAB_EACH(limit, a_flow_that_finds_no_room_is_not_counted, LAB_ONLY_TCP)
{
	(void)k;
	scene(lab);
	at_once(lab, SHUNT_LIMIT_SERVICE, 100);
	at_once(lab, SHUNT_LIMIT_CLIENT, 100);
	lab_settings(lab)->client_limit = 2;
	begin(lab, 1, 1);
	begin(lab, 1, 2);
	CHECK_REASON(begin(lab, 1, 3).reason, SHUNT_R_CLIENT_SHARE);
	CHECK_EQ(in_being(lab), 2);
	CHECK_EQ(of_clients(lab), 2);
}

/* Clients that went without a word, no agent: a refusal looks for them. */
LAB_EACH(limit, the_kernel_frees_places_whose_clients_are_gone, 0)
{
	uint32_t now = lab_jiffies(lab), asked;

	scene(lab);
	at_once(lab, SHUNT_LIMIT_SERVICE, 3);
	for (uint32_t client = 1; client <= 3; client++) {
		struct lab_packet packet = lab_from_client(lab, client, 1, 1);

		lab_connect(lab, &packet);
		lab_flow(lab, &packet)->seen_jiffies = now - 50000;
	}
	CHECK_REASON(begin(lab, 4, 1).reason, SHUNT_R_IN_FLIGHT);
	asked = 1;
	lab_settings(lab)
		->timeout_jiffies[k->proto == IPPROTO_TCP ? SHUNT_T_ESTABLISHED : SHUNT_T_UDP] =
		50000;
	/* Two sweeps see all 64 sets, one in each jiffy. */
	for (uint32_t client = 4; client <= 6; client++) {
		enum shunt_reason reason = begin(lab, client, 1).reason;

		asked++;
		for (int i = 0; i < 9 && reason != SHUNT_R_FORWARDED; i++) {
			nanosleep(&(struct timespec){ .tv_nsec = 11000000 }, NULL);
			reason = begin(lab, client, 1).reason;
			asked++;
		}
		CHECK_REASON(reason, SHUNT_R_FORWARDED);
	}
	CHECK_EQ(in_being(lab), 3);
	/* Each connection is one, also that which came in when a place had been looked for. */
	CHECK_EQ(counted(lab, 21).admitted, 6);
	CHECK_EQ(counted(lab, 21).admitted + counted(lab, 21).refused, 3 + asked);
}

/* Who holds a reference to the record's tenant before takes nothing of this one. */
LAB_EACH(limit, an_old_reference_to_a_record_ends_nothing, 0)
{
	struct lab_packet packet;
	struct shunt_flow *flow;
	uint32_t index;

	(void)k;
	scene(lab);
	at_once(lab, SHUNT_LIMIT_CLIENT, 5);
	packet = lab_from_client(lab, 1, 1, 1);
	lab_connect(lab, &packet);
	flow = lab_flow(lab, &packet);
	cr_assert_not_null(flow);
	index = (uint32_t)(flow - SHUNT_DP_AT(lab->maps.flows, struct shunt_flow, 0));
	CHECK_EQ(shunt_ft_remove(&lab->maps, SHUNT_FT_REF(index, flow->life - 0x100)), 0);
	CHECK_EQ(shunt_ft_change(&lab->maps, index, flow->life - 0x100, SHUNT_F_CLOSED), 0);
	CHECK_EQ(of_clients(lab), 1);
	CHECK_EQ(in_being(lab), 1);
	CHECK_EQ(shunt_ft_remove(&lab->maps, SHUNT_FT_REF(index, flow->life)), 1);
	CHECK_EQ(of_clients(lab), 0);
	CHECK_EQ(in_being(lab), 0);
}

/* A RST may be forged: the flow that goes on counts again. */
LAB_EACH(limit, a_connection_that_lives_on_after_a_reset_counts_again, LAB_ONLY_TCP)
{
	struct lab_packet packet, answer, at_backend;

	(void)k;
	scene(lab);
	at_once(lab, SHUNT_LIMIT_SERVICE, 5);
	at_once(lab, SHUNT_LIMIT_CLIENT, 5);
	packet = lab_from_client(lab, 1, 1, 1);
	at_backend = lab_connect(lab, &packet);
	end(lab, 1, 1);
	CHECK_EQ(in_being(lab), 0);
	answer = lab_flags(lab_answer(&at_backend), TH_ACK_, 5001, 1001);
	lab_egress(lab, &answer);
	CHECK_EQ(lab_state(lab, &packet), SHUNT_F_ESTABLISHED);
	CHECK_EQ(in_being(lab), 1);
	end(lab, 1, 1);
	CHECK_EQ(in_being(lab), 0);
	CHECK_EQ(of_clients(lab), 0);
}

/* ---- address lists ------------------------------------------------------------------------- */

static void source_of(struct lab *lab, uint32_t list, uint32_t client, uint32_t len,
		      uint32_t is_denied)
{
	struct shunt_addr addr = lab_client_addr(lab->kind->family, client);
	struct shunt_source_key_v4 v4 = { 32 + len, list, addr.word_be[3] };
	struct shunt_source_key_v6 v6 = { 32 + len, list, { 0 } };
	struct shunt_source value = { .is_denied = is_denied };
	int is_v6 = lab->kind->family == SHUNT_V6;

	memcpy(v6.word_be, addr.word_be, sizeof(v6.word_be));
	cr_assert_eq(bpf_map_update_elem(lab->maps.sources_fd[is_v6],
					 is_v6 ? (void *)&v6 : (void *)&v4, &value, 0),
		     0);
}

static void source(struct lab *lab, uint32_t client, uint32_t len, uint32_t is_denied)
{
	source_of(lab, POLICY, client, len, is_denied);
	policy(lab)->flags |= SHUNT_POLICY_SOURCES;
}

/* A range of the load balancer's: the client's own address. */
static void range(struct lab *lab, uint32_t client)
{
	int is_v6 = lab->kind->family == SHUNT_V6;

	source_of(lab, POLICY | SHUNT_SOURCES_OF_BALANCER, client, is_v6 ? 128 : 32, 0);
	policy(lab)->flags |= is_v6 ? SHUNT_POLICY_BALANCER_6 : SHUNT_POLICY_BALANCER_4;
}

/* What stands at the frontend: @flags, enum shunt_frontend_flags. */
static void frontend_is(struct lab *lab, uint32_t flags)
{
	struct shunt_frontend_key key = {
		.addr = lab_frontend_addr(lab->kind->family, 1),
		.port_be = htons(LAB_PORT),
		.proto = lab->kind->proto,
	};
	struct shunt_frontend value;

	cr_assert_eq(bpf_map_lookup_elem(lab->maps.frontends_fd, &key, &value), 0);
	value.flags = flags;
	cr_assert_eq(bpf_map_update_elem(lab->maps.frontends_fd, &key, &value, BPF_ANY), 0);
}

LAB_EACH(limit, a_load_balancers_ranges_hold_at_its_addresses_alone, 0)
{
	struct lab_result got;

	(void)k;
	scene(lab);
	range(lab, 5);
	CHECK_REASON(begin(lab, 6, 1).reason, SHUNT_R_FORWARDED);
	/* The bit of the other slot is another generation's. */
	frontend_is(lab, SHUNT_FE_BALANCER_1);
	CHECK_REASON(begin(lab, 6, 2).reason, SHUNT_R_FORWARDED);
	frontend_is(lab, SHUNT_FE_BALANCER_0);
	CHECK_REASON(begin(lab, 5, 3).reason, SHUNT_R_FORWARDED);
	got = begin(lab, 6, 3);
	CHECK_REASON(got.reason, SHUNT_R_SOURCE_DENIED_DROP);
	CHECK_EQ(got.verdict, LAB_DROP);
	/* What is in being goes on. */
	CHECK_REASON(begin(lab, 6, 2).reason, SHUNT_R_FORWARDED);
	/* Of another family, there is none: open. */
	policy(lab)->flags ^= SHUNT_POLICY_BALANCER_4 | SHUNT_POLICY_BALANCER_6;
	CHECK_REASON(begin(lab, 6, 4).reason, SHUNT_R_FORWARDED);
}

LAB_EACH(limit, a_load_balancers_ranges_and_the_policys_lists_must_both_admit, 0)
{
	const uint32_t whole = k->family == SHUNT_V6 ? 128 : 32;

	scene(lab);
	frontend_is(lab, SHUNT_FE_BALANCER_0 | SHUNT_FE_BALANCER_1);
	range(lab, 5);
	range(lab, 6);
	source(lab, 6, whole, 1);
	source(lab, 7, whole, 0);
	CHECK_REASON(begin(lab, 5, 1).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(begin(lab, 6, 1).reason, SHUNT_R_SOURCE_DENIED);
	CHECK_REASON(begin(lab, 7, 1).reason, SHUNT_R_SOURCE_DENIED_DROP);
}

LAB_EACH(limit, who_is_on_the_list_may_not_connect, 0)
{
	scene(lab);
	source(lab, 5, k->family == SHUNT_V6 ? 128 : 32, 1);
	CHECK_REASON(begin(lab, 5, 1).reason, SHUNT_R_SOURCE_DENIED);
	CHECK_REASON(begin(lab, 6, 1).reason, SHUNT_R_FORWARDED);
	/* With a list of who may, nobody else may. */
	policy(lab)->flags |= SHUNT_POLICY_ALLOW_ONLY;
	source(lab, 7, k->family == SHUNT_V6 ? 128 : 32, 0);
	CHECK_REASON(begin(lab, 7, 1).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(begin(lab, 8, 1).reason, SHUNT_R_SOURCE_DENIED);
	/* What is longer decides. */
	source(lab, 8, 8, 0);
	CHECK_REASON(begin(lab, 8, 1).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(begin(lab, 5, 1).reason, SHUNT_R_SOURCE_DENIED);
}

LAB_EACH(limit, another_policys_list_does_not_count, 0)
{
	scene(lab);
	source(lab, 5, k->family == SHUNT_V6 ? 128 : 32, 1);
	SHUNT_DP_AT(lab->maps.services, struct shunt_service, 1)->policy[0] = 2;
	*SHUNT_DP_AT(lab->maps.policies, struct shunt_policy_record, 2) = *policy(lab);
	CHECK_REASON(begin(lab, 5, 1).reason, SHUNT_R_FORWARDED);
}

/* ---- the switch ---------------------------------------------------------------------------- */

LAB_EACH(limit, a_packet_asks_the_policy_of_its_epoch, 0)
{
	struct shunt_service *service;

	(void)k;
	scene(lab);
	service = SHUNT_DP_AT(lab->maps.services, struct shunt_service, 1);
	service->policy[0] = 0;
	limit_before(lab, connections(SHUNT_LIMIT_SERVICE, 1));
	for (uint32_t client = 1; client <= 5; client++)
		CHECK_REASON(begin(lab, client, 1).reason, SHUNT_R_FORWARDED);
	lab_settings(lab)->epoch = 1;
	CHECK_REASON(begin(lab, 6, 1).reason, SHUNT_R_FORWARDED);
	CHECK_REASON(begin(lab, 7, 1).reason, SHUNT_R_LIMITED);
}
