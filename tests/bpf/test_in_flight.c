// SPDX-License-Identifier: Apache-2.0
/* Limits of requests in flight: who is one too many, and that every way out gives back. */
#include "lab.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>

#include "datapath/flowmem.h"
#include "talk.h"

TestSuite(in_flight, .timeout = 120);

#define POLICY	1
#define BUCKET	1
#define ACCOUNT 1

#define GET    "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define ANSWER "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

static struct shunt_policy_record *policy(struct lab *lab)
{
	return SHUNT_DP_AT(lab->maps.policies, struct shunt_policy_record, POLICY);
}

/* A service of plaintext HTTP, two backends, with a limit of @max requests in flight. */
static void scene(struct lab *lab, enum shunt_limit_scope scope, uint32_t max)
{
	struct shunt_service *service;

	lab_scene(lab, 1, 2);
	lab_service_flags(lab, 1, SHUNT_SVC_HTTP | SHUNT_SVC_TCP | SHUNT_SVC_REQUESTS);
	service = SHUNT_DP_AT(lab->maps.services, struct shunt_service, 1);
	service->policy[0] = service->policy[1] = POLICY;
	service->account = ACCOUNT;
	*policy(lab) = (struct shunt_policy_record){ .service = 1, .n_requests_at_once = 1 };
	policy(lab)->at_once[0] = (struct shunt_limit){
		.bucket = BUCKET,
		.unit = SHUNT_LIMIT_REQUESTS,
		.scope = (uint8_t)scope,
		.answer = SHUNT_LIMIT_429,
		.prefix_len = { 32, 128 },
		.max = max,
	};
}

static uint32_t in_flight(struct lab *lab)
{
	return SHUNT_DP_AT(lab->maps.service_active, struct shunt_active, ACCOUNT)->requests;
}

/* Whatever is counted anywhere, of clients too. */
static uint64_t counted(struct lab *lab)
{
	uint64_t n = in_flight(lab);

	for (uint32_t i = 0; i < 8; i++) {
		n += SHUNT_DP_AT(lab->maps.variant_active, struct shunt_active, i)->requests;
		n += SHUNT_DP_AT(lab->maps.backend_active, struct shunt_active, i)->requests;
	}
	for (uint32_t i = 0; i < lab->maps.client_active.n; i++)
		n += (uint32_t)SHUNT_DP_AT(lab->maps.client_active, struct shunt_client_active, i)
			     ->word;
	return n;
}

/* What becomes of the next request on a connection. */
static enum shunt_reason ask(struct talk *talk)
{
	struct lab_packet packet =
		lab_flags(talk->client, TH_ACK_ | TH_PSH_, talk->seq[CLIENT], talk->seq[BACKEND]);
	uint32_t len = sizeof(GET) - 1;
	struct lab_frame frame;

	packet.payload = (uint16_t)len;
	packet_build(&packet, &frame);
	memcpy(frame.data + frame.len - len, GET, len);
	packet_fix(&frame);
	talk->seq[CLIENT] += len;
	return lab_ingress_frame(talk->lab, &frame).reason;
}

static void answer(struct talk *talk)
{
	say(talk, BACKEND, ANSWER);
}

/* A connection of client @n. */
static struct talk talk_of(struct lab *lab, uint32_t n, uint16_t port)
{
	struct talk talk = { .lab = lab, .client = lab_from_client(lab, n, port, 1) };

	talk.at_backend = lab_connect(lab, &talk.client);
	talk.seq[CLIENT] = 1001;
	talk.seq[BACKEND] = 5001;
	return talk;
}

static struct shunt_limit_counters told_of(struct lab *lab, uint32_t bucket)
{
	struct shunt_limit_counters cells[256], sum = { 0 };

	cr_assert_eq(bpf_map_lookup_elem(lab->maps.limit_counters_fd, &bucket, cells), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++) {
		sum.admitted += cells[i].admitted;
		sum.refused += cells[i].refused;
		sum.untracked += cells[i].untracked;
	}
	return sum;
}

static struct shunt_limit_counters told(struct lab *lab)
{
	return told_of(lab, BUCKET);
}

/* ---- who is one too many ------------------------------------------------------------------- */

LAB_EACH(in_flight, a_request_more_than_may_is_answered_until_another_is_done, LAB_ONLY_TCP)
{
	struct talk a, b, c;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE, 2);
	a = talk_of(lab, 1, 4000);
	b = talk_of(lab, 2, 4001);
	c = talk_of(lab, 3, 4002);
	CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	CHECK_REASON(ask(&b), SHUNT_R_FORWARDED);
	CHECK_EQ(in_flight(lab), 2);
	CHECK_REASON(ask(&c), SHUNT_R_REQUEST_LIMITED);
	CHECK_EQ(in_flight(lab), 2);
	CHECK_EQ(told(lab).admitted, 2);
	CHECK_EQ(told(lab).refused, 1);
	answer(&a);
	CHECK_EQ(in_flight(lab), 1);
	/* On the same connection, again and again. */
	for (int i = 0; i < 5; i++) {
		CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
		CHECK_EQ(in_flight(lab), 2);
		answer(&a);
	}
	answer(&b);
	CHECK_EQ(counted(lab), 0);
}

LAB_EACH(in_flight, each_scope_counts_its_own, LAB_ONLY_TCP)
{
	static const enum shunt_limit_scope scopes[] = { SHUNT_LIMIT_VARIANT, SHUNT_LIMIT_BACKEND,
							 SHUNT_LIMIT_CLIENT };

	for (size_t i = 0; i < ARRAY_LEN(scopes); i++) {
		uint32_t first, refused = 0;
		struct talk talk[16];

		lab_reset(lab, k);
		scene(lab, scopes[i], 1);
		talk[0] = talk_of(lab, 1, 4000);
		first = lab_flow(lab, &talk[0].client)->backend;
		CHECK_REASON(ask(&talk[0]), SHUNT_R_FORWARDED);
		for (uint32_t n = 1; n < ARRAY_LEN(talk); n++) {
			uint32_t client = n & 1 ? 1 : 2, backend;

			talk[n] = talk_of(lab, client, (uint16_t)(4000 + n));
			backend = lab_flow(lab, &talk[n].client)->backend;
			if (ask(&talk[n]) == SHUNT_R_FORWARDED) {
				answer(&talk[n]);
				CHECK(scopes[i] != SHUNT_LIMIT_VARIANT);
				CHECK(scopes[i] != SHUNT_LIMIT_BACKEND || backend != first);
				CHECK(scopes[i] != SHUNT_LIMIT_CLIENT || client == 2);
				continue;
			}
			refused++;
			CHECK(scopes[i] != SHUNT_LIMIT_BACKEND || backend == first);
			CHECK(scopes[i] != SHUNT_LIMIT_CLIENT || client == 1);
		}
		CHECK(refused > 2);
		CHECK(scopes[i] == SHUNT_LIMIT_VARIANT ? refused == 15 : refused < 15);
		answer(&talk[0]);
		CHECK_EQ(counted(lab), 0);
	}
}

LAB_EACH(in_flight, a_variant_s_own_limit_leaves_others_alone, LAB_ONLY_TCP)
{
	struct talk a, b;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE, 1);
	policy(lab)->at_once[0].only_variant = 7;
	a = talk_of(lab, 1, 4000);
	b = talk_of(lab, 2, 4001);
	CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	CHECK_REASON(ask(&b), SHUNT_R_FORWARDED);
	policy(lab)->at_once[0].only_variant = 1;
	answer(&a);
	CHECK_REASON(ask(&a), SHUNT_R_REQUEST_LIMITED);
}

/* ---- what counts ----------------------------------------------------------------------------- */

LAB_EACH(in_flight, pipelined_and_repeated_requests_count_once, LAB_ONLY_TCP)
{
	struct talk a;
	uint32_t seq;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE, 3);
	a = talk_of(lab, 1, 4000);
	seq = a.seq[CLIENT];
	CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	a.seq[CLIENT] = seq;
	CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	CHECK_EQ(in_flight(lab), 1);
	/* An interim response is none; the final one is, and what follows it is its body. */
	say(&a, BACKEND, "HTTP/1.1 100 Continue\r\n\r\n");
	CHECK_EQ(in_flight(lab), 1);
	answer(&a);
	CHECK_EQ(in_flight(lab), 0);
	say(&a, BACKEND, "more of it");
	CHECK_EQ(counted(lab), 0);
}

LAB_EACH(in_flight, without_a_limit_nothing_is_counted_and_its_end_leaves_nothing, LAB_ONLY_TCP)
{
	struct talk a, b;

	(void)k;
	scene(lab, SHUNT_LIMIT_CLIENT, 5);
	a = talk_of(lab, 1, 4000);
	CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	CHECK_EQ(counted(lab), 4);
	policy(lab)->n_requests_at_once = 0;
	b = talk_of(lab, 2, 4001);
	CHECK_REASON(ask(&b), SHUNT_R_FORWARDED);
	CHECK_EQ(counted(lab), 4);
	answer(&a);
	answer(&b);
	CHECK_EQ(counted(lab), 0);
	/* A service that does not say that its requests are counted. */
	policy(lab)->n_requests_at_once = 1;
	lab_service_flags(lab, 1, SHUNT_SVC_HTTP | SHUNT_SVC_TCP);
	a = talk_of(lab, 1, 4002);
	CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	CHECK_EQ(counted(lab), 0);
}

LAB_EACH(in_flight, who_finds_no_room_among_the_clients_passes_and_is_counted, LAB_ONLY_TCP)
{
	struct talk a;

	(void)k;
	scene(lab, SHUNT_LIMIT_CLIENT, 1);
	for (uint32_t i = 0; i < lab->maps.client_active.n; i++)
		SHUNT_DP_AT(lab->maps.client_active, struct shunt_client_active, i)->word = 1;
	a = talk_of(lab, 1, 4000);
	CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	CHECK_EQ(told(lab).untracked, 1);
	CHECK_EQ(in_flight(lab), 1);
	answer(&a);
	CHECK_EQ(in_flight(lab), 0);
}

LAB_EACH(in_flight, limits_of_connections_stand_before_them, LAB_ONLY_TCP)
{
	struct talk a, b;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE, 1);
	policy(lab)->at_once[1] = policy(lab)->at_once[0];
	policy(lab)->at_once[0].unit = SHUNT_LIMIT_CONNECTIONS;
	policy(lab)->at_once[0].max = 50;
	policy(lab)->at_once[0].bucket = BUCKET + 1;
	policy(lab)->n_at_once = 1;
	a = talk_of(lab, 1, 4000);
	b = talk_of(lab, 2, 4001);
	CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	CHECK_REASON(ask(&b), SHUNT_R_REQUEST_LIMITED);
	CHECK_EQ(told_of(lab, BUCKET + 1).admitted, 2);
	CHECK_EQ(told(lab).admitted, 1);
}

/* ---- every way out -----------------------------------------------------------------------------
 */

static void reset_by_client(struct talk *talk)
{
	struct lab_packet packet =
		lab_flags(talk->client, TH_RST_, talk->seq[CLIENT], talk->seq[BACKEND]);

	lab_ingress(talk->lab, &packet);
}

static void reset_by_backend(struct talk *talk)
{
	struct lab_packet packet = lab_answer(&talk->at_backend);

	packet = lab_flags(packet, TH_RST_, talk->seq[BACKEND], 0);
	lab_egress(talk->lab, &packet);
}

static void hang_up(struct talk *talk)
{
	struct lab_packet packet = lab_answer(&talk->at_backend);

	packet = lab_flags(packet, TH_FIN_ | TH_ACK_, talk->seq[BACKEND], talk->seq[CLIENT]);
	lab_egress(talk->lab, &packet);
	packet = lab_flags(talk->client, TH_FIN_ | TH_ACK_, talk->seq[CLIENT],
			   talk->seq[BACKEND] + 1);
	lab_ingress(talk->lab, &packet);
	packet = lab_answer(&talk->at_backend);
	packet = lab_flags(packet, TH_ACK_, talk->seq[BACKEND] + 1, talk->seq[CLIENT] + 1);
	lab_egress(talk->lab, &packet);
}

static uint32_t index_of(struct talk *talk)
{
	struct shunt_flow *flow = lab_flow(talk->lab, &talk->client);

	return (uint32_t)(((char *)flow - (char *)talk->lab->maps.flows.base) /
			  (long)talk->lab->maps.flows.stride);
}

static void be_removed(struct talk *talk)
{
	uint32_t index = index_of(talk);

	CHECK_EQ(shunt_ft_remove(&talk->lab->maps,
				 SHUNT_FT_REF(index, lab_flow(talk->lab, &talk->client)->life)),
		 1);
}

static void expire(struct talk *talk)
{
	uint32_t index = index_of(talk), now = lab_jiffies(talk->lab);

	lab_flow(talk->lab, &talk->client)->seen_jiffies = now - 10 * LAB_LONG;
	CHECK_EQ(shunt_ft_expire(&talk->lab->maps, index, now), 1);
}

/* The client begins a connection anew, from the same port. */
static void come_anew(struct talk *talk)
{
	struct shunt_flow *flow = lab_flow(talk->lab, &talk->client);
	struct lab_packet packet;

	flow->seen_jiffies -= 1000;
	flow->created_jiffies -= 1000;
	reset_by_client(talk);
	packet = lab_from_client(talk->lab, 1, 4000, 1);
	lab_ingress(talk->lab, &packet);
}

LAB_EACH(in_flight, every_way_out_gives_back, LAB_ONLY_TCP)
{
	static void (*const out[])(struct talk *) = { answer,	reset_by_client, reset_by_backend,
						      hang_up,	be_removed,	 expire,
						      come_anew };

	for (size_t i = 0; i < 2 * ARRAY_LEN(out); i++) {
		struct talk a;

		lab_reset(lab, k);
		scene(lab, i % 2 ? SHUNT_LIMIT_CLIENT : SHUNT_LIMIT_SERVICE, 1);
		a = talk_of(lab, 1, 4000);
		CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
		CHECK_EQ(counted(lab), i % 2 ? 4 : 3);
		out[i / 2](&a);
		cr_expect_eq(counted(lab), 0, "%s: way %zu leaves %llu", lab_what, i / 2,
			     (unsigned long long)counted(lab));
		/* And whoever comes next has the place. */
		a = talk_of(lab, 1, 4001);
		CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	}
}

LAB_EACH(in_flight, a_late_answer_gives_nothing_back_twice, LAB_ONLY_TCP)
{
	struct talk a, b;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE, 5);
	a = talk_of(lab, 1, 4000);
	b = talk_of(lab, 2, 4001);
	CHECK_REASON(ask(&a), SHUNT_R_FORWARDED);
	CHECK_REASON(ask(&b), SHUNT_R_FORWARDED);
	reset_by_client(&a);
	CHECK_EQ(in_flight(lab), 1);
	answer(&a);
	be_removed(&a);
	CHECK_EQ(in_flight(lab), 1);
	answer(&b);
	CHECK_EQ(counted(lab), 0);
}

/* ---- two CPUs at once ---------------------------------------------------------------------------
 */

#define TURNS 20000

struct hammer {
	struct talk talk;
	uint32_t *inside; /* who is let in by a limit of one; of both */
	uint32_t answered, refused, not_alone;
};

/* Runs the next segment of @who. Return: does it go on? */
static int send_next(struct talk *talk, int who, const char *text)
{
	struct lab_packet packet = who == CLIENT ? talk->client : lab_answer(&talk->at_backend);
	uint32_t len = (uint32_t)strlen(text), code = 0;
	struct lab_frame frame, out;

	packet = lab_flags(packet, TH_ACK_ | TH_PSH_, talk->seq[who], talk->seq[!who]);
	packet.payload = (uint16_t)len;
	packet_build(&packet, &frame);
	memcpy(frame.data + frame.len - len, text, len);
	packet_fix(&frame);
	if (lab_run(talk->lab, who == CLIENT ? lab_ingress_fd(talk->lab) : lab_egress_fd(talk->lab),
		    LAB_TC, &frame, 1, &out, &code) ||
	    lab_verdict(LAB_TC, code) != LAB_PASS)
		return 0;
	talk->seq[who] += len;
	return 1;
}

static void *hammer(void *arg)
{
	struct hammer *h = arg;

	for (int i = 0; i < TURNS; i++) {
		int others = 0;

		/* What is dropped is sent again. */
		if (!send_next(&h->talk, CLIENT, GET)) {
			h->refused++;
			continue;
		}
		__sync_add_and_fetch(h->inside, 1);
		/* Long enough for the other one to come. */
		for (int look = 0; look < 500; look++)
			others |= __atomic_load_n(h->inside, __ATOMIC_RELAXED) > 1;
		__sync_sub_and_fetch(h->inside, 1);
		h->not_alone += others;
		h->answered += send_next(&h->talk, BACKEND, ANSWER);
	}
	return NULL;
}

LAB_EACH(in_flight, of_two_cpus_one_has_the_only_place, LAB_ONLY_TCP | LAB_ONLY_V4 | LAB_ONLY_TC)
{
	uint32_t inside = 0;
	pthread_t threads[2];
	struct hammer h[2];

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE, 1);
	policy(lab)->at_once[0].answer = SHUNT_LIMIT_DROP;
	for (uint32_t t = 0; t < 2; t++)
		h[t] = (struct hammer){ talk_of(lab, t + 1, (uint16_t)(4000 + t)), &inside, 0, 0,
					0 };
	for (uint32_t t = 0; t < 2; t++)
		cr_assert_eq(pthread_create(&threads[t], NULL, hammer, &h[t]), 0);
	for (uint32_t t = 0; t < 2; t++)
		pthread_join(threads[t], NULL);
	for (uint32_t t = 0; t < 2; t++) {
		CHECK_EQ(h[t].not_alone, 0);
		CHECK(h[t].answered > TURNS / 10);
		CHECK_EQ(h[t].answered + h[t].refused, TURNS);
	}
	CHECK(h[0].refused + h[1].refused > 0);
	CHECK_EQ(told(lab).refused, h[0].refused + h[1].refused);
	CHECK_EQ(told(lab).admitted, h[0].answered + h[1].answered);
	CHECK_EQ(counted(lab), 0);
}
