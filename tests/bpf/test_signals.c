// SPDX-License-Identifier: Apache-2.0
/* What plaintext HTTP services are asked and answer, as the programs count it. */
#include "lab.h"

#include <string.h>

#include "shunt/histogram.h"
#include "shunt/http.h"
#include "talk.h"

TestSuite(signals, .timeout = 120);

static uint64_t timed(const struct lab *lab, uint32_t variant)
{
	uint64_t sum = 0;

	for (uint32_t b = 0; b < SHUNT_TIME_BUCKETS; b++)
		sum += SHUNT_DP_AT(lab->maps.response_times, struct shunt_response_time,
				   variant * SHUNT_TIME_BUCKETS + b)
			       ->responses;
	return sum;
}

static void http_scene(struct lab *lab)
{
	lab_scene(lab, 1, 1);
	lab_service_flags(lab, 1, SHUNT_SVC_HTTP);
}

LAB_EACH(signals, requests_and_responses_are_counted_by_class, LAB_ONLY_TCP)
{
	static const char *const answers[] = { "HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 204 No\r\n\r\n",
					       "HTTP/1.1 302 Found\r\n",  "HTTP/1.1 404 No\r\n\r\n",
					       "HTTP/1.1 503 Busy\r\n",	  "<html>" };
	struct shunt_counters c;
	struct talk talk;

	(void)k;
	http_scene(lab);
	talk = talk_begin(lab, 40000);
	for (int i = 0; i < 6; i++) {
		say(&talk, CLIENT, "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\n");
		say(&talk, CLIENT, "GET body!");
		say(&talk, BACKEND, answers[i]);
		say(&talk, BACKEND, "HTTP/1.1 500 in the body");
	}
	c = lab_backend_counters(lab, 1);
	CHECK_EQ(c.requests, 6);
	CHECK_EQ(c.responses[0], 1);
	CHECK_EQ(c.responses[1], 0);
	CHECK_EQ(c.responses[2], 2);
	CHECK_EQ(c.responses[3], 1);
	CHECK_EQ(c.responses[4], 1);
	CHECK_EQ(c.responses[5], 1);
	CHECK_EQ(c.responses_timed, 6);
	CHECK_EQ(timed(lab, 1), 6);
	CHECK_EQ(timed(lab, 2), 0);
	CHECK(c.response_us < 60000000);
}

LAB_EACH(signals, packets_of_other_services_are_not_looked_at, LAB_ONLY_TCP)
{
	static const struct shunt_http nothing;
	struct talk talk;

	(void)k;
	lab_scene(lab, 1, 1);
	talk = talk_begin(lab, 40000);
	say(&talk, CLIENT, "GET / HTTP/1.1\r\n\r\n");
	say(&talk, BACKEND, "HTTP/1.1 200 OK\r\n\r\n");
	CHECK_EQ(lab_backend_counters(lab, 1).requests, 0);
	CHECK_EQ(lab_backend_counters(lab, 1).responses[2], 0);
	for (uint32_t i = 0; i < lab->maps.http.n; i++)
		CHECK(!memcmp(SHUNT_DP_AT(lab->maps.http, struct shunt_http, i), &nothing,
			      sizeof(nothing)));
}

LAB_EACH(signals, what_is_sent_again_counts_once, LAB_ONLY_TCP)
{
	struct shunt_counters c;
	struct talk talk;

	(void)k;
	http_scene(lab);
	talk = talk_begin(lab, 40000);
	say(&talk, CLIENT, "GET / HTTP/1.1\r\n\r\n");
	say_bytes(&talk, CLIENT, "GET / HTTP/1.1\r\n\r\n", 18, 1001);
	say(&talk, BACKEND, "HTTP/1.1 200 OK\r\n\r\n");
	say(&talk, CLIENT, "GET / HTTP/1.1\r\n\r\n");
	say_bytes(&talk, BACKEND, "HTTP/1.1 200 OK\r\n\r\n", 19, 5001);
	c = lab_backend_counters(lab, 1);
	CHECK_EQ(c.requests, 2);
	CHECK_EQ(c.responses[2], 1);
}

LAB_EACH(signals, a_flow_in_the_same_record_begins_with_nothing, LAB_ONLY_TCP)
{
	struct talk talk;

	(void)k;
	http_scene(lab);
	talk = talk_begin(lab, 40000);
	say(&talk, CLIENT, "GET / HTTP/1.1\r\n\r\n");
	/* The next one of this tuple takes the way that is freed. */
	talk.client = lab_flags(talk.client, TH_RST_ | TH_ACK_, talk.seq[CLIENT], 5001);
	lab_ingress(lab, &talk.client);
	lab_settings(lab)->seen_grain_jiffies = 0;
	talk = talk_begin(lab, 40000);
	say(&talk, BACKEND, "220 mail speaks first\r\n");
	say(&talk, CLIENT, "GET / HTTP/1.1\r\n\r\n");
	say(&talk, BACKEND, "HTTP/1.1 200 OK\r\n\r\n");
	CHECK_EQ(lab_backend_counters(lab, 1).requests, 1);
	CHECK_EQ(lab_backend_counters(lab, 1).responses[2], 0);
}

/* Appends a frame of HTTP/2. Return: the bytes so far. */
static uint32_t frame_h2(uint8_t *to, uint32_t at, uint8_t type, uint8_t flags, uint8_t stream,
			 const char *body, uint8_t len)
{
	const uint8_t header[9] = { 0, 0, len, type, flags, 0, 0, 0, stream };

	memcpy(to + at, header, 9);
	memcpy(to + at + 9, body, len);
	return at + 9 + len;
}

LAB_EACH(signals, http2_is_followed_frame_by_frame, LAB_ONLY_TCP)
{
	struct shunt_counters c;
	struct talk talk;
	uint8_t buf[1400];
	uint32_t len;

	(void)k;
	http_scene(lab);
	talk = talk_begin(lab, 40000);
	memcpy(buf, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
	len = frame_h2(buf, 24, 4, 0, 0, "", 0);
	for (uint8_t stream = 1; stream < 40; stream += 2)
		len = frame_h2(buf, len, 1, 5, stream, "\x82\x86", 2);
	say_bytes(&talk, CLIENT, buf, len, 0);
	len = frame_h2(buf, 0, 4, 0, 0, "\0\3\0\0\0\x64", 6);
	say_bytes(&talk, BACKEND, buf, len, 0);
	len = 0;
	for (uint8_t stream = 1; stream < 40; stream += 2) {
		len = frame_h2(buf, len, 1, 4, stream, stream % 3 ? "\x88" : "\x48\x03\x35\x30\x33",
			       stream % 3 ? 1 : 5);
		len = frame_h2(buf, len, 0, 0, stream, "0123456789", 10);
		len = frame_h2(buf, len, 1, 5, stream, "\xbf", 1);
	}
	say_bytes(&talk, BACKEND, buf, len, 0);
	c = lab_backend_counters(lab, 1);
	CHECK_EQ(c.requests, 20);
	CHECK_EQ(c.responses[2], 13);
	CHECK_EQ(c.responses[5], 7);
	CHECK_EQ(c.responses[0], 0);
	CHECK_EQ(c.responses_timed, 1);
}

LAB_EACH(signals, a_datagram_service_has_none, LAB_ONLY_UDP)
{
	struct lab_packet packet;

	(void)k;
	lab_scene(lab, 1, 1);
	packet = lab_from_client(lab, 1, 40000, 1);
	lab_connect(lab, &packet);
	CHECK_EQ(lab_backend_counters(lab, 1).requests, 0);
}

Test(signals, a_time_is_within_a_tenth_of_its_buckets_middle)
{
	double low = 1, high;

	for (uint32_t b = 0; b < SHUNT_TIME_BUCKETS; b++, low = high) {
		high = low * 1.189207115002721;
		for (int i = 0; i <= 20; i++) {
			double us = low + (high - low) * i / 20.0;
			uint32_t bucket = shunt_time_bucket((uint32_t)us);
			uint32_t floor_us = (uint32_t)us;

			/* Whole microseconds: compare where they are fine enough. */
			if (us < 64 || us > 4294967295.0)
				continue;
			cr_assert(bucket == b || (floor_us < low && bucket + 1 == b) ||
					  (i == 20 && bucket == b + 1),
				  "%f us: bucket %u, not %u", us, bucket, b);
		}
	}
	cr_expect_eq(shunt_time_bucket(0), 0);
	cr_expect_eq(shunt_time_bucket(1), 0);
	cr_expect_eq(shunt_time_bucket(2), 4);
	cr_expect_eq(shunt_time_bucket(0xffffffff), SHUNT_TIME_BUCKETS - 1);
}
