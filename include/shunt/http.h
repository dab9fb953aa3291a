/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_HTTP_H
#define SHUNT_HTTP_H

#include <linux/types.h>

#include "compat.h"

/*
 * What a plaintext HTTP connection is asked and answers, told from a few bytes of some of its
 * segments: HTTP/1.0 and 1.1 by turns, HTTP/2 with prior knowledge (gRPC too) by its frames.
 *
 * Looked at are the first bytes of a segment, or of a frame in it; a body never is, unless it is
 * taken for a request: in HTTP/1 the client's turn begins with its first payload behind a
 * response, and a request only with a method there. Pipelined requests are one turn, counted once.
 * What is said decides nothing but what is counted.
 *
 * Each direction's fields are written by its own packets alone, which TCP hands over one CPU at a
 * time but for rare reordering; shunt_http.begun by both, with locked instructions. Two turns of
 * HTTP/1 follow each other by cause. A torn or lost update costs a count, never more.
 */

enum shunt_http_protocol {
	SHUNT_HTTP_UNKNOWN, /* no payload yet */
	SHUNT_HTTP_1,
	SHUNT_HTTP_2,
	SHUNT_HTTP_OPAQUE,  /* TLS, or anything else; also what HTTP was upgraded to */
	SHUNT_HTTP_OFFERED, /* the backend has begun with HTTP/2's SETTINGS, as gRPC servers do */
	SHUNT_HTTP_LOST,    /* HTTP/2 whose frames are not where they were expected */
	SHUNT_HTTP_ENDED,   /* a request was refused: nothing of it goes on */
	SHUNT_N_HTTP_PROTOCOLS
};

enum shunt_http_turn {
	SHUNT_HTTP_NOBODY,   /* a request may come */
	SHUNT_HTTP_BACKENDS, /* one has come */
};

/* What is known of a connection. All zero: nothing. */
struct shunt_http {
	__u32 life;	   /* SHUNT_LIFE_GEN of the flow that it is about; another's is stale */
	__u8 protocol;	   /* enum shunt_http_protocol */
	__u8 turn;	   /* HTTP/1: enum shunt_http_turn */
	__u16 code;	   /* ENDED: of the answer that the client gets; 0: a RST */
	__u32 client_next; /* sequence number behind the client's payload so far, host order */
	__u32 backend_next;
	__u32 client_frame; /* HTTP/2: where the next frame begins */
	__u32 backend_frame;
	__u32 newest_stream; /* HTTP/2: of the client's HEADERS */
	__u32 timed_stream;  /* HTTP/2: whose time is taken, one at a time; 0: none */
	__u64 request_ns;    /* HTTP/1: of the request's last segment; HTTP/2: of timed_stream */
	__u64 begun;	     /* HTTP/2: bit stream / 2 % 64: its response has begun */
	__u32 refused_seq;   /* ENDED: where the refused request began, */
	__u32 answer_seq;    /* where its answer does, of the backend's numbers, */
	__u32 retry_seconds; /* and after which time it says to come back */
	/*
	 * HTTP/1: a request is in flight, and counted in struct shunt_active: 1, and the way of
	 * its client in shunt_client_active + 1, if it has one. Who turns it to 0 gives back. Last,
	 * for the rest is cleared for another flow while it may still be given back.
	 */
	__u32 in_flight;
};
_Static_assert(sizeof(struct shunt_http) == 64, "one cache line");

/* What a segment, or a frame of it, has told. All zero: nothing. */
struct shunt_http_event {
	__u8 is_request;
	__u8 is_response;
	__u8 has_latency;
	__u8 is_opaque;	  /* the backend's first answer, and it is no HTTP */
	__u32 code;	  /* of the response; 0: not to be told */
	__u32 latency_us; /* request's last segment to response's first, at most an hour */
};

#define SHUNT_HTTP_PEEK	       16 /* bytes of payload that are looked at; missing ones are 0 */
#define SHUNT_HTTP2_PREFACE    24
#define SHUNT_HTTP2_FRAME      9
#define SHUNT_HTTP2_HEADERS    1
#define SHUNT_HTTP2_SETTINGS   4
#define SHUNT_HTTP2_PADDED     0x08
#define SHUNT_HTTP2_PRIORITY   0x20
#define SHUNT_HTTP_MAX_LATENCY 3600000000u /* us */

/* ---- HTTP/1 ------------------------------------------------------------------------------ */

/* A method and a space: 3 to 15 capital letters, so that a word of a body seldom is one. */
static SHUNT_INLINE int shunt_http1_is_request(const __u8 head[SHUNT_HTTP_PEEK])
{
#pragma GCC unroll 16
	for (int i = 0; i < SHUNT_HTTP_PEEK; i++) {
		if (head[i] == ' ')
			return i >= 3;
		if (head[i] < 'A' || head[i] > 'Z')
			return 0;
	}
	return 0;
}

static SHUNT_INLINE int shunt_http_is_digit(__u8 c)
{
	return c >= '0' && c <= '9';
}

/* The code of a status line, RFC 9112 section 4; 0 if it is none. */
static SHUNT_INLINE __u32 shunt_http1_status(const __u8 head[SHUNT_HTTP_PEEK])
{
	if (head[0] != 'H' || head[1] != 'T' || head[2] != 'T' || head[3] != 'P' ||
	    head[4] != '/' || head[5] != '1' || head[6] != '.' || !shunt_http_is_digit(head[7]) ||
	    head[8] != ' ')
		return 0;
	/* 100 to 999: the reason behind it may be missing, and its space. */
	if (head[9] < '1' || head[9] > '9' || !shunt_http_is_digit(head[10]) ||
	    !shunt_http_is_digit(head[11]) || shunt_http_is_digit(head[12]))
		return 0;
	return (head[9] - '0') * 100 + (head[10] - '0') * 10 + (head[11] - '0');
}

/* The connection preface, RFC 9113 section 3.4, as far as it is looked at. */
static SHUNT_INLINE int shunt_http2_is_preface(const __u8 head[SHUNT_HTTP_PEEK])
{
	return head[0] == 'P' && head[1] == 'R' && head[2] == 'I' && head[3] == ' ' &&
	       head[4] == '*' && head[5] == ' ' && head[6] == 'H' && head[7] == 'T' &&
	       head[8] == 'T' && head[9] == 'P' && head[10] == '/' && head[11] == '2' &&
	       head[12] == '.' && head[13] == '0' && head[14] == '\r' && head[15] == '\n';
}

/* SETTINGS of the connection, RFC 9113 section 6.5, which a backend's frames begin with. */
static SHUNT_INLINE int shunt_http2_is_settings(const __u8 head[SHUNT_HTTP_PEEK])
{
	return !head[0] && !head[1] && head[2] % 6 == 0 && head[3] == SHUNT_HTTP2_SETTINGS &&
	       !head[4] && !head[5] && !head[6] && !head[7] && !head[8];
}

static SHUNT_INLINE void shunt_http_time(struct shunt_http_event *event, __u64 since_ns,
					 __u64 now_ns)
{
	__u64 us = now_ns > since_ns ? (now_ns - since_ns) / 1000 : 0;

	event->has_latency = 1;
	event->latency_us = us < SHUNT_HTTP_MAX_LATENCY ? us : SHUNT_HTTP_MAX_LATENCY;
}

/* Is any of the segment new, behind what was there before? Then it counts as seen. */
static SHUNT_INLINE int shunt_http_is_new(__u32 *next, __u32 seq, __u32 len, int is_first)
{
	__u32 end = seq + len;

	if (!is_first && (__s32)(end - *next) <= 0)
		return 0;
	*next = end;
	return 1;
}

/* The client's first payload tells what it speaks. */
static SHUNT_INLINE void shunt_http_recognize(struct shunt_http *http, __u32 seq,
					      const __u8 head[SHUNT_HTTP_PEEK])
{
	if (shunt_http2_is_preface(head)) {
		http->protocol = SHUNT_HTTP_2;
		http->client_frame = seq + SHUNT_HTTP2_PREFACE;
	} else {
		http->protocol = shunt_http1_is_request(head) ? SHUNT_HTTP_1 : SHUNT_HTTP_OPAQUE;
	}
}

/* A segment with payload; of a super-packet, all of it. */
struct shunt_http_segment {
	__u32 seq; /* of its first byte, host order */
	__u32 len; /* of its payload, above 0 */
	__u32 is_client;
	__u32 is_pushed; /* TCP's PSH: the last one of a write, nearly always */
	__u64 now_ns;
};

/* Where in the segment the next frame begins; -1: not in it; -2: it cannot be followed. */
static SHUNT_INLINE int shunt_http2_next(const struct shunt_http *http,
					 const struct shunt_http_segment *segment)
{
	__u32 next = SHUNT_PICK(segment->is_client, http->backend_frame, http->client_frame);
	__u32 offset = next - segment->seq;

	if (http->protocol != SHUNT_HTTP_2 && http->protocol != SHUNT_HTTP_OFFERED)
		return -1;
	/* Behind this segment; also if it is sent again. */
	if ((__s32)offset >= (__s32)segment->len)
		return -1;
	return (__s32)offset >= 0 && offset + SHUNT_HTTP2_FRAME <= segment->len ? (int)offset : -2;
}

/* What must be known of a segment beyond its numbers. */
#define SHUNT_HTTP_NEEDS_HEAD 1
#define SHUNT_HTTP_NEEDS_TIME 2

/**
 * shunt_http_needs - what will be looked at of a segment?
 *
 * Return: SHUNT_HTTP_NEEDS_HEAD and _TIME: head or now_ns may be left out where not asked for.
 */
static SHUNT_INLINE int shunt_http_needs(const struct shunt_http *http,
					 const struct shunt_http_segment *segment)
{
	switch (http->protocol) {
	case SHUNT_HTTP_UNKNOWN:
	case SHUNT_HTTP_OFFERED:
		return SHUNT_HTTP_NEEDS_HEAD | SHUNT_HTTP_NEEDS_TIME;
	case SHUNT_HTTP_1:
		if ((http->turn == SHUNT_HTTP_NOBODY) == segment->is_client)
			return SHUNT_HTTP_NEEDS_HEAD | SHUNT_HTTP_NEEDS_TIME;
		return segment->is_client && segment->is_pushed ? SHUNT_HTTP_NEEDS_TIME : 0;
	case SHUNT_HTTP_2:
		/* A body's segments need nothing. Where the backend begins is not known yet. */
		return (!segment->is_client && !http->backend_next) ||
				       shunt_http2_next(http, segment) >= 0
			       ? SHUNT_HTTP_NEEDS_TIME
			       : 0;
	default:
		return 0;
	}
}

/**
 * shunt_http_client - a segment of the client
 * @head:  its first bytes, missing ones 0
 * @event: zeroed
 *
 * HTTP/2's frames are for http_walk.h.
 */
static SHUNT_INLINE void shunt_http_client(struct shunt_http *http,
					   const struct shunt_http_segment *segment,
					   const __u8 head[SHUNT_HTTP_PEEK],
					   struct shunt_http_event *event)
{
	int is_first = http->protocol == SHUNT_HTTP_UNKNOWN || http->protocol == SHUNT_HTTP_OFFERED;

	if (!shunt_http_is_new(&http->client_next, segment->seq, segment->len, is_first))
		return;
	if (is_first)
		shunt_http_recognize(http, segment->seq, head);
	if (http->protocol != SHUNT_HTTP_1)
		return;
	if (http->turn == SHUNT_HTTP_NOBODY) {
		if (!shunt_http1_is_request(head))
			return;
		event->is_request = 1;
		http->turn = SHUNT_HTTP_BACKENDS;
	} else if (!segment->is_pushed) {
		return;
	}
	http->request_ns = segment->now_ns;
}

/**
 * shunt_http_backend - a segment of the backend
 *
 * Parameters as above. Interim responses (100 to 199) are none; 101 ends HTTP. Of what is no HTTP
 * the first one alone tells something.
 */
static SHUNT_INLINE void shunt_http_backend(struct shunt_http *http,
					    const struct shunt_http_segment *segment,
					    const __u8 head[SHUNT_HTTP_PEEK],
					    struct shunt_http_event *event)
{
	int is_first = !http->backend_next;
	__u32 code;

	if (!shunt_http_is_new(&http->backend_next, segment->seq, segment->len, is_first))
		return;
	if (is_first)
		http->backend_frame = segment->seq;
	/* Who speaks before it is asked speaks no HTTP/1. */
	if (http->protocol == SHUNT_HTTP_UNKNOWN)
		http->protocol =
			shunt_http2_is_settings(head) ? SHUNT_HTTP_OFFERED : SHUNT_HTTP_OPAQUE;
	event->is_opaque = is_first && http->protocol == SHUNT_HTTP_OPAQUE;
	if (http->protocol != SHUNT_HTTP_1 || http->turn != SHUNT_HTTP_BACKENDS)
		return;
	code = shunt_http1_status(head);
	if (code == 101)
		http->protocol = SHUNT_HTTP_OPAQUE;
	else if (code && code < 200)
		return;
	http->turn = SHUNT_HTTP_NOBODY;
	event->is_response = 1;
	event->code = code;
	shunt_http_time(event, http->request_ns, segment->now_ns);
}

/* ---- HTTP/2 ------------------------------------------------------------------------------ */

/* Frame header, RFC 9113 section 4.1. */
static SHUNT_INLINE __u32 shunt_http2_length(const __u8 frame[SHUNT_HTTP2_FRAME])
{
	return (__u32)frame[0] << 16 | frame[1] << 8 | frame[2];
}

static SHUNT_INLINE __u32 shunt_http2_stream(const __u8 frame[SHUNT_HTTP2_FRAME])
{
	return ((__u32)frame[5] << 24 | frame[6] << 16 | frame[7] << 8 | frame[8]) & 0x7fffffff;
}

static SHUNT_INLINE __u64 shunt_http2_bit(__u32 stream)
{
	return 1ull << (stream / 2 & 63);
}

/**
 * shunt_http2_client - a frame of the client
 * @frame: its header
 *
 * HEADERS with a higher stream than before are a request, and no trailers.
 */
static SHUNT_INLINE void shunt_http2_client(struct shunt_http *http,
					    const __u8 frame[SHUNT_HTTP2_FRAME], __u64 now_ns,
					    struct shunt_http_event *event)
{
	__u32 stream = shunt_http2_stream(frame);

	if (frame[3] != SHUNT_HTTP2_HEADERS || stream <= http->newest_stream)
		return;
	http->newest_stream = stream;
	__sync_fetch_and_and(&http->begun, ~shunt_http2_bit(stream));
	event->is_request = 1;
	/* One that was reset has no response: the next ones are timed. */
	if (http->timed_stream && stream - http->timed_stream < 128)
		return;
	http->request_ns = now_ns;
	http->timed_stream = stream;
}

/* Where the header block begins behind a HEADERS frame's header: padding and priority first. */
static SHUNT_INLINE __u32 shunt_http2_block(const __u8 frame[SHUNT_HTTP2_FRAME])
{
	return (frame[4] & SHUNT_HTTP2_PADDED ? 1 : 0) + (frame[4] & SHUNT_HTTP2_PRIORITY ? 5 : 0);
}

/* The next digit of a Huffman string (RFC 7541 appendix B) in the top of @bits; above 9: none. */
static SHUNT_INLINE __u32 shunt_hpack_digit(__u32 *bits)
{
	__u32 digit = *bits >> 27;

	if (digit <= 2) {
		*bits <<= 5;
		return digit;
	}
	digit = (*bits >> 26) - 0x19 + 3;
	*bits <<= 6;
	return digit;
}

/* The three digits of a header value: as they are, or Huffman coded in 2 or 3 bytes. */
static SHUNT_INLINE __u32 shunt_hpack_code(__u8 length, __u8 a, __u8 b, __u8 c)
{
	__u32 bits = (__u32)a << 24 | b << 16 | (length == 0x83 ? c << 8 : 0xff00) | 0xff;
	__u32 first, second, third;

	if (length == 3) {
		first = a - '0';
		second = b - '0';
		third = c - '0';
	} else if (length == 0x82 || length == 0x83) {
		first = shunt_hpack_digit(&bits);
		second = shunt_hpack_digit(&bits);
		third = shunt_hpack_digit(&bits);
	} else {
		return 0;
	}
	if (first < 1 || first > 9 || second > 9 || third > 9)
		return 0;
	return first * 100 + second * 10 + third;
}

/*
 * The status that a header block begins with, RFC 7541 section 6: of the static table, or spelled
 * out behind that name. 0 if it is not to be told, as when it is in the dynamic table.
 */
static SHUNT_INLINE __u32 shunt_hpack_status(__u8 first, __u8 length, __u8 a, __u8 b, __u8 c)
{
	__u32 name = first & 0x40 ? first & 0x3f : first & 0x0f;

	switch (first) {
	case 0x88:
		return 200;
	case 0x89:
		return 204;
	case 0x8a:
		return 206;
	case 0x8b:
		return 304;
	case 0x8c:
		return 400;
	case 0x8d:
		return 404;
	case 0x8e:
		return 500;
	}
	/* Literals: with indexing 01, without 0000, never 0001; :status has the names 8 to 14. */
	if (first & 0x80 || (!(first & 0x40) && first & 0x20) || name < 8 || name > 14)
		return 0;
	return shunt_hpack_code(length, a, b, c);
}

/* Behind a change of the dynamic table's size, which a block may begin with (one, up to 2^21). */
static SHUNT_INLINE __u32 shunt_hpack_block(const __u8 b[SHUNT_HTTP_PEEK])
{
	if ((b[0] & 0xe0) != 0x20)
		return shunt_hpack_status(b[0], b[1], b[2], b[3], b[4]);
	if (b[0] != 0x3f)
		return shunt_hpack_status(b[1], b[2], b[3], b[4], b[5]);
	if (!(b[1] & 0x80))
		return shunt_hpack_status(b[2], b[3], b[4], b[5], b[6]);
	if (!(b[2] & 0x80))
		return shunt_hpack_status(b[3], b[4], b[5], b[6], b[7]);
	return b[3] & 0x80 ? 0 : shunt_hpack_status(b[4], b[5], b[6], b[7], b[8]);
}

/**
 * shunt_http2_backend - a frame of the backend
 * @frame: its header
 * @block: of a HEADERS frame the first bytes behind shunt_http2_block(); else not looked at
 *
 * The first HEADERS of a stream are its response (interim ones too, where their code can be told),
 * the second ones its trailers: that is remembered of the last 64 streams. The time of one stream
 * after another is taken, not of each.
 */
static SHUNT_INLINE void shunt_http2_backend(struct shunt_http *http,
					     const __u8 frame[SHUNT_HTTP2_FRAME],
					     const __u8 block[SHUNT_HTTP_PEEK], __u64 now_ns,
					     struct shunt_http_event *event)
{
	__u32 stream = shunt_http2_stream(frame), code;

	if (frame[3] != SHUNT_HTTP2_HEADERS || stream > http->newest_stream || !(stream & 1))
		return;
	code = shunt_hpack_block(block);
	if (code && code < 200)
		return;
	if (__sync_fetch_and_or(&http->begun, shunt_http2_bit(stream)) & shunt_http2_bit(stream))
		return;
	event->is_response = 1;
	event->code = code;
	if (stream != http->timed_stream)
		return;
	shunt_http_time(event, http->request_ns, now_ns);
	http->timed_stream = 0;
}

#endif
