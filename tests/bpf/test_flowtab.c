// SPDX-License-Identifier: Apache-2.0
/*
 * A table of four sets, hammered from two CPUs by the programs and swept meanwhile by user
 * space through the same memory. Then everything must still fit together.
 */
#include "lab.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <time.h>

#include "datapath/flowmem.h" /* the user-space build of the table, for its own lookups */
#include "datapath/sweep.h"

TestSuite(flowtab, .timeout = 120);

#define SETS	 4
#define CLIENTS	 40 /* at a time; times two frontends: more tuples than ways */
#define FEW	 3  /* in every second round: both CPUs make the same flows */
#define BACKENDS 3
#define ROUNDS	 200 /* for each kind; after each the whole table is looked at */
#define ROUND_MS 15

static atomic_bool stop;

struct hammer {
	struct lab lab; /* a copy: each thread has its own turn */
	int cpu;
	uint32_t first_client, n_clients;
	uint64_t random;
	uint64_t forwarded, restored, other;
};

static uint32_t next(struct hammer *h, uint32_t below)
{
	h->random = shunt_mix64(h->random + 0x9e3779b97f4a7c15ull);
	return (uint32_t)((h->random >> 32) % below);
}

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (int)sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* A packet through a program; counters are left alone, the other thread uses them too. */
static bool pass(struct hammer *h, int prog, enum lab_hook hook, struct lab_packet *packet)
{
	struct lab_frame in, out;
	bool sums_right = false;
	uint32_t code;

	packet_build(packet, &in);
	if (lab_run(&h->lab, prog, hook, &in, 0, &out, &code) < 0 ||
	    lab_verdict(hook, code) != LAB_PASS)
		return false;
	return packet_parse(&out, packet, &sums_right) && sums_right;
}

static uint8_t random_flags(struct hammer *h)
{
	static const uint8_t flags[] = { TH_SYN_, TH_SYN_,	     TH_SYN_, TH_ACK_,
					 TH_ACK_, TH_FIN_ | TH_ACK_, TH_RST_, TH_SYN_ | TH_ACK_ };

	return flags[next(h, ARRAY_LEN(flags))];
}

/* One packet of a random client, and mostly what its backend would answer. */
static void one_exchange(struct hammer *h)
{
	struct lab *lab = &h->lab;
	struct lab_packet packet =
		lab_from_client(lab, h->first_client + next(h, h->n_clients), 4000, 1 + next(h, 2));
	struct lab_packet sent;

	packet = lab_flags(packet, random_flags(h), 1001, 5001);
	lab->gate = lab->gates[next(h, 2)];
	sent = packet;
	if (!pass(h, lab_ingress_fd(lab), lab->kind->hook, &packet) ||
	    !memcmp(&packet.dst, &sent.dst, sizeof(sent.dst))) {
		h->other++;
		return;
	}
	h->forwarded++;
	for (uint32_t n = next(h, 3); n; n--) {
		struct lab_packet answer = lab_answer(&packet);

		answer = lab_flags(answer, n == 1 ? TH_SYN_ | TH_ACK_ : random_flags(h),
				   5000 - next(h, 2), 1001);
		h->restored += pass(h, lab_egress_fd(lab), LAB_TC, &answer);
	}
}

static void *hammer(void *arg)
{
	struct hammer *h = arg;

	pin_to(h->cpu);
	while (!atomic_load(&stop))
		one_exchange(h);
	return NULL;
}

static uint64_t swept;

static void *sweeper(void *arg)
{
	struct lab *lab = arg;

	while (!atomic_load(&stop)) {
		swept += shunt_flowtab_sweep(&lab->maps, 0, SETS, lab_jiffies(lab));
		usleep(500);
	}
	return NULL;
}

/* ---- what must hold when everybody has stopped ----------------------------------------------- */

static struct shunt_tuple client_tuple(const struct shunt_flow *flow)
{
	struct shunt_tuple tuple = {
		.src.word_be[3] = flow->client_lo_be,
		.dst.word_be[3] = flow->frontend_lo_be,
		.sport_be = flow->client_port_be,
		.dport_be = flow->frontend_port_be,
		.proto = flow->proto,
		.family = flow->family,
	};

	memcpy(&tuple.src, flow->client_hi_be, 12);
	memcpy(&tuple.dst, flow->frontend_hi_be, 12);
	return tuple;
}

static struct shunt_tuple answer_tuple(const struct shunt_flow *flow)
{
	struct shunt_tuple tuple = {
		.src.word_be[3] = flow->backend_lo_be,
		.dst.word_be[3] = flow->source_lo_be,
		.sport_be = flow->backend_port_be,
		.dport_be = flow->source_port_be,
		.proto = flow->proto,
		.family = flow->family,
	};

	memcpy(&tuple.src, flow->backend_hi_be, 12);
	memcpy(&tuple.dst, flow->source_hi_be, 12);
	return tuple;
}

/* A live flow is found by both its keys, and its tag is the one of its tuple. */
static void check_flow(const struct shunt_dp_maps *maps, uint32_t index)
{
	const struct shunt_settings *settings = shunt_ft_settings(maps);
	const struct shunt_flow *flow = shunt_ft_flow(maps, index);
	struct shunt_tuple client = client_tuple(flow), answer = answer_tuple(flow);
	uint64_t hash =
		shunt_table_hash(settings->table_key, &client.src, &client.dst, client.sport_be,
				 client.dport_be, client.proto, client.family);
	uint64_t ref = SHUNT_FT_REF(index, flow->life);
	uint32_t set = index / SHUNT_FLOW_WAYS, way = index % SHUNT_FLOW_WAYS;

	CHECK_EQ((uint32_t)hash & settings->flow_set_mask, set);
	CHECK_EQ(shunt_ft_set(maps, set)->tag[way] & ~SHUNT_FT_HALF_OPEN, shunt_ft_tag(hash));
	if (shunt_ft_set(maps, set)->tag[way] & SHUNT_FT_HALF_OPEN)
		CHECK(SHUNT_LIFE_STATE(flow->life) == SHUNT_F_CLOSED ||
		      shunt_ft_is_half_open(SHUNT_LIFE_STATE(flow->life)));
	CHECK_EQ(shunt_ft_find(maps, &client, hash), ref);
	CHECK_EQ(shunt_ft_find_reply(maps, &answer, SHUNT_FT_ANSWER), ref);
}

/* No two live flows have one client tuple or one answer tuple. */
static void check_unique(const struct shunt_dp_maps *maps, uint32_t index)
{
	const struct shunt_flow *flow = shunt_ft_flow(maps, index);
	struct shunt_tuple client = client_tuple(flow), answer = answer_tuple(flow), other;

	for (uint32_t i = index + 1; i < maps->flows.n; i++) {
		const struct shunt_flow *rival = shunt_ft_flow(maps, i);

		if (SHUNT_LIFE_STATE(rival->life) == SHUNT_F_FREE)
			continue;
		other = client_tuple(rival);
		cr_expect(memcmp(&client, &other, sizeof(other)),
			  "%s: flows %u and %u have one client (ports %u and %u)", lab_what, index,
			  i, ntohs(flow->source_port_be), ntohs(rival->source_port_be));
		other = answer_tuple(rival);
		cr_expect(memcmp(&answer, &other, sizeof(other)),
			  "%s: flows %u and %u have one answer", lab_what, index, i);
	}
}

/* A reply word leads to a live flow that says that it stands there. */
static void check_replies(const struct shunt_dp_maps *maps)
{
	for (uint32_t s = 0; s < maps->reply_sets.n; s++)
		for (uint32_t w = 0; w < SHUNT_REPLY_WAYS; w++) {
			uint64_t word = shunt_ft_reply_set(maps, s)->way[w];
			const struct shunt_flow *flow;

			if (!word)
				continue;
			flow = shunt_ft_flow(maps, (uint32_t)word - 1);
			cr_assert_not_null(flow);
			CHECK(SHUNT_LIFE_STATE(flow->life) != SHUNT_F_FREE);
			CHECK_EQ(flow->reply_way, s * SHUNT_REPLY_WAYS + w + 1);
		}
}

static void check_table(struct lab *lab)
{
	uint32_t counted[BACKENDS + 1] = { 0 }, live = 0, clients[SETS] = { 0 };

	for (uint32_t i = 0; i < lab->maps.flows.n; i++) {
		const struct shunt_flow *flow = shunt_ft_flow(&lab->maps, i);
		uint32_t state = SHUNT_LIFE_STATE(flow->life);
		uint32_t tag =
			shunt_ft_set(&lab->maps, i / SHUNT_FLOW_WAYS)->tag[i % SHUNT_FLOW_WAYS];

		CHECK_EQ(tag != 0, state != SHUNT_F_FREE);
		if (state == SHUNT_F_FREE)
			continue;
		live++;
		counted[flow->backend] += shunt_ft_is_counted(state);
		clients[shunt_ft_client_index(&lab->maps, flow)] += shunt_ft_is_counted(state);
		check_flow(&lab->maps, i);
		check_unique(&lab->maps, i);
	}
	check_replies(&lab->maps);
	CHECK_EQ(lab_replies_in_use(lab), live);
	for (uint32_t b = 1; b <= BACKENDS; b++)
		CHECK_EQ(lab_active(lab, b), counted[b]);
	for (uint32_t c = 0; c < SETS; c++)
		CHECK_EQ(shunt_ft_client(&lab->maps, c)->flows, clients[c]);
}

/* ---- the hammer --------------------------------------------------------------------------------
 */

static void set_up(struct lab *lab, const struct lab_kind *kind)
{
	lab_reset(lab, kind);
	lab_scene(lab, 1, BACKENDS);
	lab_frontend(lab, lab_frontend_addr(kind->family, 2), LAB_PORT, 1, 1, 0);
	/* Few ports, so that they run out; short times, so that the sweep has work. */
	lab_settings(lab)->nat_port_count = 4;
	for (int i = 0; i < SHUNT_N_TIMEOUTS; i++)
		lab_settings(lab)->timeout_jiffies[i] = 3;
}

/* With one seed for both CPUs they do the same at nearly the same time. */
static void round_of(struct lab *lab, struct hammer hammers[2], uint32_t number)
{
	struct timespec pause = { .tv_nsec = ROUND_MS * 1000000 };
	pthread_t threads[3];

	atomic_store(&stop, false);
	for (int i = 0; i < 2; i++) {
		hammers[i].first_client = number * CLIENTS / 2;
		hammers[i].n_clients = number % 2 ? FEW : CLIENTS;
		hammers[i].random = number % 2 ? number : 2 * number + i;
		cr_assert_eq(pthread_create(&threads[i], NULL, hammer, &hammers[i]), 0);
	}
	cr_assert_eq(pthread_create(&threads[2], NULL, sweeper, lab), 0);
	nanosleep(&pause, NULL);
	atomic_store(&stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
}

Test(flowtab, two_cpus_and_a_sweep_at_once_leave_the_table_consistent)
{
	static const struct lab_kind kinds[] = {
		{ "IPv4 TCP XDP", SHUNT_V4, IPPROTO_TCP, LAB_XDP },
		{ "IPv6 TCP tc", SHUNT_V6, IPPROTO_TCP, LAB_TC },
		{ "IPv4 UDP tc", SHUNT_V4, IPPROTO_UDP, LAB_TC },
	};
	struct lab lab;

	lab_open(&lab, SETS);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		struct hammer hammers[2] = { { .cpu = 0 }, { .cpu = 1 } };

		set_up(&lab, &kinds[i]);
		swept = 0;
		for (uint32_t round = 0; round < ROUNDS; round++) {
			hammers[0].lab = hammers[1].lab = lab;
			round_of(&lab, hammers, round);
			check_table(&lab);
		}
		for (int h = 0; h < 2; h++) {
			cr_expect_gt(hammers[h].forwarded, 1000);
			cr_expect_gt(hammers[h].restored, 1000);
		}
		cr_expect_gt(swept, ROUNDS);
		printf("%s: %lu packets, %lu flows swept\n", lab_what,
		       hammers[0].forwarded + hammers[0].restored + hammers[0].other +
			       hammers[1].forwarded + hammers[1].restored + hammers[1].other,
		       swept);
	}
	lab_close(&lab);
}

Test(flowtab, a_record_that_the_next_tenant_fills_is_no_longer_the_flow_that_was_found)
{
	struct shunt_flow flow = { .life = 0x500 | SHUNT_F_ESTABLISHED };
	uint32_t found = flow.life;

	cr_expect(shunt_ft_is_fresh(&flow, found));
	flow.life = 0x500 | SHUNT_F_FIN_CLIENT; /* the same flow, later */
	cr_expect(shunt_ft_is_fresh(&flow, found));
	flow.life = 0x500 | SHUNT_F_FREE; /* removed: its way may be somebody's already */
	cr_expect_not(shunt_ft_is_fresh(&flow, found));
	flow.life = 0x600 | SHUNT_F_SYN; /* and is published */
	cr_expect_not(shunt_ft_is_fresh(&flow, found));
}

Test(flowtab, a_claim_is_given_back_although_a_late_promotion_took_its_half_open_bit)
{
	uint64_t hash = 0x123456789abcdef0;
	struct lab lab;

	lab_open(&lab, SETS);
	lab_reset(&lab, &(struct lab_kind){ "claims", SHUNT_V4, IPPROTO_TCP, LAB_TC });
	for (int late = 0; late < 2; late++) {
		uint32_t index = shunt_ft_claim(&lab.maps, hash, 1);
		struct shunt_flow_set *set = shunt_ft_set(&lab.maps, index / SHUNT_FLOW_WAYS);

		cr_assert_neq(index, SHUNT_FT_NO_WAY);
		if (late)
			set->tag[index % SHUNT_FLOW_WAYS] &= ~SHUNT_FT_HALF_OPEN;
		shunt_ft_unclaim(&lab.maps, index, hash);
		cr_expect_eq(lab_flows_in_use(&lab), 0);
	}
	lab_close(&lab);
}

Test(flowtab, who_reopens_a_flow_too_late_counts_nothing)
{
	static const uint32_t now[] = { 0x500 | SHUNT_F_CLOSED, 0x500 | SHUNT_F_ESTABLISHED,
					0x500 | SHUNT_F_FREE, 0x600 | SHUNT_F_RESET_BY_CLIENT };
	uint64_t found = SHUNT_FT_REF(5u, 0x500 | SHUNT_F_RESET_BY_CLIENT);
	uint32_t flags = SHUNT_TCP_ACK | SHUNT_TCP_FROM_BACKEND;
	struct lab lab;
	struct shunt_flow *flow;

	lab_open(&lab, SETS);
	lab_reset(&lab, &(struct lab_kind){ "resets", SHUNT_V4, IPPROTO_TCP, LAB_TC });
	flow = shunt_ft_flow(&lab.maps, 5);
	flow->backend = 1;
	for (size_t i = 0; i < ARRAY_LEN(now); i++) {
		flow->life = now[i]; /* since we looked it up */
		cr_expect_not(shunt_ft_track_tcp(&lab.maps, found, 1, 1, flags));
		cr_expect_eq(flow->life, now[i]);
		cr_expect_eq(lab_active(&lab, 1), 0);
	}
	flow->life = SHUNT_FT_LIFE(found);
	cr_expect(shunt_ft_track_tcp(&lab.maps, found, 1, 1, flags));
	cr_expect_eq(flow->life, 0x500 | SHUNT_F_ESTABLISHED);
	cr_expect_eq(lab_active(&lab, 1), 1);
	lab_close(&lab);
}

Test(flowtab, of_two_fins_at_once_none_is_lost)
{
	struct lab lab;
	struct shunt_flow *flow;

	lab_open(&lab, SETS);
	lab_reset(&lab, &(struct lab_kind){ "FINs", SHUNT_V4, IPPROTO_TCP, LAB_TC });
	flow = shunt_ft_flow(&lab.maps, 5);
	flow->life = 0x500 | SHUNT_F_FIN_CLIENT; /* since we looked it up: */
	flow->client_fin = 1;
	flow->backend_fin = 7;
	cr_expect(shunt_ft_track_tcp(&lab.maps, SHUNT_FT_REF(5u, 0x500 | SHUNT_F_FIN_SEEN), 1, 8,
				     SHUNT_TCP_FIN | SHUNT_TCP_ACK));
	cr_expect_eq(flow->life, 0x500 | SHUNT_F_CLOSED);
	lab_close(&lab);
}
