// SPDX-License-Identifier: Apache-2.0
/* Outlier ejection: who goes out, who takes its connections, and how it comes back. */
#include "heard.h"

#include <stdlib.h>
#include <time.h>

#include "talk.h"

TestSuite(eject, .timeout = 120);

#define BACKENDS 4
#define GET	 "GET / HTTP/1.1\r\n\r\n"
#define GOOD	 "HTTP/1.1 200 OK\r\n\r\n"
#define ILL	 "HTTP/1.1 500 No\r\n\r\n"
#define GATEWAY	 "HTTP/1.1 503 No\r\n\r\n"
#define BASE	 1000 /* units of time, of about a millisecond */

static struct shunt_eject_state *state(struct lab *lab, uint32_t backend)
{
	return SHUNT_DP_AT(lab->maps.eject_states, struct shunt_eject_state, backend);
}

static struct shunt_eject_rule *rule(struct lab *lab)
{
	return &SHUNT_DP_AT(lab->maps.variant_guards, struct shunt_variant_guard, 1)->eject[0];
}

static __u64 *place(struct lab *lab, uint32_t family, uint32_t n)
{
	return &SHUNT_DP_AT(lab->maps.eject_places, struct shunt_eject_place,
			    (SHUNT_N_FAMILIES + family) * SHUNT_EJECT_PLACES + n)
			->word;
}

static uint32_t phase(struct lab *lab, uint32_t backend)
{
	return SHUNT_EJECT_PHASE(state(lab, backend)->word);
}

static uint32_t n_out(struct lab *lab)
{
	uint32_t n = 0;

	for (uint32_t b = 1; b <= BACKENDS; b++)
		n += phase(lab, b) == SHUNT_EJECT_OUT;
	return n;
}

static uint64_t now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return SHUNT_EJECT_TIME((uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
}

/* What is said of @backend's time is @units later, or earlier. */
static void shift(struct lab *lab, uint32_t backend, int64_t units)
{
	state(lab, backend)->word += (uint64_t)units << 24;
}

/* One variant of four backends; the third error in a row ejects one of them, not two. */
static void scene(struct lab *lab)
{
	lab_scene(lab, 1, BACKENDS);
	lab_service_flags(lab, 1, SHUNT_SVC_HTTP | SHUNT_SVC_TCP | SHUNT_SVC_EJECT);
	*rule(lab) = (struct shunt_eject_rule){
		.consecutive_5xx = 3,
		.base = BASE,
		.longest = 3 * BASE,
		.interval = 100 * BASE,
		.members = { BACKENDS, BACKENDS },
		.most = { 1, 1 },
	};
}

static struct talk talk_to(struct lab *lab, uint32_t backend)
{
	for (uint16_t port = 40000; port < 40200; port++) {
		struct talk talk = talk_begin(lab, port);

		if (lab_flow(lab, &talk.client)->backend == backend)
			return talk;
	}
	cr_assert_fail("nobody gets there");
	abort();
}

static void respond(struct talk *talk, const char *answer, uint32_t times)
{
	for (uint32_t i = 0; i < times; i++) {
		say(talk, CLIENT, GET);
		say(talk, BACKEND, answer);
	}
}

/* Backend of a new connection from @port. */
static uint32_t knock(struct lab *lab, uint16_t port)
{
	struct lab_packet syn = lab_from_client(lab, 9, port, 1);

	CHECK_REASON(lab_ingress(lab, &syn).reason, SHUNT_R_FORWARDED);
	return lab_flow(lab, &syn)->backend;
}

/* How many of @n new connections go to @backend; their ports from @port on. */
static uint32_t share(struct lab *lab, uint32_t backend, uint16_t port, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += knock(lab, (uint16_t)(port + i)) == backend;
	return count;
}

static uint32_t family(const struct lab *lab)
{
	return lab->kind->family;
}

/* ---- out --------------------------------------------------------------------------------- */

LAB_EACH(eject, errors_in_a_row_eject_a_backend, LAB_ONLY_TCP)
{
	struct heard heard;
	struct talk talk;

	(void)k;
	scene(lab);
	talk = talk_to(lab, 1);
	events(lab);
	respond(&talk, ILL, 2);
	CHECK_EQ(n_out(lab), 0);
	CHECK(share(lab, 1, 50000, 60) > 0);
	respond(&talk, ILL, 1);
	CHECK_EQ(phase(lab, 1), SHUNT_EJECT_OUT);
	CHECK_EQ(n_out(lab), 1);
	CHECK_EQ(state(lab, 1)->ejected, 1);
	CHECK_EQ(SHUNT_EJECT_EJECTIONS(state(lab, 1)->word), 1);
	CHECK(SHUNT_EJECT_SINCE(state(lab, 1)->word) - now() <= BASE);
	CHECK(SHUNT_EJECT_SINCE(state(lab, 1)->word) - now() > BASE - 500);
	heard = events(lab);
	CHECK_EQ(heard.n, 1);
	CHECK_EQ(heard.last.kind, SHUNT_EVENT_EJECTED);
	CHECK_EQ(heard.last.variant, 1);
	CHECK_EQ(heard.last.backend, 1);
	CHECK_EQ(heard.last.detail[0], BASE * (1 << SHUNT_EJECT_UNIT_SHIFT) / 1000000);
	CHECK_EQ(heard.last.detail[1], 1);
	/* Nobody new comes to it, and each of the others gets some. */
	CHECK_EQ(share(lab, 1, 51000, 60), 0);
	for (uint32_t b = 2; b <= BACKENDS; b++)
		CHECK(share(lab, b, 51000, 60) >= 8);
	/* Who is there goes on, and says nothing more. */
	respond(&talk, ILL, 5);
	respond(&talk, GOOD, 1);
	CHECK_EQ(phase(lab, 1), SHUNT_EJECT_OUT);
	CHECK_EQ(events(lab).n, 0);
}

LAB_EACH(eject, what_is_no_error_ends_the_row_and_what_is_not_final_does_not, LAB_ONLY_TCP)
{
	static const struct {
		const char *answer;
		uint32_t errors;
	} cases[] = {
		{ GOOD, 0 },
		{ "HTTP/1.1 404 Not here\r\n\r\n", 0 },
		{ "HTTP/1.1 301 There\r\n\r\n", 0 },
		{ "HTTP/1.1 100 Go on\r\n\r\n", 2 },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct talk talk;

		lab_reset(lab, k);
		scene(lab);
		talk = talk_to(lab, 1);
		respond(&talk, ILL, 2);
		CHECK_EQ(state(lab, 1)->errors, 2);
		respond(&talk, cases[i].answer, 1);
		CHECK_EQ(state(lab, 1)->errors, cases[i].errors);
		CHECK_EQ(n_out(lab), 0);
	}
}

LAB_EACH(eject, gateway_errors_have_a_row_of_their_own, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab);
	rule(lab)->consecutive_5xx = 0;
	rule(lab)->consecutive_gateway = 3;
	talk = talk_to(lab, 1);
	respond(&talk, ILL, 9);
	respond(&talk, GATEWAY, 2);
	respond(&talk, ILL, 1);
	respond(&talk, GATEWAY, 2);
	CHECK_EQ(n_out(lab), 0);
	respond(&talk, "HTTP/1.1 504 Late\r\n\r\n", 1);
	CHECK_EQ(phase(lab, 1), SHUNT_EJECT_OUT);
}

LAB_EACH(eject, without_a_rule_nobody_goes_and_nobody_is_out, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab);
	talk = talk_to(lab, 1);
	respond(&talk, ILL, 3);
	CHECK_EQ(share(lab, 1, 50000, 60), 0);
	rule(lab)->consecutive_5xx = 0;
	CHECK(share(lab, 1, 51000, 60) > 0);
	state(lab, 1)->word = 0;
	respond(&talk, ILL, 9);
	CHECK_EQ(phase(lab, 1), SHUNT_EJECT_IN);
}

LAB_EACH(eject, the_rule_is_that_of_the_epoch, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab);
	talk = talk_to(lab, 1);
	lab_settings(lab)->epoch = 1;
	respond(&talk, ILL, 5);
	CHECK_EQ(n_out(lab), 0);
	lab_settings(lab)->epoch = 2;
	respond(&talk, ILL, 3);
	CHECK_EQ(n_out(lab), 1);
}

/* ---- connections that fail ------------------------------------------------------------------ */

static void leave_waiting(struct lab *lab, struct lab_packet *client)
{
	lab_ingress(lab, client);
	lab_flow(lab, client)->created_jiffies -= 300;
	lab_ingress(lab, client);
}

static void be_refused(struct lab *lab, struct lab_packet *client)
{
	struct lab_result there = lab_ingress(lab, client);
	struct lab_packet answer = lab_answer(&there.packet);

	answer = lab_flags(answer, TH_RST_ | TH_ACK_, 0, 1001);
	lab_egress(lab, &answer);
}

LAB_EACH(eject, connections_that_fail_are_errors, LAB_ONLY_TCP)
{
	static void (*const fail[])(struct lab *, struct lab_packet *) = { leave_waiting,
									   be_refused };
	static const uint32_t flags[] = { SHUNT_SVC_HTTP, SHUNT_SVC_JUDGED };

	for (size_t way = 0; way < 2 * ARRAY_LEN(fail); way++) {
		uint32_t n = 0;

		lab_reset(lab, k);
		scene(lab);
		lab_service_flags(lab, 1, flags[way / 2] | SHUNT_SVC_TCP | SHUNT_SVC_EJECT);
		for (uint16_t port = 50000; port < 50100 && n < 3; port++) {
			struct lab_packet client = lab_from_client(lab, 9, port, 1);
			struct lab_result there = lab_ingress(lab, &client);
			uint32_t backend = lab_backend_of(lab, &there.packet.dst);

			CHECK_EQ(n_out(lab), 0);
			if (backend != 1)
				continue;
			fail[way % 2](lab, &client);
			CHECK_EQ(state(lab, 1)->errors, ++n % 3);
		}
		CHECK_EQ(n, 3);
		CHECK_EQ(phase(lab, 1), SHUNT_EJECT_OUT);
		CHECK_EQ(n_out(lab), 1);
	}
}

LAB_EACH(eject, a_connection_that_is_not_taken_goes_neither_to_who_is_out_nor_back, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab);
	rule(lab)->most[family(lab)] = 2;
	talk = talk_to(lab, 1);
	respond(&talk, ILL, 3);
	talk = talk_to(lab, 2);
	respond(&talk, ILL, 3);
	CHECK_EQ(n_out(lab), 2);
	rule(lab)->consecutive_5xx = 100;
	for (uint16_t port = 50000; port < 50040; port++) {
		struct lab_packet client = lab_from_client(lab, 9, port, 1);
		uint32_t first, second;

		lab_ingress(lab, &client);
		first = lab_flow(lab, &client)->backend;
		CHECK(first == 3 || first == 4);
		lab_flow(lab, &client)->created_jiffies -= 300;
		lab_ingress(lab, &client);
		second = lab_flow(lab, &client)->backend;
		CHECK_EQ(second, 7 - first);
	}
}

/* ---- how many ---------------------------------------------------------------------------------
 */

LAB_EACH(eject, no_more_go_out_than_may, LAB_ONLY_TCP)
{
	struct talk first, second;

	(void)k;
	scene(lab);
	first = talk_to(lab, 1);
	second = talk_to(lab, 2);
	respond(&first, ILL, 3);
	respond(&second, ILL, 3);
	CHECK_EQ(phase(lab, 2), SHUNT_EJECT_IN);
	CHECK_EQ(state(lab, 2)->errors, 0);
	CHECK_EQ(state(lab, 2)->ejected, 0);
	CHECK_EQ(n_out(lab), 1);
	/* A place more, or the first one's, and the next row takes it. */
	rule(lab)->most[family(lab)] = 2;
	respond(&second, ILL, 3);
	CHECK_EQ(n_out(lab), 2);
	CHECK_EQ((uint32_t)*place(lab, family(lab), 0), 1);
	CHECK_EQ((uint32_t)*place(lab, family(lab), 1), 2);
	CHECK_EQ(*place(lab, !family(lab), 0), 0);
}

LAB_EACH(eject, a_place_whose_backend_is_back_or_another_s_is_free, LAB_ONLY_TCP)
{
	struct talk first, second;

	(void)k;
	scene(lab);
	first = talk_to(lab, 1);
	second = talk_to(lab, 2);
	respond(&first, ILL, 3);
	/* Back. */
	shift(lab, 1, -2 * BASE);
	respond(&first, GOOD, 1);
	CHECK_EQ(phase(lab, 1), SHUNT_EJECT_IN);
	respond(&second, ILL, 3);
	CHECK_EQ(phase(lab, 2), SHUNT_EJECT_OUT);
	CHECK_EQ((uint32_t)*place(lab, family(lab), 0), 2);
	/* Of another variant now. */
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 2)->variant = 7;
	respond(&first, ILL, 3);
	CHECK_EQ(phase(lab, 1), SHUNT_EJECT_OUT);
	CHECK_EQ((uint32_t)*place(lab, family(lab), 0), 1);
	/* Out, but by a later ejection than the one that stands there. */
	*place(lab, family(lab), 0) -= 1ull << 32;
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, 3)->variant = 1;
	first = talk_to(lab, 3);
	respond(&first, ILL, 3);
	CHECK_EQ(phase(lab, 3), SHUNT_EJECT_OUT);
}

LAB_EACH(eject, where_too_many_are_out_nobody_counts_as_out, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab);
	rule(lab)->most[family(lab)] = 2;
	rule(lab)->panic_at[family(lab)] = 2;
	talk = talk_to(lab, 1);
	respond(&talk, ILL, 3);
	CHECK_EQ(share(lab, 1, 50000, 60), 0);
	talk = talk_to(lab, 2);
	respond(&talk, ILL, 3);
	CHECK_EQ(n_out(lab), 2);
	CHECK(share(lab, 1, 51000, 60) > 4);
	CHECK(share(lab, 2, 51000, 60) > 4);
}

/* ---- who takes its connections --------------------------------------------------------------- */

LAB_EACH(eject, who_is_in_no_slot_of_the_ring_is_found_by_a_walk, LAB_ONLY_TCP)
{
	struct talk talk;
	uint32_t to[BACKENDS + 1] = { 0 };

	(void)k;
	scene(lab);
	talk = talk_to(lab, 1);
	respond(&talk, ILL, 3);
	/* A ring that has only the one that is out, of members that are all there. */
	lab_ring(lab, 1, 0, 1, BACKENDS, 1);
	for (uint16_t port = 50000; port < 50060; port++)
		to[knock(lab, port)]++;
	CHECK_EQ(to[1], 0);
	for (uint32_t b = 2; b <= BACKENDS; b++)
		CHECK(to[b] > 0);
	/* Members that are about to go take nothing more; the last is better than nobody. */
	for (uint32_t b = 2; b < BACKENDS; b++)
		SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, b)->flags = 1;
	CHECK_EQ(share(lab, BACKENDS, 51000, 40), 40);
	SHUNT_DP_AT(lab->maps.backends, struct shunt_backend, BACKENDS)->flags = 1;
	CHECK_EQ(share(lab, 1, 52000, 40), 40);
}

LAB_EACH(eject, a_session_leaves_who_is_out, LAB_ONLY_TCP)
{
	struct shunt_service_slot *slot;
	struct talk talk;
	uint32_t kept;

	(void)k;
	scene(lab);
	slot = lab_slot(lab, 1, 0);
	slot->affinity = SHUNT_AFFINITY_SESSION;
	slot->session_jiffies = LAB_LONG;
	slot->prefix_len[0] = 32;
	slot->prefix_len[1] = 128;
	talk = talk_begin(lab, 40000);
	kept = lab_flow(lab, &talk.client)->backend;
	talk = talk_begin(lab, 40001);
	CHECK_EQ(lab_flow(lab, &talk.client)->backend, kept);
	respond(&talk, ILL, 3);
	CHECK_EQ(phase(lab, kept), SHUNT_EJECT_OUT);
	talk = talk_begin(lab, 40002);
	CHECK(lab_flow(lab, &talk.client)->backend != kept);
}

/* ---- back -------------------------------------------------------------------------------------
 */

/* Ejects backend 1, and lets its time go by. */
static struct talk out_and_over(struct lab *lab)
{
	struct talk talk = talk_to(lab, 1);

	respond(&talk, ILL, 3);
	CHECK_EQ(phase(lab, 1), SHUNT_EJECT_OUT);
	CHECK_EQ(share(lab, 1, 48000, 40), 0);
	shift(lab, 1, -BASE);
	events(lab);
	return talk;
}

LAB_EACH(eject, when_its_time_is_over_a_few_connections_try_it, LAB_ONLY_TCP)
{
	(void)k;
	scene(lab);
	out_and_over(lab);
	/* Of some 100 that would go there, five at once, and five a second. */
	CHECK(share(lab, 1, 50000, 400) >= 5);
	CHECK(share(lab, 1, 51000, 400) <= 6);
	CHECK_EQ(phase(lab, 1), SHUNT_EJECT_OUT);
	CHECK_EQ(events(lab).n, 0);
}

LAB_EACH(eject, one_good_answer_brings_it_back, LAB_ONLY_TCP)
{
	struct heard heard;
	struct talk talk;

	(void)k;
	scene(lab);
	talk = out_and_over(lab);
	respond(&talk, ILL, 2);
	respond(&talk, GOOD, 1);
	CHECK_EQ(phase(lab, 1), SHUNT_EJECT_IN);
	CHECK_EQ(state(lab, 1)->errors, 0);
	heard = events(lab);
	CHECK_EQ(heard.n, 1);
	CHECK_EQ(heard.last.kind, SHUNT_EVENT_RETURNED);
	CHECK_EQ(heard.last.backend, 1);
	CHECK(share(lab, 1, 50000, 100) > 10);
}

LAB_EACH(eject, errors_in_a_row_eject_it_anew_and_for_longer, LAB_ONLY_TCP)
{
	struct heard heard;
	struct talk talk;

	(void)k;
	scene(lab);
	talk = out_and_over(lab);
	for (uint32_t n = 2; n <= 5; n++) {
		uint64_t length = (n < 3 ? n : 3) * BASE;

		respond(&talk, ILL, 2);
		CHECK_EQ(events(lab).n, 0);
		respond(&talk, ILL, 1);
		heard = events(lab);
		CHECK_EQ(heard.n, 1);
		CHECK_EQ(heard.last.kind, SHUNT_EVENT_EJECTED);
		CHECK_EQ(heard.last.detail[0], (length << SHUNT_EJECT_UNIT_SHIFT) / 1000000);
		CHECK_EQ(heard.last.detail[1], n);
		CHECK_EQ(state(lab, 1)->ejected, n);
		CHECK_EQ(SHUNT_EJECT_NUMBER(state(lab, 1)->word), 1);
		CHECK_EQ(share(lab, 1, (uint16_t)(50000 + n * 100), 40), 0);
		shift(lab, 1, -(int64_t)length);
	}
}

LAB_EACH(eject, time_in_service_is_forgiving, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab);
	talk = out_and_over(lab);
	respond(&talk, ILL, 3);
	shift(lab, 1, -2 * BASE);
	respond(&talk, GOOD, 1);
	CHECK_EQ(SHUNT_EJECT_EJECTIONS(state(lab, 1)->word), 2);
	/* One interval, and not quite two. */
	shift(lab, 1, -199 * BASE);
	respond(&talk, ILL, 3);
	CHECK_EQ(SHUNT_EJECT_EJECTIONS(state(lab, 1)->word), 2);
	shift(lab, 1, -2 * BASE);
	respond(&talk, GOOD, 1);
	shift(lab, 1, -1000 * BASE);
	respond(&talk, ILL, 3);
	CHECK_EQ(SHUNT_EJECT_EJECTIONS(state(lab, 1)->word), 1);
}
