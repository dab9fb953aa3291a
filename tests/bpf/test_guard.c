// SPDX-License-Identifier: Apache-2.0
/* Circuit breakers: what opens them, whom they refuse, and how they close again. */
#include "lab.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "heard.h"
#include "policy/expression.h"
#include "talk.h"

TestSuite(guard, .timeout = 120);

#define RULE  1
#define S     1000000000ull
#define WHOLE 5 /* instance of the service; of variant and backend n: 10 + n and 20 + n */

#define GET    "GET / HTTP/1.1\r\n\r\n"
#define ANSWER "HTTP/1.1 500 No\r\n\r\n"

static struct shunt_breaker_rule *rule(struct lab *lab)
{
	return SHUNT_DP_AT(lab->maps.breakers, struct shunt_breaker_rule, RULE);
}

static struct shunt_breaker_state *state(struct lab *lab, uint32_t instance)
{
	return SHUNT_DP_AT(lab->maps.breaker_states, struct shunt_breaker_state, instance);
}

static struct shunt_variant_guard *guard(struct lab *lab, uint32_t variant)
{
	return SHUNT_DP_AT(lab->maps.variant_guards, struct shunt_variant_guard, variant);
}

static uint32_t phase(struct lab *lab, uint32_t instance)
{
	return SHUNT_BREAKER_PHASE(state(lab, instance)->word);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * S + (uint64_t)now.tv_nsec;
}

/* The phase ends in @ns from now. */
static void set_phase(struct lab *lab, uint32_t instance, enum shunt_breaker_phase to, int64_t ns)
{
	state(lab, instance)->word = SHUNT_BREAKER_WORD(now_ns() + (uint64_t)ns, to);
}

/* Two variants of two backends each, under a breaker that opens with the fifth of five errors. */
static void scene(struct lab *lab, enum shunt_limit_scope scope)
{
	struct shunt_err err;

	lab_scene(lab, 2, 2);
	lab_service_flags(lab, 1, SHUNT_SVC_HTTP | SHUNT_SVC_BREAKER);
	*rule(lab) = (struct shunt_breaker_rule){
		.check_ns = 1,
		.open_ns = 3600 * S,
		.recovery_ns = 3600 * S,
		.min_requests = 5,
	};
	cr_assert_eq(shunt_expression_compile("ResponseCodeRatio(500, 600, 0, 600) > 0.5",
					      &rule(lab)->predicate, &err),
		     0);
	for (uint32_t v = 1; v <= 2; v++) {
		uint32_t instance = scope == SHUNT_LIMIT_SERVICE   ? WHOLE
				    : scope == SHUNT_LIMIT_VARIANT ? 10 + v
								   : 0;

		*guard(lab, v) = (struct shunt_variant_guard){ .breaker = { RULE, RULE },
							       .instance = { instance, instance } };
	}
	for (uint32_t b = 1; b <= 4; b++)
		SHUNT_DP_AT(lab->maps.backend_guards, struct shunt_backend_guard, b)->instance =
			20 + b;
}

/* A connection whose variant (or backend) is as asked; 0: any. */
static struct talk talk_to(struct lab *lab, uint32_t variant, uint32_t backend)
{
	for (uint16_t port = 40000; port < 40200; port++) {
		struct talk talk = talk_begin(lab, port);
		const struct shunt_flow *flow = lab_flow(lab, &talk.client);

		if ((!variant || flow->variant == variant) &&
		    (!backend || flow->backend == backend))
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

/* What becomes of a new connection from @port. */
static struct lab_result knock(struct lab *lab, uint16_t port)
{
	struct lab_packet syn = lab_from_client(lab, 9, port, 1);

	return lab_ingress(lab, &syn);
}

/* How many of @n new connections are let in; their ports from @port on. */
static uint32_t admitted(struct lab *lab, uint16_t port, uint32_t n)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < n; i++)
		count += knock(lab, (uint16_t)(port + i)).reason == SHUNT_R_FORWARDED;
	return count;
}

/* ---- events ---------------------------------------------------------------------------- */

static struct shunt_event_counters event_counters(struct lab *lab)
{
	struct shunt_event_counters cells[256], sum = { 0 };
	uint32_t zero = 0;

	cr_assert_eq(bpf_map_lookup_elem(lab->maps.event_counters_fd, &zero, cells), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++) {
		sum.told += cells[i].told;
		sum.lost += cells[i].lost;
	}
	return sum;
}

/* ---- opening ---------------------------------------------------------------------------- */

LAB_EACH(guard, a_run_of_errors_opens_it_and_new_connections_are_reset, LAB_ONLY_TCP)
{
	struct heard heard;
	struct lab_result got;
	struct talk talk;

	(void)k;
	events(lab);
	scene(lab, SHUNT_LIMIT_SERVICE);
	talk = talk_begin(lab, 40000);
	respond(&talk, ANSWER, 4);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
	CHECK_REASON(knock(lab, 50000).reason, SHUNT_R_FORWARDED);
	respond(&talk, ANSWER, 1);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_OPEN);
	CHECK_EQ(state(lab, WHOLE)->opened, 1);
	heard = events(lab);
	CHECK_EQ(heard.n, 1);
	CHECK_EQ(heard.last.kind, SHUNT_EVENT_BREAKER);
	CHECK_EQ(heard.last.detail[0], SHUNT_BREAKER_OPEN);
	CHECK_EQ(heard.last.instance, WHOLE);
	CHECK_EQ(heard.last.variant, lab_flow(lab, &talk.client)->variant);
	CHECK_EQ(heard.last.backend, lab_flow(lab, &talk.client)->backend);
	CHECK(now_ns() - heard.last.now_ns < S);
	got = knock(lab, 50001);
	CHECK_REASON(got.reason, SHUNT_R_BREAKER_OPEN);
	CHECK_EQ(got.verdict, LAB_BOUNCE);
	CHECK(got.packet.tcp_flags & TH_RST_);
	CHECK(got.sums_right);
	/* Who is in goes on, and what he is answered counts anew. */
	respond(&talk, ANSWER, 1);
	CHECK_EQ(state(lab, WHOLE)->opened, 1);
}

LAB_EACH(guard, good_answers_and_too_few_open_nothing, LAB_ONLY_TCP | LAB_ONLY_TC)
{
	struct talk talk;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE);
	talk = talk_begin(lab, 40000);
	respond(&talk, "HTTP/1.1 200 OK\r\n\r\n", 4);
	respond(&talk, ANSWER, 4);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
	respond(&talk, ANSWER, 1);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_OPEN);
}

LAB_EACH(guard, slow_answers_open_a_breaker_of_latency, LAB_ONLY_TCP | LAB_ONLY_TC)
{
	struct shunt_err err;
	struct talk talk;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE);
	rule(lab)->min_requests = 0;
	cr_assert_eq(shunt_expression_compile("LatencyAtQuantileMS(50.0) > 20",
					      &rule(lab)->predicate, &err),
		     0);
	talk = talk_begin(lab, 40000);
	respond(&talk, ANSWER, 1);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
	for (int i = 0; i < 2; i++) {
		say(&talk, CLIENT, GET);
		usleep(30000);
		say(&talk, BACKEND, ANSWER);
	}
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_OPEN);
}

LAB_EACH(guard, the_condition_is_looked_at_once_in_its_period, LAB_ONLY_TCP | LAB_ONLY_TC)
{
	struct talk talk;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE);
	rule(lab)->check_ns = 3600 * S;
	talk = talk_begin(lab, 40000);
	respond(&talk, ANSWER, 20);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
	state(lab, WHOLE)->next_check_ns = 0;
	respond(&talk, ANSWER, 1);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_OPEN);
}

LAB_EACH(guard, counts_of_before_a_change_of_what_is_counted_do_not_count,
	 LAB_ONLY_TCP | LAB_ONLY_TC)
{
	struct talk talk;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE);
	talk = talk_begin(lab, 40000);
	respond(&talk, ANSWER, 4);
	rule(lab)->window_base += 120;
	respond(&talk, ANSWER, 4);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
	respond(&talk, ANSWER, 1);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_OPEN);
}

/* ---- closing ---------------------------------------------------------------------------- */

LAB_EACH(guard, after_its_time_it_admits_a_growing_part_and_closes, LAB_ONLY_TCP)
{
	uint32_t n;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE);
	events(lab);
	set_phase(lab, WHOLE, SHUNT_BREAKER_OPEN, 60 * (int64_t)S);
	CHECK_EQ(admitted(lab, 50000, 100), 0);
	set_phase(lab, WHOLE, SHUNT_BREAKER_OPEN, -1);
	CHECK_REASON(knock(lab, 50000).reason, SHUNT_R_BREAKER_OPEN);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_RECOVERING);
	CHECK_EQ(events(lab).last.detail[0], SHUNT_BREAKER_RECOVERING);
	/* Half of the time is over. 5 standard deviations of 400 throws. */
	set_phase(lab, WHOLE, SHUNT_BREAKER_RECOVERING, 1800 * (int64_t)S);
	n = admitted(lab, 51000, 400);
	CHECK(n > 150 && n < 250);
	set_phase(lab, WHOLE, SHUNT_BREAKER_RECOVERING, -1);
	CHECK_REASON(knock(lab, 60000).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(state(lab, WHOLE)->word, SHUNT_BREAKER_CLOSED);
	CHECK_EQ(events(lab).last.detail[0], SHUNT_BREAKER_CLOSED);
}

LAB_EACH(guard, errors_while_it_recovers_open_it_again, LAB_ONLY_TCP | LAB_ONLY_TC)
{
	struct talk talk;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE);
	talk = talk_begin(lab, 40000);
	set_phase(lab, WHOLE, SHUNT_BREAKER_RECOVERING, 60 * (int64_t)S);
	respond(&talk, ANSWER, 5);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_OPEN);
}

LAB_EACH(guard, what_an_operator_forces_stays, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE);
	talk = talk_begin(lab, 40000);
	state(lab, WHOLE)->word = SHUNT_BREAKER_FORCED_OPEN;
	CHECK_REASON(knock(lab, 50000).reason, SHUNT_R_BREAKER_OPEN);
	CHECK_EQ(state(lab, WHOLE)->word, SHUNT_BREAKER_FORCED_OPEN);
	state(lab, WHOLE)->word = SHUNT_BREAKER_FORCED_CLOSED;
	respond(&talk, ANSWER, 10);
	CHECK_REASON(knock(lab, 50000).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(state(lab, WHOLE)->word, SHUNT_BREAKER_FORCED_CLOSED);
}

/* ---- whom it concerns --------------------------------------------------------------------- */

LAB_EACH(guard, a_breaker_of_variants_stops_the_one_that_fails, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab, SHUNT_LIMIT_VARIANT);
	talk = talk_to(lab, 2, 0);
	respond(&talk, ANSWER, 5);
	CHECK_EQ(phase(lab, 11), SHUNT_BREAKER_CLOSED);
	CHECK_EQ(phase(lab, 12), SHUNT_BREAKER_OPEN);
	for (uint16_t port = 50000; port < 50040; port++) {
		struct lab_packet syn = lab_from_client(lab, 9, port, 1);
		enum shunt_reason reason = lab_ingress(lab, &syn).reason;

		CHECK(reason == SHUNT_R_BREAKER_OPEN || lab_flow(lab, &syn)->variant == 1);
	}
	CHECK(lab_reason(lab, SHUNT_R_BREAKER_OPEN) > 5);
	CHECK_EQ(lab_variant_counters(lab, 2).rejects, lab_reason(lab, SHUNT_R_BREAKER_OPEN));
}

LAB_EACH(guard, a_breaker_of_backends_stops_the_one_that_fails, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab, SHUNT_LIMIT_BACKEND);
	talk = talk_to(lab, 0, 3);
	respond(&talk, ANSWER, 5);
	for (uint32_t b = 1; b <= 4; b++)
		CHECK_EQ(phase(lab, 20 + b), b == 3 ? SHUNT_BREAKER_OPEN : SHUNT_BREAKER_CLOSED);
	for (uint16_t port = 50000; port < 50040; port++) {
		struct lab_packet syn = lab_from_client(lab, 9, port, 1);
		enum shunt_reason reason = lab_ingress(lab, &syn).reason;

		CHECK(reason == SHUNT_R_BREAKER_OPEN || lab_flow(lab, &syn)->backend != 3);
	}
	CHECK(lab_reason(lab, SHUNT_R_BREAKER_OPEN) > 2);
}

LAB_EACH(guard, what_is_refused_goes_to_the_fallback, LAB_ONLY_TCP)
{
	uint32_t backends = 0;

	(void)k;
	scene(lab, SHUNT_LIMIT_VARIANT);
	rule(lab)->fallback = 2;
	set_phase(lab, 11, SHUNT_BREAKER_OPEN, 60 * (int64_t)S);
	for (uint16_t port = 50000; port < 50040; port++) {
		struct lab_packet syn = lab_from_client(lab, 9, port, 1);

		lab_connect(lab, &syn);
		CHECK_EQ(lab_flow(lab, &syn)->variant, 2);
		backends |= 1u << lab_flow(lab, &syn)->backend;
	}
	CHECK_EQ(backends, 1u << 3 | 1u << 4);
	CHECK_EQ(lab_reason(lab, SHUNT_R_BREAKER_OPEN), 0);
	/* The fallback's own is asked of those whom the weights send there. */
	set_phase(lab, 12, SHUNT_BREAKER_OPEN, 60 * (int64_t)S);
	CHECK(admitted(lab, 51000, 40) > 5);
	CHECK(lab_reason(lab, SHUNT_R_BREAKER_OPEN) > 5);
	/* One that the split does not have, or that has nobody, is none. */
	rule(lab)->fallback = 3;
	CHECK_EQ(admitted(lab, 52000, 40), 0);
	rule(lab)->fallback = 2;
	lab_split(lab, 1)->variant[1].ring_size[lab->kind->family] = 0;
	CHECK_EQ(admitted(lab, 53000, 40), 0);
}

LAB_EACH(guard, a_session_falls_back_too, LAB_ONLY_TCP | LAB_ONLY_TC)
{
	struct lab_packet syn = lab_from_client(lab, 9, 50000, 1);

	(void)k;
	scene(lab, SHUNT_LIMIT_VARIANT);
	lab_slot(lab, 1, 0)->affinity = SHUNT_AFFINITY_SESSION;
	lab_connect(lab, &syn);
	rule(lab)->fallback = 3 - lab_flow(lab, &syn)->variant;
	set_phase(lab, 10 + lab_flow(lab, &syn)->variant, SHUNT_BREAKER_OPEN, 60 * (int64_t)S);
	syn.sport++;
	CHECK_REASON(lab_ingress(lab, &syn).reason, SHUNT_R_FORWARDED);
	CHECK_EQ(lab_flow(lab, &syn)->variant, rule(lab)->fallback);
}

LAB_EACH(guard, the_slot_of_the_epoch_says_which_breaker, LAB_ONLY_TCP)
{
	(void)k;
	scene(lab, SHUNT_LIMIT_SERVICE);
	for (uint32_t v = 1; v <= 2; v++)
		guard(lab, v)->breaker[0] = 0;
	set_phase(lab, WHOLE, SHUNT_BREAKER_OPEN, 60 * (int64_t)S);
	CHECK_REASON(knock(lab, 50000).reason, SHUNT_R_FORWARDED);
	lab_settings(lab)->epoch++;
	CHECK_REASON(knock(lab, 50001).reason, SHUNT_R_BREAKER_OPEN);
	/* Services that say so alone are asked. */
	lab_service_flags(lab, 1, 0);
	CHECK_REASON(knock(lab, 50001).reason, SHUNT_R_FORWARDED);
}

LAB_EACH(guard, events_that_nobody_reads_are_counted_as_lost, LAB_ONLY_TCP | LAB_ONLY_V4)
{
	const uint32_t n = 2700; /* the ring holds some 1600 */
	struct shunt_event_counters counters;

	(void)k;
	events(lab);
	scene(lab, SHUNT_LIMIT_SERVICE);
	for (uint32_t i = 0; i < n; i++) {
		set_phase(lab, WHOLE, SHUNT_BREAKER_OPEN, -1);
		CHECK_REASON(knock(lab, 50000).reason, SHUNT_R_BREAKER_OPEN);
	}
	counters = event_counters(lab);
	CHECK_EQ(counters.told + counters.lost, n);
	CHECK(counters.lost >= 1000);
	CHECK_EQ(events(lab).n, counters.told);
}

/* ---- connections that fail ----------------------------------------------------------------- */

/* A connection to the only backend, as far as its SYN; @port: of the client. */
static struct lab_packet call(struct lab *lab, uint16_t port, struct lab_packet *ret_answer)
{
	struct lab_packet client = lab_from_client(lab, 1, port, 1);
	struct lab_result there = lab_ingress(lab, &client);

	cr_assert_eq(there.reason, SHUNT_R_FORWARDED);
	*ret_answer = lab_answer(&there.packet);
	return client;
}

static void refuse(struct lab *lab, uint16_t port)
{
	struct lab_packet answer;

	call(lab, port, &answer);
	answer = lab_flags(answer, TH_RST_ | TH_ACK_, 0, 1001);
	lab_egress(lab, &answer);
}

static void hang_up(struct lab *lab, uint16_t port)
{
	struct lab_packet client = lab_from_client(lab, 1, port, 1);
	struct lab_packet at_backend = lab_connect(lab, &client), answer = lab_answer(&at_backend);

	answer = lab_flags(answer, TH_RST_, 5001, 0);
	lab_egress(lab, &answer);
}

static void leave_waiting(struct lab *lab, uint16_t port)
{
	struct lab_packet answer, client = call(lab, port, &answer);

	lab_flow(lab, &client)->created_jiffies -= 300;
	lab_ingress(lab, &client);
	lab_ingress(lab, &client);
}

LAB_EACH(guard, connections_that_fail_open_a_breaker, LAB_ONLY_TCP)
{
	static void (*const fail[])(struct lab *, uint16_t) = { refuse, hang_up, leave_waiting };

	for (size_t way = 0; way < ARRAY_LEN(fail); way++) {
		const uint32_t flags = SHUNT_SVC_TCP | SHUNT_SVC_BREAKER;
		struct shunt_err err;

		lab_reset(lab, k);
		scene(lab, SHUNT_LIMIT_SERVICE);
		lab_scene(lab, 1, 1);
		cr_assert_eq(shunt_expression_compile("NetworkErrorRatio() > 0.9",
						      &rule(lab)->predicate, &err),
			     0);
		/* Where nobody counts the good ones, those that fail do not count, either. */
		lab_service_flags(lab, 1, flags);
		for (uint16_t i = 0; i < 6; i++)
			fail[way](lab, 51000 + i);
		CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
		lab_service_flags(lab, 1, flags | SHUNT_SVC_HTTP);
		for (uint16_t i = 0; i < 4; i++)
			fail[way](lab, 50000 + i);
		CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
		fail[way](lab, 50004);
		CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_OPEN);
		CHECK_REASON(knock(lab, 50005).reason, SHUNT_R_BREAKER_OPEN);
	}
}

/* ---- where no HTTP is seen ------------------------------------------------------------------ */

static void connect_only(struct lab *lab, uint16_t port)
{
	struct lab_packet client = lab_from_client(lab, 1, port, 1);

	lab_connect(lab, &client);
}

/* A service of @flags with one backend, under @expression. */
static void blind_scene(struct lab *lab, uint32_t flags, const char *expression)
{
	struct shunt_err err;

	scene(lab, SHUNT_LIMIT_SERVICE);
	lab_scene(lab, 1, 1);
	lab_service_flags(lab, 1, flags | SHUNT_SVC_TCP | SHUNT_SVC_BREAKER | SHUNT_SVC_JUDGED);
	cr_assert_eq(shunt_expression_compile(expression, &rule(lab)->predicate, &err), 0);
}

LAB_EACH(guard, without_http_connections_are_what_failures_are_compared_with, LAB_ONLY_TCP)
{
	static void (*const fail[])(struct lab *, uint16_t) = { refuse, hang_up, leave_waiting };

	for (size_t way = 0; way < ARRAY_LEN(fail); way++) {
		uint16_t port = 50000;

		lab_reset(lab, k);
		blind_scene(lab, 0, "NetworkErrorRatio() > 0.5");
		for (int i = 0; i < 8; i++)
			connect_only(lab, port++);
		/* 8 of 16 is a half; one that was established and cut off counts once, too. */
		for (int i = 0; i < 8; i++)
			fail[way](lab, port++);
		CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
		fail[way](lab, port++);
		CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_OPEN);
		CHECK_REASON(knock(lab, port).reason, SHUNT_R_BREAKER_OPEN);
	}
}

LAB_EACH(guard, without_http_connections_are_the_requests_of_a_threshold, LAB_ONLY_TCP)
{
	(void)k;
	blind_scene(lab, 0, "RequestThreshold() >= 7");
	for (uint16_t i = 0; i < 5; i++)
		connect_only(lab, 50000 + i);
	/* One that is cut off has been counted. */
	hang_up(lab, 50005);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
	refuse(lab, 50006);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_OPEN);
}

LAB_EACH(guard, without_http_nothing_is_taken_for_a_code, LAB_ONLY_TCP)
{
	(void)k;
	blind_scene(lab, 0, "ResponseCodeRatio(0, 65535, 0, 65535) > 0.0");
	for (uint16_t i = 0; i < 6; i++) {
		connect_only(lab, 50000 + i);
		refuse(lab, 51000 + i);
		hang_up(lab, 52000 + i);
	}
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
}

LAB_EACH(guard, what_is_no_http_is_a_connection_once_it_is_answered, LAB_ONLY_TCP)
{
	const char hello[] = "\x16\x03\x01 this is TLS";

	(void)k;
	blind_scene(lab, SHUNT_SVC_HTTP, "NetworkErrorRatio() > 0.5");
	for (uint16_t i = 0; i < 6; i++) {
		struct talk talk = talk_begin(lab, 50000 + i);

		say(&talk, CLIENT, hello);
		say(&talk, BACKEND, hello);
		/* More of it tells no more. */
		say(&talk, CLIENT, hello);
		say(&talk, BACKEND, hello);
	}
	for (uint16_t i = 0; i < 6; i++)
		refuse(lab, 51000 + i);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_CLOSED);
	refuse(lab, 51006);
	CHECK_EQ(phase(lab, WHOLE), SHUNT_BREAKER_OPEN);
}
