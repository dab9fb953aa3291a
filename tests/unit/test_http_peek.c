// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/http.h"

/* A connection as the kernel sees it, and what was told of it. */
struct talk {
	struct shunt_http http;
	struct shunt_http_segment segment; /* that is looked at now */
	const __u8 *payload;
	__u32 seq[2]; /* client, backend */
	__u64 now_ns;
	unsigned requests, responses, unknown, latencies;
	unsigned codes[600];
	struct shunt_http_event last;
};

typedef struct talk *shunt_http_src_t;

static struct shunt_http *shunt_http_of(shunt_http_src_t src)
{
	return &src->http;
}

static const struct shunt_http_segment *shunt_http_segment(shunt_http_src_t src)
{
	return &src->segment;
}

static int shunt_http_load(shunt_http_src_t src, __u32 offset, void *to, __u32 size)
{
	if (offset > src->segment.len || size > src->segment.len - offset)
		return -1;
	memcpy(to, src->payload + offset, size);
	return 0;
}

static void shunt_http_told(shunt_http_src_t src, const struct shunt_http_event *event);

#include "shunt/http_walk.h"

static void shunt_http_told(shunt_http_src_t src, const struct shunt_http_event *event)
{
	src->requests += event->is_request;
	src->responses += event->is_response;
	src->latencies += event->has_latency;
	if (event->is_response && !event->code)
		src->unknown++;
	if (event->code < 600)
		src->codes[event->code] += event->is_response;
	if (event->is_request || event->is_response)
		src->last = *event;
}

#define CLIENT	0
#define BACKEND 1
#define MS	1000000ull

static void segment(struct talk *talk, int from, __u32 seq, const void *payload, __u32 len)
{
	struct shunt_http_event event = { 0 };
	__u8 head[SHUNT_HTTP_PEEK] = { 0 };
	int needs;

	talk->payload = payload;
	talk->segment = (struct shunt_http_segment){ seq, len, from == CLIENT, 1, 0 };
	needs = shunt_http_needs(&talk->http, &talk->segment);
	/* What is not asked for is not there. */
	if (needs & SHUNT_HTTP_NEEDS_TIME)
		talk->segment.now_ns = talk->now_ns;
	if (needs & SHUNT_HTTP_NEEDS_HEAD)
		memcpy(head, payload, len < sizeof(head) ? len : sizeof(head));
	if (from == CLIENT)
		shunt_http_client(&talk->http, &talk->segment, head, &event);
	else
		shunt_http_backend(&talk->http, &talk->segment, head, &event);
	if (event.is_request || event.is_response)
		shunt_http_told(talk, &event);
	shunt_http2_walk(talk);
}

static void say_bytes(struct talk *talk, int from, const void *payload, __u32 len)
{
	segment(talk, from, talk->seq[from], payload, len);
	talk->seq[from] += len;
}

static void say(struct talk *talk, int from, const char *text)
{
	say_bytes(talk, from, text, strlen(text));
}

static struct talk talk_begin(void)
{
	/* Near the wrap of both. */
	return (struct talk){ .seq = { -50u, -20u }, .now_ns = 5000 * MS };
}

TestSuite(http_peek);

Test(http_peek, keep_alive_is_counted_by_turns)
{
	static const char *const answers[] = { "HTTP/1.1 200 OK\r\n", "HTTP/1.0 503 No\r\n",
					       "HTTP/1.1 404\r\n" };
	struct talk talk = talk_begin();

	for (int n = 0; n < 3; n++) {
		say(&talk, CLIENT, "POST /a HTTP/1.1\r\nContent-Length: 40\r\n\r\n");
		talk.now_ns += 2 * MS;
		say(&talk, CLIENT, "GET this is the body, not a request!");
		cr_expect_eq(talk.last.has_latency, 0);
		talk.now_ns += 30 * MS;
		say(&talk, BACKEND, answers[n]);
		cr_expect_eq(talk.last.latency_us, 30000, "from the request's last segment");
		talk.now_ns += MS;
		say(&talk, BACKEND, "HTTP/1.1 500 is what the body says");
	}
	cr_expect_eq(talk.http.protocol, SHUNT_HTTP_1);
	cr_expect_eq(talk.requests, 3);
	cr_expect_eq(talk.responses, 3);
	cr_expect_eq(talk.codes[200], 1);
	cr_expect_eq(talk.codes[503], 1);
	cr_expect_eq(talk.codes[404], 1);
}

Test(http_peek, what_is_sent_again_is_not_counted_again)
{
	struct talk talk = talk_begin();

	segment(&talk, CLIENT, 100, "GET / HTTP/1.1\r\n\r\n", 18);
	segment(&talk, CLIENT, 100, "GET / HTTP/1.1\r\n\r\n", 18);
	segment(&talk, BACKEND, 900, "HTTP/1.1 200 OK\r\n\r\n", 19);
	segment(&talk, CLIENT, 100, "GET / HTTP/1.1\r\n\r\n", 18);
	segment(&talk, BACKEND, 900, "HTTP/1.1 200 OK\r\n\r\n", 19);
	cr_expect_eq(talk.requests, 1);
	cr_expect_eq(talk.responses, 1);
	segment(&talk, CLIENT, 118, "HEAD / HTTP/1.1\r\n\r\n", 19);
	segment(&talk, BACKEND, 900, "HTTP/1.1 200 OK\r\n\r\n", 19);
	cr_expect_eq(talk.requests, 2);
	cr_expect_eq(talk.responses, 1, "an old response does not answer a new request");
}

Test(http_peek, interim_responses_are_none_and_101_ends_it)
{
	struct talk talk = talk_begin();

	say(&talk, CLIENT, "PUT / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n");
	say(&talk, BACKEND, "HTTP/1.1 100 Continue\r\n\r\n");
	say(&talk, BACKEND, "HTTP/1.1 103 Early Hints\r\n\r\n");
	cr_expect_eq(talk.responses, 0);
	say(&talk, CLIENT, "the body");
	say(&talk, BACKEND, "HTTP/1.1 201 Created\r\n\r\n");
	cr_expect_eq(talk.codes[201], 1);
	say(&talk, CLIENT, "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n");
	say(&talk, BACKEND, "HTTP/1.1 101 Switching Protocols\r\n\r\n");
	say(&talk, CLIENT, "GET / HTTP/1.1\r\n\r\n");
	say(&talk, BACKEND, "HTTP/1.1 500 no\r\n\r\n");
	cr_expect_eq(talk.http.protocol, SHUNT_HTTP_OPAQUE);
	cr_expect_eq(talk.requests, 2);
	cr_expect_eq(talk.responses, 2);
}

Test(http_peek, pipelined_requests_are_one_turn)
{
	struct talk talk = talk_begin();

	say(&talk, CLIENT, "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\n");
	say(&talk, CLIENT, "GET /3 HTTP/1.1\r\n\r\n");
	say(&talk, BACKEND, "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 500 no\r\n\r\n");
	say(&talk, BACKEND, "HTTP/1.1 500 no\r\n\r\n");
	cr_expect_eq(talk.requests, 1);
	cr_expect_eq(talk.responses, 1);
	cr_expect_eq(talk.codes[200], 1);
}

Test(http_peek, what_is_no_http_is_opaque)
{
	static const char *const firsts[] = { "\x16\x03\x01\x02",      "GE",
					      "get / HTTP/1.1",	       "A / B",
					      "ABCDEFGHIJKLMNOPQRSTU", "PRI * HTTP/3.0\r\n" };

	for (size_t i = 0; i < sizeof(firsts) / sizeof(firsts[0]); i++) {
		struct talk talk = talk_begin();

		say(&talk, CLIENT, firsts[i]);
		say(&talk, BACKEND, "HTTP/1.1 200 OK\r\n");
		cr_expect_eq(talk.http.protocol, i == 5 ? SHUNT_HTTP_1 : SHUNT_HTTP_OPAQUE, "%s",
			     firsts[i]);
		cr_expect_eq(talk.responses, i == 5, "%s", firsts[i]);
	}
	for (int i = 0; i < 2; i++) {
		struct talk talk = talk_begin();

		say(&talk, BACKEND, i ? "220 mail ready" : "\x4a\0\0\0\x0a");
		say(&talk, CLIENT, "GET / HTTP/1.1\r\n");
		cr_expect_eq(talk.http.protocol, SHUNT_HTTP_OPAQUE);
	}
}

Test(http_peek, a_status_line_is_read_strictly)
{
	static const struct {
		const char *text;
		__u32 code;
	} cases[] = {
		{ "HTTP/1.1 200 OK", 200 }, { "HTTP/1.0 999 X", 999 }, { "HTTP/1.1 204\r\n", 204 },
		{ "HTTP/1.1 500", 500 },    { "HTTP/1.1 099 X", 0 },   { "HTTP/1.1 2000 X", 0 },
		{ "HTTP/1.1 20 OK", 0 },    { "HTTP/2.0 200 OK", 0 },  { "HTTP/1.1  200 OK", 0 },
		{ "http/1.1 200 OK", 0 },   { "HTTP/1.x 200 OK", 0 },  { "HTTP/1.1 20", 0 },
		{ "XHTTP/1.1 200 O", 0 },   { "HTTP/1.1 -20 OK", 0 },  { "", 0 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		__u8 head[SHUNT_HTTP_PEEK] = { 0 };

		memcpy(head, cases[i].text, strlen(cases[i].text));
		cr_expect_eq(shunt_http1_status(head), cases[i].code, "%s", cases[i].text);
	}
}

Test(http_peek, a_response_without_a_status_line_is_unknown_never_a_success)
{
	struct talk talk = talk_begin();

	say(&talk, CLIENT, "GET / HTTP/1.0\r\n\r\n");
	say(&talk, BACKEND, "<html>HTTP/0.9</html>");
	cr_expect_eq(talk.unknown, 1);
	cr_expect_eq(talk.responses, 1);
}

/* ---- HTTP/2 -----------------------------------------------------------------------------------
 */

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

enum frame_type { DATA = 0, HEADERS = 1, RST_STREAM = 3, SETTINGS = 4, WINDOW = 8 };

/* Appends a frame. Return: the bytes so far. */
static __u32 frame(__u8 *to, __u32 at, int type, int flags, __u32 stream, const void *body,
		   __u32 len)
{
	const __u8 header[9] = { len >> 16,    len >> 8,     len,	  type,	 flags,
				 stream >> 24, stream >> 16, stream >> 8, stream };

	memcpy(to + at, header, 9);
	memcpy(to + at + 9, body, len);
	return at + 9 + len;
}

static void say_frame(struct talk *talk, int from, int type, int flags, __u32 stream,
		      const void *body, __u32 len)
{
	__u8 buf[4096];

	say_bytes(talk, from, buf, frame(buf, 0, type, flags, stream, body, len));
}

static struct talk h2_begin(int backend_first)
{
	struct talk talk = talk_begin();

	if (backend_first)
		say_frame(&talk, BACKEND, SETTINGS, 0, 0, "\0\3\0\0\0\x64", 6);
	say(&talk, CLIENT, preface);
	say_frame(&talk, CLIENT, SETTINGS, 0, 0, "", 0);
	if (!backend_first)
		say_frame(&talk, BACKEND, SETTINGS, 0, 0, "\0\3\0\0\0\x64", 6);
	say_frame(&talk, BACKEND, SETTINGS, 1, 0, "", 0);
	cr_assert_eq(talk.http.protocol, SHUNT_HTTP_2);
	return talk;
}

Test(http_peek, responses_of_http2_are_told_by_their_first_byte)
{
	static const struct {
		__u32 code, len;
		const char *block;
	} cases[] = {
		{ 200, 1, "\x88" },
		{ 204, 1, "\x89" },
		{ 206, 1, "\x8a" },
		{ 304, 1, "\x8b" },
		{ 400, 1, "\x8c" },
		{ 404, 1, "\x8d" },
		{ 500, 1, "\x8e" },
		{ 200, 40, "\x88\x76\x85 and more headers, as there always are" },
		/* Spelled out: with, without and never indexing; plain, Huffman coded in 2 and 3.
		 */
		{ 503, 5, "\x48\x03\x35\x30\x33" },
		{ 302, 5, "\x08\x03\x33\x30\x32" },
		{ 429, 5, "\x1e\x03\x34\x32\x39" },
		{ 302, 4, "\x48\x82\x64\x02" },	    /* RFC 7541 C.6.1 */
		{ 307, 5, "\x48\x83\x64\x0e\xff" }, /* C.6.2 */
		{ 503, 5, "\x48\x83\x6c\x0c\xff" },
		/* Behind a change of the table's size: 0, 4096, 65536. */
		{ 200, 2, "\x20\x88" },
		{ 500, 4, "\x3f\xe1\x1f\x8e" },
		{ 503, 9, "\x3f\xe1\xff\x03\x48\x03\x35\x30\x33" },
		/* The dynamic table; another name; no digits. */
		{ 0, 1, "\xbe" },
		{ 0, 1, "\x87" },
		{ 0, 5, "\x4f\x03\x35\x30\x33" },
		{ 0, 5, "\x48\x03\x35\x30\x61" },
		{ 0, 5, "\x48\x04\x35\x30\x33" },
		{ 0, 4, "\x48\x82\xff\xff" },
		{ 0, 5, "\x48\x03\x30\x30\x33" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct talk talk = h2_begin(i & 1);

		say_frame(&talk, CLIENT, HEADERS, 5, 1, "\x82\x86\x84", 3);
		talk.now_ns += 7 * MS;
		say_frame(&talk, BACKEND, HEADERS, 4, 1, cases[i].block, cases[i].len);
		cr_expect_eq(talk.requests, 1);
		cr_expect_eq(talk.responses, 1, "case %zu", i);
		cr_expect_eq(talk.last.code, cases[i].code, "case %zu: %u", i, talk.last.code);
		cr_expect_eq(talk.last.latency_us, 7000);
	}
}

Test(http_peek, trailers_and_interim_headers_of_http2_are_no_responses)
{
	struct talk talk = h2_begin(0);

	for (__u32 stream = 1; stream < 2000; stream += 2) {
		say_frame(&talk, CLIENT, HEADERS, 4, stream, "\x83", 1);
		say_frame(&talk, CLIENT, DATA, 0, stream, "body", 4);
		say_frame(&talk, CLIENT, HEADERS, 5, stream, "\xbe", 1); /* trailers */
		say_frame(&talk, BACKEND, HEADERS, 4, stream, "\x08\x03\x31\x30\x33", 5);
		say_frame(&talk, BACKEND, HEADERS, 4, stream, "\x88", 1);
		say_frame(&talk, BACKEND, DATA, 0, stream, "\0\0\0\0\1x", 6);
		say_frame(&talk, BACKEND, HEADERS, 5, stream, "\xbf", 1); /* grpc-status */
	}
	cr_expect_eq(talk.requests, 1000);
	cr_expect_eq(talk.responses, 1000);
	cr_expect_eq(talk.codes[200], 1000);
	cr_expect_eq(talk.latencies, 1000);
}

Test(http_peek, padding_and_priority_stand_before_the_block)
{
	struct talk talk = h2_begin(0);

	say_frame(&talk, CLIENT, HEADERS, 5, 1, "\x82", 1);
	say_frame(&talk, BACKEND, HEADERS, 4 | 8, 1, "\2\x8e\0\0", 4);
	cr_expect_eq(talk.last.code, 500);
	say_frame(&talk, CLIENT, HEADERS, 5, 3, "\x82", 1);
	say_frame(&talk, BACKEND, HEADERS, 4 | 8 | 32, 3, "\1\0\0\0\0\1\x8d\0", 8);
	cr_expect_eq(talk.last.code, 404);
}

Test(http_peek, streams_answer_in_any_order)
{
	struct talk talk = h2_begin(0);

	for (__u32 stream = 1; stream < 100; stream += 2)
		say_frame(&talk, CLIENT, HEADERS, 5, stream, "\x82", 1);
	for (__u32 stream = 99; stream < 100; stream -= 2) {
		say_frame(&talk, BACKEND, HEADERS, 4, stream, stream % 5 ? "\x88" : "\x8e", 1);
		say_frame(&talk, BACKEND, HEADERS, 5, stream, "\x88", 1);
	}
	cr_expect_eq(talk.requests, 50);
	cr_expect_eq(talk.codes[500], 10);
	cr_expect_eq(talk.codes[200], 40);
	cr_expect_eq(talk.latencies, 1, "the time of one at a time");
	/* An answer to what was never asked. */
	say_frame(&talk, BACKEND, HEADERS, 5, 101, "\x88", 1);
	say_frame(&talk, BACKEND, HEADERS, 5, 2, "\x88", 1);
	cr_expect_eq(talk.responses, 50);
}

Test(http_peek, a_stream_that_is_reset_does_not_stop_the_clock_for_ever)
{
	struct talk talk = h2_begin(0);

	say_frame(&talk, CLIENT, HEADERS, 5, 1, "\x82", 1);
	say_frame(&talk, BACKEND, RST_STREAM, 0, 1, "\0\0\0\2", 4);
	for (__u32 stream = 3; stream < 400; stream += 2) {
		say_frame(&talk, CLIENT, HEADERS, 5, stream, "\x82", 1);
		say_frame(&talk, BACKEND, HEADERS, 5, stream, "\x88", 1);
	}
	cr_expect_gt(talk.latencies, 100);
}

/* A backend's whole side of 64 streams; DATA of up to 3000 bytes looks like HEADERS inside. */
static __u32 long_answer(__u8 *to, unsigned *seed)
{
	static __u8 body[3000];
	__u32 at = 0;

	for (size_t i = 0; i + 10 < sizeof(body); i += 10)
		frame(body, i, HEADERS, 4, 1, "\x8e", 1);
	for (__u32 stream = 1; stream < 128; stream += 2) {
		at = frame(to, at, HEADERS, 4, stream, stream % 7 ? "\x88\1\2" : "\x8e\1\2", 3);
		at = frame(to, at, DATA, 0, stream, body, rand_r(seed) % sizeof(body));
		at = frame(to, at, HEADERS, 5, stream, "\xbf", 1);
	}
	return at;
}

/* Is one of the frames cut in its header, or right behind it? */
static int cuts_header(const __u8 *bytes, __u32 len, __u32 place)
{
	for (__u32 at = 0; at < len;
	     at += 9 + (bytes[at] << 16 | bytes[at + 1] << 8 | bytes[at + 2]))
		if (place > at && place <= at + 9)
			return 1;
	return 0;
}

Test(http_peek, frames_are_found_however_they_are_cut_into_segments)
{
	static __u8 bytes[64 * 3100];
	unsigned seed = 20261123;

	for (int round = 0; round < 200; round++) {
		struct talk talk = h2_begin(0);
		__u32 len = long_answer(bytes, &seed), at = 0, most = round & 1 ? 10000 : 1448;

		for (__u32 stream = 1; stream < 128; stream += 2)
			say_frame(&talk, CLIENT, HEADERS, 5, stream, "\x82", 1);
		while (at < len) {
			__u32 n = 1 + rand_r(&seed) % most;

			if (n > len - at)
				n = len - at;
			while (cuts_header(bytes, len, at + n))
				n++;
			say_bytes(&talk, BACKEND, bytes + at, n);
			/* A segment comes twice now and then. */
			if (rand_r(&seed) % 8 == 0)
				segment(&talk, BACKEND, talk.seq[BACKEND] - n, bytes + at, n);
			at += n;
		}
		cr_assert_eq(talk.http.protocol, SHUNT_HTTP_2);
		cr_assert_eq(talk.codes[500], 9);
		cr_assert_eq(talk.codes[200], 55);
		cr_assert_eq(talk.responses, 64);
	}
}

Test(http_peek, what_cannot_be_followed_is_lost_and_nothing_is_invented)
{
	__u8 bytes[4096];
	__u32 len = 0;

	/* A header cut in two. */
	struct talk talk = h2_begin(0);

	say_frame(&talk, CLIENT, HEADERS, 5, 1, "\x82", 1);
	len = frame(bytes, 0, HEADERS, 4, 1, "\x88", 1);
	say_bytes(&talk, BACKEND, bytes, 5);
	say_bytes(&talk, BACKEND, bytes + 5, len - 5);
	cr_expect_eq(talk.http.protocol, SHUNT_HTTP_LOST);
	cr_expect_eq(talk.responses, 0);

	/* A segment missing. */
	talk = h2_begin(0);
	say_frame(&talk, CLIENT, HEADERS, 5, 1, "\x82", 1);
	talk.seq[BACKEND] += 100;
	say_frame(&talk, BACKEND, HEADERS, 4, 1, "\x88", 1);
	cr_expect_eq(talk.http.protocol, SHUNT_HTTP_LOST);
	cr_expect_eq(talk.responses, 0);

	/* More frames than are followed. */
	talk = h2_begin(0);
	len = 0;
	for (int i = 0; i < SHUNT_HTTP_MAX_FRAMES; i++)
		len = frame(bytes, len, WINDOW, 0, 0, "\0\0\0\1", 4);
	say_bytes(&talk, BACKEND, bytes, len);
	cr_expect_eq(talk.http.protocol, SHUNT_HTTP_2);
	len = frame(bytes, len, WINDOW, 0, 0, "\0\0\0\1", 4);
	say_bytes(&talk, BACKEND, bytes, len);
	cr_expect_eq(talk.http.protocol, SHUNT_HTTP_LOST);
}
