// SPDX-License-Identifier: Apache-2.0
/* What becomes of TCP connections, as the programs count it. */
#include "conversation.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "shunt/connect.h"
#include "shunt/histogram.h"

TestSuite(connections, .timeout = 120);

/* Of the kind's one backend. Zero but for these. */
static void check_told(const struct lab *lab, struct shunt_counters want)
{
	struct shunt_counters got = lab_backend_counters(lab, 1);

	CHECK_EQ(got.established, want.established);
	CHECK_EQ(got.refused, want.refused);
	CHECK_EQ(got.unanswered, want.unanswered);
	CHECK_EQ(got.reset, want.reset);
	CHECK_EQ(got.closed, want.closed);
	CHECK_EQ(got.requests, 0);
}

#define CHECK_TOLD(...) check_told(lab, (struct shunt_counters){ __VA_ARGS__ })

/* The scene of begin(), its connections being counted. The SYN is the first of its jiffy. */
static struct conversation begin_told(struct lab *lab)
{
	struct conversation c;
	struct lab_result there;

	usleep(20000);
	lab_scene(lab, 1, 1);
	lab_service_flags(lab, 1, SHUNT_SVC_TCP);
	c.client = lab_from_client(lab, 1, 4000, 1);
	there = lab_ingress(lab, &c.client);
	cr_assert_eq(there.reason, SHUNT_R_FORWARDED);
	c.answer = lab_answer(&there.packet);
	return c;
}

static struct conversation established_told(struct lab *lab)
{
	struct conversation c = begin_told(lab);

	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &c, TH_ACK_, 1001, 5001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_ESTABLISHED);
	return c;
}

static uint64_t timed(const struct lab *lab, uint32_t bucket)
{
	return SHUNT_DP_AT(lab->maps.connect_times, struct shunt_connect_time,
			   SHUNT_TIME_BUCKETS + bucket)
		->connections;
}

/* ---- what is told ------------------------------------------------------------------------- */

LAB_EACH(connections, established_and_closed_are_counted, LAB_ONLY_TCP)
{
	struct conversation c = begin_told(lab);

	(void)k;
	CHECK_TOLD();
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	CHECK_TOLD();
	from_client(lab, &c, TH_ACK_, 1001, 5001);
	from_client(lab, &c, TH_ACK_, 1001, 5001);
	CHECK_TOLD(.established = 1);
	from_client(lab, &c, TH_FIN_ | TH_ACK_, 1001, 5001);
	from_backend(lab, &c, TH_FIN_ | TH_ACK_, 5001, 1002);
	CHECK_TOLD(.established = 1);
	from_client(lab, &c, TH_ACK_, 1002, 5002);
	from_client(lab, &c, TH_ACK_, 1002, 5002);
	CHECK_TOLD(.established = 1, .closed = 1);
}

LAB_EACH(connections, a_reset_that_answers_the_syn_is_a_refusal, LAB_ONLY_TCP)
{
	struct conversation c = begin_told(lab);

	(void)k;
	from_backend(lab, &c, TH_RST_ | TH_ACK_, 0, 1001);
	from_backend(lab, &c, TH_RST_ | TH_ACK_, 0, 1001);
	CHECK_TOLD(.refused = 1);
	/* The next one from the same port is refused by itself. */
	from_client(lab, &c, TH_SYN_, 9000, 0);
	from_backend(lab, &c, TH_RST_ | TH_ACK_, 0, 9001);
	CHECK_TOLD(.refused = 2);
	CHECK_EQ(lab_backend_counters(lab, 1).connections, 2);
}

LAB_EACH(connections, a_forged_reset_is_no_refusal, LAB_ONLY_TCP)
{
	static const struct {
		uint8_t flags;
		uint32_t ack;
	} forged[] = { { TH_RST_ | TH_ACK_, 1000 },
		       { TH_RST_ | TH_ACK_, 1002 },
		       { TH_RST_ | TH_ACK_, 0 },
		       { TH_RST_, 1001 } };
	struct conversation c = begin_told(lab);

	(void)k;
	for (size_t i = 0; i < ARRAY_LEN(forged); i++) {
		from_backend(lab, &c, forged[i].flags, 0, forged[i].ack);
		CHECK_TOLD();
		from_client(lab, &c, TH_SYN_, 1000, 0);
		CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_SYN);
	}
	from_client(lab, &c, TH_RST_, 1001, 0);
	CHECK_TOLD();
}

LAB_EACH(connections, a_syn_that_must_be_repeated_is_unanswered_once, LAB_ONLY_TCP)
{
	struct conversation c = begin_told(lab);

	(void)k;
	/* A copy, at once. */
	from_client(lab, &c, TH_SYN_, 1000, 0);
	CHECK_TOLD();
	lab_flow(lab, &c.client)->created_jiffies -= 300;
	/* Another's. */
	from_client(lab, &c, TH_SYN_, 2000, 0);
	CHECK_TOLD();
	from_client(lab, &c, TH_SYN_, 1000, 0);
	CHECK_TOLD(.unanswered = 1);
	from_client(lab, &c, TH_SYN_, 1000, 0);
	CHECK_TOLD(.unanswered = 1);
	/* It is answered after all; which SYN that was for nobody knows. */
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &c, TH_ACK_, 1001, 5001);
	CHECK_TOLD(.unanswered = 1, .established = 1);
	CHECK_EQ(lab_backend_counters(lab, 1).connects_timed, 0);
}

LAB_EACH(connections, an_unanswered_one_is_not_refused_as_well, LAB_ONLY_TCP)
{
	struct conversation c = begin_told(lab);

	(void)k;
	lab_flow(lab, &c.client)->created_jiffies -= 300;
	from_client(lab, &c, TH_SYN_, 1000, 0);
	from_backend(lab, &c, TH_RST_ | TH_ACK_, 0, 1001);
	CHECK_TOLD(.unanswered = 1);
}

LAB_EACH(connections, a_syn_repeated_behind_its_answer_is_answered, LAB_ONLY_TCP)
{
	struct conversation c = begin_told(lab);

	(void)k;
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	lab_flow(lab, &c.client)->created_jiffies -= 300;
	from_client(lab, &c, TH_SYN_, 1000, 0);
	CHECK_TOLD();
}

LAB_EACH(connections, a_reset_before_the_first_byte_is_counted_once, LAB_ONLY_TCP)
{
	struct conversation c = established_told(lab);

	(void)k;
	from_client(lab, &c, TH_ACK_ | TH_PSH_, 1001, 5001);
	/* Anybody's: not where the backend stands. */
	from_backend(lab, &c, TH_RST_, 5000, 0);
	from_backend(lab, &c, TH_RST_, 5002, 0);
	CHECK_TOLD(.established = 1);
	from_client(lab, &c, TH_ACK_, 1001, 5001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_ESTABLISHED);
	from_backend(lab, &c, TH_RST_, 5001, 0);
	CHECK_TOLD(.established = 1, .reset = 1);
	/* What crosses it opens the flow again, and is answered by its like. */
	from_client(lab, &c, TH_ACK_, 1001, 5001);
	CHECK_EQ(lab_state(lab, &c.client), SHUNT_F_ESTABLISHED);
	from_backend(lab, &c, TH_RST_, 5001, 0);
	CHECK_TOLD(.established = 1, .reset = 1);
}

LAB_EACH(connections, a_reset_behind_the_answer_or_of_the_client_is_not, LAB_ONLY_TCP)
{
	struct conversation c = established_told(lab);

	(void)k;
	from_backend(lab, &c, TH_ACK_ | TH_PSH_, 5001, 1001);
	from_backend(lab, &c, TH_RST_ | TH_ACK_, 5101, 1001);
	from_client(lab, &c, TH_ACK_, 1001, 5101);
	from_client(lab, &c, TH_RST_, 5001, 0);
	CHECK_TOLD(.established = 1);
}

LAB_EACH(connections, a_reset_behind_a_syn_ack_is_counted, LAB_ONLY_TCP)
{
	struct conversation c = begin_told(lab);

	(void)k;
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_backend(lab, &c, TH_RST_, 5001, 0);
	CHECK_TOLD(.reset = 1);
}

LAB_EACH(connections, nothing_is_told_where_signals_are_off, LAB_ONLY_TCP)
{
	struct conversation c = begin(lab);

	(void)k;
	CHECK_EQ(lab_flow(lab, &c.client)->backend_isn, 0);
	lab_flow(lab, &c.client)->created_jiffies -= 300;
	from_client(lab, &c, TH_SYN_, 1000, 0);
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_client(lab, &c, TH_ACK_, 1001, 5001);
	from_backend(lab, &c, TH_RST_, 5001, 0);
	CHECK_TOLD();
	CHECK_EQ(lab_backend_counters(lab, 1).connects_timed, 0);
}

/* ---- times -------------------------------------------------------------------------------- */

LAB_EACH(connections, the_time_to_the_answer_is_taken, LAB_ONLY_TCP)
{
	struct conversation c = begin_told(lab);
	uint64_t sum = 0, late = 0;
	struct shunt_counters told;

	(void)k;
	lab_settings(lab)->jiffy_us = 1000000 / (uint32_t)sysconf(_SC_CLK_TCK);
	usleep(3000);
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1001);
	told = lab_backend_counters(lab, 1);
	CHECK_EQ(told.connects_timed, 1);
	CHECK(told.connect_us >= 3000);
	for (uint32_t b = 0; b < SHUNT_TIME_BUCKETS; b++) {
		sum += timed(lab, b);
		late += b >= shunt_time_bucket(3000) ? timed(lab, b) : 0;
	}
	CHECK_EQ(sum, 1);
	CHECK_EQ(late, 1);
}

LAB_EACH(connections, an_answer_to_another_syn_is_not_timed, LAB_ONLY_TCP)
{
	struct conversation c = begin_told(lab);

	(void)k;
	from_backend(lab, &c, TH_SYN_ | TH_ACK_, 5000, 1000);
	CHECK_EQ(lab_backend_counters(lab, 1).connects_timed, 0);
}

LAB_EACH(connections, one_of_a_jiffy_is_timed, LAB_ONLY_TCP)
{
	const uint32_t began = lab_jiffies(lab), n = 200;
	uint64_t told;

	(void)k;
	lab_scene(lab, 1, 1);
	lab_service_flags(lab, 1, SHUNT_SVC_TCP);
	for (uint32_t i = 0; i < n; i++) {
		struct lab_packet client = lab_from_client(lab, 1 + i, 4000, 1);

		lab_connect(lab, &client);
	}
	told = lab_backend_counters(lab, 1).connects_timed;
	CHECK_EQ(lab_backend_counters(lab, 1).established, n);
	/* Each CPU that the test ran on has jiffies of its own. */
	CHECK(told > 0);
	CHECK(told <= 2 * (uint64_t)(lab_jiffies(lab) - began + 2));
}

/* All ages from 1 us to an hour, with jiffies of all usual lengths that end anywhere. */
Test(connections, an_age_is_right_to_2_us_or_a_thousandth)
{
	static const uint32_t lengths[] = { 1000, 3333, 4000, 10000 };

	for (int i = 0; i < 1000000; i++) {
		uint32_t jiffy_us = lengths[i % 4];
		uint64_t begin_ns = (uint64_t)rand() * 4096 + (uint64_t)rand();
		uint64_t us = 1 + ((uint64_t)rand() << 2) % (1ull << (2 + rand() % 30));
		uint64_t end_ns = begin_ns + us * 1000;
		uint32_t jiffies =
			(uint32_t)(end_ns / 1000 / jiffy_us - begin_ns / 1000 / jiffy_us);
		uint32_t mark = shunt_syn_mark((uint32_t)rand(), begin_ns);
		uint64_t got = shunt_syn_age_us(mark, end_ns, jiffies, jiffy_us);
		uint64_t off = got > us ? got - us : us - got;

		cr_assert(shunt_syn_is_timed(mark));
		cr_assert_leq(off, us / 1000 + 3, "%lu us in %u jiffies of %u: %lu", us, jiffies,
			      jiffy_us, got);
	}
}

Test(connections, a_mark_knows_its_syn)
{
	uint32_t mark = shunt_syn_mark(0xabcd0000, 0);

	cr_expect(shunt_syn_is(mark, 0x12340000));
	cr_expect_not(shunt_syn_is(mark, 0xabcd0001));
	cr_expect_not(shunt_syn_is_timed(mark));
	cr_expect(shunt_syn_is_timed(shunt_syn_mark(0, 1)));
	cr_expect_not(shunt_syn_is(0, 0x12340000));
}
