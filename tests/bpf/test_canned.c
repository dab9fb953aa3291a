// SPDX-License-Identifier: Apache-2.0
/* Requests that are refused on their connection: what both sides get then. */
#include "lab.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "policy/rate.h"

TestSuite(canned, .timeout = 120);

#define POLICY	1
#define CLIENT	0
#define BACKEND 1

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define OK_ "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
#define ANSWER                                                                                     \
	"HTTP/1.1 429 Too Many Requests\r\nRetry-After:      3600\r\nContent-Length: 0\r\n"        \
	"Connection: close\r\n\r\n"
#define ANSWER_LEN (sizeof(ANSWER) - 1)

/* A connection to service 1 through the gate. */
struct talk {
	struct lab *lab;
	struct lab_packet client;     /* its packets, as it sends them */
	struct lab_packet at_backend; /* what the backend sees of them */
	uint32_t seq[2];	      /* of the client, of the backend */
};

static struct shunt_policy_record *policy(struct lab *lab)
{
	return SHUNT_DP_AT(lab->maps.policies, struct shunt_policy_record, POLICY);
}

/* @burst requests, and then one an hour. */
static void limit_requests(struct lab *lab, uint32_t scope, uint32_t answer, uint32_t burst)
{
	struct shunt_limit *limit = &policy(lab)->rate[policy(lab)->n_request++];
	struct shunt_err err;

	*limit = (struct shunt_limit){
		.bucket = policy(lab)->n_request,
		.unit = SHUNT_LIMIT_REQUESTS,
		.scope = (uint8_t)scope,
		.answer = (uint8_t)answer,
		.prefix_len = { 32, 128 },
		.variant = { { 1, 11 }, { 2, 12 } },
	};
	cr_assert_eq(shunt_rate_make(1, 3600 * 1000, burst, &limit->rate, &err), 0);
}

/* A plaintext HTTP service of one backend, without limits. */
static void scene(struct lab *lab)
{
	struct shunt_service *service;

	lab_scene(lab, 1, 1);
	lab_service_flags(lab, 1, SHUNT_SVC_HTTP);
	service = SHUNT_DP_AT(lab->maps.services, struct shunt_service, 1);
	service->policy[0] = service->policy[1] = POLICY;
	*policy(lab) = (struct shunt_policy_record){ .service = 1 };
}

static struct talk talk_begin(struct lab *lab, uint32_t client, uint16_t port)
{
	struct talk talk = { .lab = lab, .client = lab_from_client(lab, client, port, 1) };

	talk.at_backend = lab_connect(lab, &talk.client);
	talk.seq[CLIENT] = 1001;
	talk.seq[BACKEND] = 5001;
	return talk;
}

static void frame_of(const struct talk *talk, int who, uint8_t flags, uint32_t seq,
		     const void *bytes, uint32_t len, struct lab_frame *frame)
{
	struct lab_packet packet = who == CLIENT ? talk->client : lab_answer(&talk->at_backend);

	packet = lab_flags(packet, flags, seq, talk->seq[!who]);
	packet.payload = (uint16_t)len;
	packet_build(&packet, frame);
	if (len)
		memcpy(frame->data + frame->len - len, bytes, len);
	packet_fix(frame);
}

/* A segment of @len bytes at @seq. */
static struct lab_result send_at(struct talk *talk, int who, uint8_t flags, uint32_t seq,
				 const void *bytes, uint32_t len)
{
	struct lab_frame frame;

	frame_of(talk, who, flags, seq, bytes, len, &frame);
	return who == CLIENT ? lab_ingress_frame(talk->lab, &frame)
			     : lab_egress_frame(talk->lab, &frame);
}

/* The next segment of who speaks. */
static struct lab_result say(struct talk *talk, int who, const char *text)
{
	uint32_t len = (uint32_t)strlen(text), seq = talk->seq[who];

	talk->seq[who] += len;
	return send_at(talk, who, TH_ACK_ | TH_PSH_, seq, text, len);
}

static void say_fine(struct talk *talk, int who, const char *text)
{
	CHECK_REASON(say(talk, who, text).reason,
		     who == CLIENT ? SHUNT_R_FORWARDED : SHUNT_R_RESTORED);
}

/* What @got, sent back to the client, has besides addresses. */
static void check_to_client(const struct talk *talk, const struct lab_result *got, uint8_t flags,
			    uint32_t seq, uint32_t ack)
{
	CHECK_EQ(got->verdict, LAB_BOUNCE);
	CHECK(got->sums_right);
	CHECK(!memcmp(&got->packet.src, &talk->client.dst, sizeof(talk->client.dst)));
	CHECK(!memcmp(&got->packet.dst, &talk->client.src, sizeof(talk->client.src)));
	CHECK_EQ(got->packet.sport, talk->client.dport);
	CHECK_EQ(got->packet.dport, talk->client.sport);
	CHECK_EQ(got->packet.tcp_flags, flags);
	CHECK_EQ(got->packet.seq, seq);
	CHECK_EQ(got->packet.ack, ack);
}

/* The whole response, which acknowledges all before @ack. */
static void check_answer(const struct talk *talk, const struct lab_result *got, uint32_t ack)
{
	size_t headers = LAB_ETH + packet_ip_len(talk->client.family) + 32;

	check_to_client(talk, got, TH_PSH_ | TH_ACK_ | TH_FIN_, talk->seq[BACKEND], ack);
	CHECK_EQ(got->frame.len, headers + ANSWER_LEN);
	CHECK(!memcmp(got->frame.data + headers, ANSWER, ANSWER_LEN));
}

/* A RST that the backend takes for the client's: at the number where the request began. */
static void check_backend_reset(const struct talk *talk, const struct lab_result *got, uint32_t seq)
{
	CHECK_EQ(got->verdict, LAB_PASS);
	CHECK(got->sums_right);
	CHECK(!memcmp(&got->packet.src, &talk->at_backend.src, sizeof(talk->client.src)));
	CHECK(!memcmp(&got->packet.dst, &talk->at_backend.dst, sizeof(talk->client.dst)));
	CHECK_EQ(got->packet.sport, talk->at_backend.sport);
	CHECK_EQ(got->packet.dport, talk->at_backend.dport);
	CHECK_EQ(got->packet.tcp_flags, TH_RST_);
	CHECK_EQ(got->packet.seq, seq);
	CHECK_EQ(got->frame.len, LAB_ETH + packet_ip_len(talk->client.family) + 20);
}

LAB_EACH(canned, what_is_over_the_limit_gets_429_and_its_backend_a_reset, LAB_ONLY_TCP)
{
	uint8_t mac[12];
	struct lab_result got;
	struct talk talk;
	uint32_t at;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 2);
	talk = talk_begin(lab, 1, 40000);
	for (int i = 0; i < 2; i++) {
		say_fine(&talk, CLIENT, GET);
		say_fine(&talk, BACKEND, OK_);
	}
	at = talk.seq[CLIENT];
	got = say(&talk, CLIENT, GET);
	CHECK_REASON(got.reason, SHUNT_R_REQUEST_LIMITED);
	check_answer(&talk, &got, talk.seq[CLIENT]);
	memcpy(mac, got.frame.data, sizeof(mac));
	CHECK_EQ(lab_state(lab, &talk.client), SHUNT_F_CLOSED);
	CHECK_EQ(lab_active(lab, 1), 0);
	CHECK_EQ(lab_backend_counters(lab, 1).requests, 2);
	CHECK_EQ(lab_variant_counters(lab, 1).rejects, 1);
	/* It acknowledges: of use for its backend. */
	talk.seq[BACKEND] += ANSWER_LEN + 1;
	got = send_at(&talk, CLIENT, TH_ACK_, talk.seq[CLIENT], NULL, 0);
	CHECK_REASON(got.reason, SHUNT_R_REQUEST_BEHIND);
	check_backend_reset(&talk, &got, at);
	CHECK(!memcmp(got.frame.data, mac + 6, 6) && !memcmp(got.frame.data + 6, mac, 6));
	got = send_at(&talk, CLIENT, TH_ACK_ | TH_FIN_, talk.seq[CLIENT], NULL, 0);
	check_to_client(&talk, &got, TH_ACK_, talk.seq[BACKEND], talk.seq[CLIENT] + 1);
	CHECK_EQ(lab_state(lab, &talk.client), SHUNT_F_CLOSED);
	/* What its backend sent meanwhile does not go on. */
	got = send_at(&talk, BACKEND, TH_ACK_ | TH_FIN_, 9000, NULL, 0);
	CHECK_REASON(got.reason, SHUNT_R_REQUEST_BEHIND);
	CHECK_EQ(got.verdict, LAB_DROP);
}

LAB_EACH(canned, a_client_that_closes_at_once_gets_its_acknowledgement_too, LAB_ONLY_TCP)
{
	struct lab_result got;
	struct talk talk;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 1);
	talk = talk_begin(lab, 1, 40000);
	say_fine(&talk, CLIENT, GET);
	say_fine(&talk, BACKEND, OK_);
	say(&talk, CLIENT, GET);
	talk.seq[BACKEND] += ANSWER_LEN + 1;
	got = send_at(&talk, CLIENT, TH_ACK_ | TH_FIN_, talk.seq[CLIENT], NULL, 0);
	check_backend_reset(&talk, &got, talk.seq[CLIENT] - (uint32_t)strlen(GET));
	got = send_at(&talk, CLIENT, TH_ACK_ | TH_FIN_, talk.seq[CLIENT], NULL, 0);
	check_to_client(&talk, &got, TH_ACK_, talk.seq[BACKEND], talk.seq[CLIENT] + 1);
}

LAB_EACH(canned, who_has_not_got_the_answer_gets_it_again_and_takes_nothing, LAB_ONLY_TCP)
{
	struct lab_result got;
	struct talk talk;
	uint32_t at;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 1);
	talk = talk_begin(lab, 1, 40000);
	say_fine(&talk, CLIENT, GET);
	say_fine(&talk, BACKEND, OK_);
	at = talk.seq[CLIENT];
	say(&talk, CLIENT, "POST /a HTTP/1.1\r\nContent-Length: 8\r\n\r\n");
	/* The room that the bucket would have: the connection is over all the same. */
	memset(SHUNT_DP_AT(lab->maps.buckets, struct shunt_bucket, 1), 0,
	       sizeof(struct shunt_bucket));
	got = send_at(&talk, CLIENT, TH_ACK_, at, GET, 18);
	CHECK_REASON(got.reason, SHUNT_R_REQUEST_BEHIND);
	check_answer(&talk, &got, at + 18);
	got = say(&talk, CLIENT, "GET body");
	check_answer(&talk, &got, talk.seq[CLIENT]);
	/* With the answer, its data is taken and thrown away. */
	talk.seq[BACKEND] += ANSWER_LEN + 1;
	got = send_at(&talk, CLIENT, TH_ACK_, talk.seq[CLIENT], NULL, 0);
	check_backend_reset(&talk, &got, at);
	got = say(&talk, CLIENT, "more of the body");
	check_to_client(&talk, &got, TH_ACK_, talk.seq[BACKEND], talk.seq[CLIENT]);
}

LAB_EACH(canned, a_running_body_is_never_refused, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 1);
	talk = talk_begin(lab, 1, 40000);
	say_fine(&talk, CLIENT, "POST /a HTTP/1.1\r\nContent-Length: 99\r\n\r\n");
	for (int i = 0; i < 4; i++)
		say_fine(&talk, CLIENT, GET);
	say_fine(&talk, BACKEND, OK_);
	CHECK_REASON(say(&talk, CLIENT, GET).reason, SHUNT_R_REQUEST_LIMITED);
}

LAB_EACH(canned, each_client_has_its_own_requests, LAB_ONLY_TCP)
{
	struct talk a, b;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_CLIENT, SHUNT_LIMIT_429, 1);
	a = talk_begin(lab, 1, 40000);
	b = talk_begin(lab, 2, 40000);
	say_fine(&a, CLIENT, GET);
	say_fine(&a, BACKEND, OK_);
	say_fine(&b, CLIENT, GET);
	say_fine(&b, BACKEND, OK_);
	CHECK_REASON(say(&a, CLIENT, GET).reason, SHUNT_R_REQUEST_LIMITED);
	CHECK_REASON(say(&b, CLIENT, GET).reason, SHUNT_R_REQUEST_LIMITED);
	/* The same counts for its next connection. */
	a = talk_begin(lab, 1, 40001);
	CHECK_REASON(say(&a, CLIENT, GET).reason, SHUNT_R_REQUEST_LIMITED);
	a = talk_begin(lab, 3, 40001);
	say_fine(&a, CLIENT, GET);
}

LAB_EACH(canned, a_limit_of_a_variant_counts_its_own, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 1);
	policy(lab)->rate[0].only_variant = 2;
	talk = talk_begin(lab, 1, 40000);
	for (int i = 0; i < 3; i++) {
		say_fine(&talk, CLIENT, GET);
		say_fine(&talk, BACKEND, OK_);
	}
	policy(lab)->rate[0].only_variant = 1;
	say_fine(&talk, CLIENT, GET);
	say_fine(&talk, BACKEND, OK_);
	CHECK_REASON(say(&talk, CLIENT, GET).reason, SHUNT_R_REQUEST_LIMITED);
}

LAB_EACH(canned, where_the_answer_is_reset_both_sides_get_one, LAB_ONLY_TCP)
{
	struct lab_result got;
	struct talk talk;
	uint32_t at;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_REJECT, 1);
	talk = talk_begin(lab, 1, 40000);
	say_fine(&talk, CLIENT, GET);
	say_fine(&talk, BACKEND, OK_);
	at = talk.seq[CLIENT];
	got = say(&talk, CLIENT, GET);
	CHECK_REASON(got.reason, SHUNT_R_REQUEST_LIMITED);
	check_backend_reset(&talk, &got, at);
	got = send_at(&talk, CLIENT, TH_ACK_ | TH_PSH_, at, GET, 18);
	CHECK_REASON(got.reason, SHUNT_R_REQUEST_BEHIND);
	check_to_client(&talk, &got, TH_RST_, talk.seq[BACKEND], 0);
	got = send_at(&talk, CLIENT, TH_RST_, talk.seq[CLIENT], NULL, 0);
	CHECK_EQ(got.verdict, LAB_DROP);
}

LAB_EACH(canned, where_the_answer_is_drop_it_is_asked_again, LAB_ONLY_TCP)
{
	struct lab_result got;
	struct talk talk;
	uint32_t at;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_DROP, 1);
	talk = talk_begin(lab, 1, 40000);
	say_fine(&talk, CLIENT, GET);
	say_fine(&talk, BACKEND, OK_);
	at = talk.seq[CLIENT];
	for (int i = 0; i < 2; i++) {
		got = send_at(&talk, CLIENT, TH_ACK_ | TH_PSH_, at, GET, strlen(GET));
		CHECK_REASON(got.reason, SHUNT_R_LIMITED_DROP);
		CHECK_EQ(got.verdict, LAB_DROP);
	}
	memset(SHUNT_DP_AT(lab->maps.buckets, struct shunt_bucket, 1), 0,
	       sizeof(struct shunt_bucket));
	say_fine(&talk, CLIENT, GET);
	say_fine(&talk, BACKEND, OK_);
	CHECK_EQ(lab_backend_counters(lab, 1).requests, 2);
}

LAB_EACH(canned, who_is_within_a_response_is_reset_for_an_answer_would_be_part_of_it, LAB_ONLY_TCP)
{
	struct lab_result got;
	struct talk talk;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 1);
	talk = talk_begin(lab, 1, 40000);
	say_fine(&talk, CLIENT, GET);
	say_fine(&talk, BACKEND, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
	say_fine(&talk, BACKEND, "not yet ");
	/* It has not got that: it asks for more in advance. */
	talk.seq[BACKEND] -= 8;
	got = say(&talk, CLIENT, GET);
	CHECK_REASON(got.reason, SHUNT_R_REQUEST_LIMITED);
	check_backend_reset(&talk, &got, talk.seq[CLIENT] - (uint32_t)strlen(GET));
}

LAB_EACH(canned, a_first_request_is_answered_where_the_backend_would_begin, LAB_ONLY_TCP)
{
	struct lab_result got;
	struct talk talk;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 1);
	talk = talk_begin(lab, 1, 40000);
	say_fine(&talk, CLIENT, GET);
	talk = talk_begin(lab, 1, 40001);
	got = say(&talk, CLIENT, GET);
	check_answer(&talk, &got, talk.seq[CLIENT]);
	/* On the same ports another connection begins, with nothing of that. */
	memset(SHUNT_DP_AT(lab->maps.buckets, struct shunt_bucket, 1), 0,
	       sizeof(struct shunt_bucket));
	talk = talk_begin(lab, 1, 40001);
	say_fine(&talk, CLIENT, GET);
	say_fine(&talk, BACKEND, OK_);
}

/* Puts the usual options of a client's packet behind its TCP header. */
static void add_times(struct lab_frame *frame, enum shunt_slot_index family)
{
	static const uint8_t times[12] = { 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8 };
	uint8_t *ip = frame->data + LAB_ETH, *tcp = ip + packet_ip_len(family);
	uint32_t head = (uint32_t)(tcp + 20 - frame->data), l3;

	memmove(tcp + 32, tcp + 20, frame->len - head);
	memcpy(tcp + 20, times, 12);
	tcp[12] = 0x80;
	frame->len += 12;
	l3 = frame->len - LAB_ETH - (family == SHUNT_V6 ? 40 : 0);
	ip[family == SHUNT_V6 ? 4 : 2] = (uint8_t)(l3 >> 8);
	ip[family == SHUNT_V6 ? 5 : 3] = (uint8_t)l3;
	packet_fix(frame);
}

LAB_EACH(canned, timestamps_are_turned_round, LAB_ONLY_TCP)
{
	static const uint8_t none[12] = { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 };
	static const uint8_t turned[12] = { 1, 1, 8, 10, 5, 6, 7, 8, 1, 2, 3, 4 };
	struct lab_result got;
	struct lab_frame frame;
	struct talk talk;
	size_t at;

	scene(lab);
	at = LAB_ETH + packet_ip_len(k->family) + 20;
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 1);
	talk = talk_begin(lab, 1, 40000);
	say_fine(&talk, CLIENT, GET);
	talk = talk_begin(lab, 1, 40001);
	frame_of(&talk, CLIENT, TH_ACK_ | TH_PSH_, 1001, GET, strlen(GET), &frame);
	add_times(&frame, k->family);
	got = lab_ingress_frame(lab, &frame);
	check_answer(&talk, &got, 1001 + (uint32_t)strlen(GET));
	CHECK(!memcmp(got.frame.data + at, turned, 12));
	talk = talk_begin(lab, 1, 40002);
	got = say(&talk, CLIENT, GET);
	check_answer(&talk, &got, talk.seq[CLIENT]);
	CHECK(!memcmp(got.frame.data + at, none, 12));
}

LAB_EACH(canned, http2_is_reset, LAB_ONLY_TCP)
{
	static const char first[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				    "\0\0\0\4\0\0\0\0\0"
				    "\0\0\2\1\5\0\0\0\1\x82\x86";
	static const char next[] = "\0\0\2\1\5\0\0\0\3\x82\x86"
				   "\0\0\2\1\5\0\0\0\5\x82\x86";
	struct lab_result got;
	struct talk talk;

	(void)k;
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 2);
	talk = talk_begin(lab, 1, 40000);
	got = send_at(&talk, CLIENT, TH_ACK_, 1001, first, sizeof(first) - 1);
	CHECK_REASON(got.reason, SHUNT_R_FORWARDED);
	/* Two at once, of which the bucket has one: more than that it does not owe. */
	got = send_at(&talk, CLIENT, TH_ACK_, 1001 + sizeof(first) - 1, next, sizeof(next) - 1);
	CHECK_REASON(got.reason, SHUNT_R_REQUEST_LIMITED);
	check_backend_reset(&talk, &got, 1001 + sizeof(first) - 1);
	CHECK_EQ(lab_backend_counters(lab, 1).requests, 1);
}

LAB_EACH(canned, a_super_packet_with_the_end_of_the_connection_is_answered,
	 LAB_ONLY_TCP | LAB_ONLY_TC)
{
	struct lab_result got;
	struct lab_frame frame;
	struct talk talk;
	char text[1000];

	(void)k;
	memset(text, 'x', sizeof(text));
	memcpy(text, "PUT /a ", 7);
	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 1);
	talk = talk_begin(lab, 1, 40000);
	say_fine(&talk, CLIENT, GET);
	talk = talk_begin(lab, 1, 40001);
	frame_of(&talk, CLIENT, TH_ACK_ | TH_FIN_, 1001, text, sizeof(text), &frame);
	got = lab_ingress_gso(lab, &frame, 7);
	check_answer(&talk, &got, 1001 + sizeof(text) + 1);
}

LAB_EACH(canned, an_open_breaker_answers_with_its_code, LAB_ONLY_TCP)
{
	static const char answer[] = "HTTP/1.1 518 Service Unavailable\r\nContent-Length: 21\r\n"
				     "Connection: close\r\n\r\ncircuit breaker open\n";
	size_t headers = LAB_ETH + packet_ip_len(k->family) + 32;
	struct lab_result got;
	struct talk talk;
	uint32_t at;

	scene(lab);
	limit_requests(lab, SHUNT_LIMIT_SERVICE, SHUNT_LIMIT_429, 1);
	*SHUNT_DP_AT(lab->maps.breakers, struct shunt_breaker_rule, 1) =
		(struct shunt_breaker_rule){ .open_ns = 1ull << 50, .response_code = 518 };
	talk = talk_begin(lab, 1, 40000);
	*SHUNT_DP_AT(lab->maps.variant_guards, struct shunt_variant_guard, 1) =
		(struct shunt_variant_guard){ .breaker = { 1, 1 }, .instance = { 5, 5 } };
	SHUNT_DP_AT(lab->maps.breaker_states, struct shunt_breaker_state, 5)->word =
		SHUNT_BREAKER_WORD(1ull << 60, SHUNT_BREAKER_OPEN);
	at = talk.seq[CLIENT];
	got = say(&talk, CLIENT, GET);
	CHECK_REASON(got.reason, SHUNT_R_BREAKER_OPEN);
	check_to_client(&talk, &got, TH_PSH_ | TH_ACK_ | TH_FIN_, 5001, talk.seq[CLIENT]);
	CHECK_EQ(got.frame.len, headers + sizeof(answer) - 1);
	CHECK(!memcmp(got.frame.data + headers, answer, sizeof(answer) - 1));
	talk.seq[BACKEND] += sizeof(answer);
	got = send_at(&talk, CLIENT, TH_ACK_, talk.seq[CLIENT], NULL, 0);
	check_backend_reset(&talk, &got, at);
	/* It has taken nothing from the limit. */
	SHUNT_DP_AT(lab->maps.breaker_states, struct shunt_breaker_state, 5)->word = 0;
	talk = talk_begin(lab, 1, 40001);
	say_fine(&talk, CLIENT, GET);
}
