// SPDX-License-Identifier: Apache-2.0
/* The dead-man switch: a canary that is worse than it may be loses its weight. */
#include "lab.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>
#include <time.h>

#include "shunt/dead_man.h"

TestSuite(dead_man, .timeout = 120);

#define POLICY 1
#define CANARY 1 /* variants, and their only backends */
#define STABLE 2

static struct shunt_overlay *overlay(const struct lab *lab, uint32_t variant)
{
	return SHUNT_DP_AT(lab->maps.overlay, struct shunt_overlay, variant);
}

static struct shunt_dead_man_counts *counts(const struct lab *lab, uint32_t variant)
{
	return SHUNT_DP_AT(lab->maps.dead_man_counts, struct shunt_dead_man_counts, variant);
}

static uint32_t second(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint32_t)now.tv_sec;
}

/* Two variants with a connection to each; 10 samples, a margin of 5 %, a window of 10 s. */
struct scene {
	struct lab *lab;
	struct lab_talk {
		struct lab_packet client;
		struct lab_packet at_backend;
		uint32_t seq[2];
	} talk[3]; /* by variant */
};

static struct shunt_dead_man_rule *rule(const struct lab *lab)
{
	return &SHUNT_DP_AT(lab->maps.policies, struct shunt_policy_record, POLICY)->dead_man;
}

static void begin(struct scene *scene, struct lab *lab)
{
	struct shunt_service *service;

	memset(scene, 0, sizeof(*scene));
	scene->lab = lab;
	lab_scene(lab, 2, 1);
	lab_service_flags(lab, 1, SHUNT_SVC_HTTP);
	service = SHUNT_DP_AT(lab->maps.services, struct shunt_service, 1);
	service->policy[0] = POLICY;
	service->policy[1] = 0; /* another generation's */
	*rule(lab) = (struct shunt_dead_man_rule){
		.canary = CANARY,
		.stable = STABLE,
		.margin_bp = 500,
		.min_samples = 10,
		.seconds = SHUNT_DEAD_MAN_SECONDS(10000),
	};
	for (uint32_t v = CANARY; v <= STABLE; v++)
		SHUNT_DP_AT(lab->maps.variants, struct shunt_variant, v)->weight = 1;
	for (uint32_t client = 1; !scene->talk[CANARY].seq[0] || !scene->talk[STABLE].seq[0];
	     client++) {
		struct lab_packet packet = lab_from_client(lab, client, 4000, 1);
		struct lab_packet at_backend = lab_connect(lab, &packet);
		uint32_t variant = lab_flow(lab, &packet)->variant;

		scene->talk[variant] = (struct lab_talk){ packet, at_backend, { 1001, 5001 } };
	}
}

static void say(struct lab *lab, struct lab_talk *talk, int is_answer, const char *text)
{
	struct lab_packet packet = is_answer ? lab_answer(&talk->at_backend) : talk->client;
	uint32_t len = (uint32_t)strlen(text);
	struct lab_frame frame;

	packet = lab_flags(packet, TH_ACK_ | TH_PSH_, talk->seq[is_answer], talk->seq[!is_answer]);
	packet.payload = (uint16_t)len;
	packet_build(&packet, &frame);
	memcpy(frame.data + frame.len - len, text, len);
	packet_fix(&frame);
	if (is_answer)
		lab_egress_frame(lab, &frame);
	else
		lab_ingress_frame(lab, &frame);
	talk->seq[is_answer] += len;
}

/* A request to @variant's backend, which answers with @status. */
static void answer(struct scene *scene, uint32_t variant, const char *status)
{
	char text[64];

	say(scene->lab, &scene->talk[variant], 0, "GET / HTTP/1.1\r\n\r\n");
	sprintf(text, "HTTP/1.1 %s\r\n\r\n", status);
	say(scene->lab, &scene->talk[variant], 1, text);
}

static void answers(struct scene *scene, uint32_t variant, const char *status, int n)
{
	for (int i = 0; i < n; i++)
		answer(scene, variant, status);
}

/* Events of which the agent was told. */
static uint64_t told(const struct lab *lab)
{
	struct shunt_event_counters cells[256];
	uint64_t sum = 0;
	uint32_t zero = 0;

	cr_assert_leq(libbpf_num_possible_cpus(), 256);
	cr_assert_eq(bpf_map_lookup_elem(lab->maps.event_counters_fd, &zero, cells), 0);
	for (int i = 0; i < libbpf_num_possible_cpus(); i++)
		sum += cells[i].told;
	return sum;
}

/* How many of 40 new connections go to the canary. */
static uint32_t share(struct lab *lab, uint16_t port)
{
	uint32_t n = 0;

	for (uint32_t client = 1; client <= 40; client++) {
		struct lab_packet packet = lab_from_client(lab, client, port, 1);

		CHECK_REASON(lab_ingress(lab, &packet).reason, SHUNT_R_FORWARDED);
		n += lab_flow(lab, &packet)->variant == CANARY;
	}
	return n;
}

LAB_EACH(dead_man, it_trips_at_the_response_that_is_one_too_many, LAB_ONLY_TCP)
{
	struct scene scene;

	(void)k;
	begin(&scene, lab);
	answers(&scene, STABLE, "200 OK", 20);
	answers(&scene, CANARY, "200 OK", 19);
	/* 1 of 20 is 5 %, which is no more than the margin. */
	answer(&scene, CANARY, "500 Oops");
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	CHECK(share(lab, 5000) > 5);
	answer(&scene, CANARY, "503 Busy");
	CHECK_EQ(overlay(lab, CANARY)->tripped, 1);
	CHECK_EQ(overlay(lab, STABLE)->tripped, 0);
	CHECK_EQ(share(lab, 6000), 0);
	CHECK_EQ(told(lab), 1);
	/* The connection that is there goes on. */
	answer(&scene, CANARY, "200 OK");
	CHECK_EQ(lab_backend_counters(lab, CANARY).responses[2], 20);
	answers(&scene, CANARY, "500 Oops", 5);
	CHECK_EQ(told(lab), 1);
}

LAB_EACH(dead_man, nothing_is_decided_by_fewer_samples_than_asked_for, LAB_ONLY_TCP)
{
	struct scene scene;

	(void)k;
	begin(&scene, lab);
	answers(&scene, STABLE, "200 OK", 20);
	answers(&scene, CANARY, "500 Oops", 9);
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	/* Whatever the tenth is. */
	answer(&scene, CANARY, "200 OK");
	CHECK_EQ(overlay(lab, CANARY)->tripped, 1);
}

LAB_EACH(dead_man, a_canary_is_not_worse_than_a_stable_variant_as_bad, LAB_ONLY_TCP)
{
	struct scene scene;

	(void)k;
	begin(&scene, lab);
	/* Nothing to compare with. */
	answers(&scene, CANARY, "500 Oops", 12);
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	answers(&scene, STABLE, "502 Bad", 20);
	answers(&scene, CANARY, "500 Oops", 12);
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	/* When the stable one is well again, the next of the canary's is judged by that. */
	answers(&scene, STABLE, "200 OK", 20);
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	answer(&scene, CANARY, "500 Oops");
	CHECK_EQ(overlay(lab, CANARY)->tripped, 1);
	/* The stable variant itself never trips. */
	answers(&scene, STABLE, "500 Oops", 40);
	CHECK_EQ(overlay(lab, STABLE)->tripped, 0);
}

LAB_EACH(dead_man, errors_of_clients_and_answers_that_are_not_final_do_not_count, LAB_ONLY_TCP)
{
	struct scene scene;

	(void)k;
	begin(&scene, lab);
	answers(&scene, STABLE, "200 OK", 20);
	answers(&scene, CANARY, "404 Not Found", 12);
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	CHECK_EQ(shunt_dead_man_sum(counts(lab, CANARY)->responses, second(), 11), 12);
	answers(&scene, CANARY, "<html>", 5);
	CHECK_EQ(shunt_dead_man_sum(counts(lab, CANARY)->responses, second(), 11), 12);
	CHECK_EQ(shunt_dead_man_sum(counts(lab, CANARY)->errors, second(), 11), 0);
}

LAB_EACH(dead_man, where_nobody_would_take_its_place_the_canary_stays, LAB_ONLY_TCP)
{
	struct scene scene;

	(void)k;
	begin(&scene, lab);
	answers(&scene, STABLE, "200 OK", 20);
	SHUNT_DP_AT(lab->maps.variants, struct shunt_variant, STABLE)->weight = 0;
	answers(&scene, CANARY, "500 Oops", 12);
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	SHUNT_DP_AT(lab->maps.variants, struct shunt_variant, STABLE)->weight = 1;
	overlay(lab, STABLE)->tripped = 1;
	answer(&scene, CANARY, "500 Oops");
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	overlay(lab, STABLE)->tripped = 0;
	answer(&scene, CANARY, "500 Oops");
	CHECK_EQ(overlay(lab, CANARY)->tripped, 1);
}

LAB_EACH(dead_man, what_is_longer_ago_than_the_window_does_not_count, LAB_ONLY_TCP)
{
	uint32_t now = second();
	struct scene scene;

	(void)k;
	begin(&scene, lab);
	rule(lab)->seconds = SHUNT_DEAD_MAN_SECONDS(5000);
	for (uint32_t ago = 8; ago <= 12; ago++) {
		counts(lab, CANARY)->responses[(now - ago) % 16] = (uint64_t)(now - ago) << 32 | 50;
		counts(lab, CANARY)->errors[(now - ago) % 16] = (uint64_t)(now - ago) << 32 | 50;
	}
	answers(&scene, STABLE, "200 OK", 5);
	answers(&scene, CANARY, "200 OK", 12);
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	rule(lab)->seconds = SHUNT_DEAD_MAN_SECONDS(10000);
	answer(&scene, CANARY, "200 OK");
	CHECK_EQ(overlay(lab, CANARY)->tripped, 1);
}

LAB_EACH(dead_man, services_without_one_are_not_counted, LAB_ONLY_TCP)
{
	static const struct shunt_dead_man_counts nothing;
	struct scene scene;

	(void)k;
	begin(&scene, lab);
	/* The other generation has no such policy. */
	lab_settings(lab)->epoch ^= 1;
	answers(&scene, STABLE, "200 OK", 20);
	answers(&scene, CANARY, "500 Oops", 20);
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	for (uint32_t v = CANARY; v <= STABLE; v++)
		CHECK(!memcmp(counts(lab, v), &nothing, sizeof(nothing)));
}

/* Connections from clients of their own, until @n of @variant's were cut off (or not). */
static void connections(struct lab *lab, uint32_t variant, uint16_t port, int is_cut, int n)
{
	for (uint32_t client = 1; n; client++) {
		struct lab_packet packet = lab_from_client(lab, client, port, 1);
		struct lab_result there = lab_ingress(lab, &packet);
		struct lab_packet answer = lab_answer(&there.packet);

		if (lab_flow(lab, &packet)->variant != variant)
			continue;
		n--;
		if (is_cut)
			answer = lab_flags(answer, TH_RST_ | TH_ACK_, 0, 1001);
		else
			answer = lab_flags(answer, TH_SYN_ | TH_ACK_, 5000, 1001);
		lab_egress(lab, &answer);
		packet = lab_flags(packet, TH_ACK_, 1001, 5001);
		if (!is_cut)
			lab_ingress(lab, &packet);
	}
}

LAB_EACH(dead_man, without_http_it_judges_by_connections, LAB_ONLY_TCP)
{
	struct scene scene;

	(void)k;
	begin(&scene, lab);
	lab_service_flags(lab, 1, SHUNT_SVC_TCP | SHUNT_SVC_JUDGED);
	connections(lab, STABLE, 5000, 0, 20);
	connections(lab, CANARY, 6000, 0, 19);
	connections(lab, CANARY, 7000, 1, 1);
	CHECK_EQ(overlay(lab, CANARY)->tripped, 0);
	connections(lab, CANARY, 8000, 1, 1);
	CHECK_EQ(overlay(lab, CANARY)->tripped, 1);
	CHECK_EQ(told(lab), 1);
}
