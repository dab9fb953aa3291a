/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_HTTP_WALK_H
#define SHUNT_HTTP_WALK_H

#include "http.h"

/*
 * From frame to frame of HTTP/2, through the segments of one direction. Where the next frame
 * begins is remembered as a sequence number, so segments without one cost a comparison. Of a
 * segment, or super-packet, SHUNT_HTTP_MAX_FRAMES are followed, in two loops: the verifier walks
 * through each by itself.
 *
 * The includer defines shunt_http_src_t, a scalar or context for BPF, and before the include
 *	struct shunt_http *shunt_http_of(shunt_http_src_t src);
 *	const struct shunt_http_segment *shunt_http_segment(shunt_http_src_t src);
 *		both may be NULL for the verifier
 *	int shunt_http_load(shunt_http_src_t src, __u32 offset, void *to, __u32 size);
 *		copies payload of the segment, of which that much is there: 1 to SHUNT_HTTP_PEEK
 *		bytes; 0 or an error
 *	void shunt_http_told(shunt_http_src_t src, const struct shunt_http_event *event);
 */
#define SHUNT_HTTP_STRIDE     8
#define SHUNT_HTTP_MAX_FRAMES (SHUNT_HTTP_STRIDE * SHUNT_HTTP_STRIDE)

/* The block's first bytes, as many as the frame and the segment have of it. */
static SHUNT_INLINE void shunt_http2_peek(shunt_http_src_t src, __u32 offset, __u32 len,
					  const __u8 frame[SHUNT_HTTP2_FRAME],
					  __u8 block[SHUNT_HTTP_PEEK])
{
	__u32 from = offset + SHUNT_HTTP2_FRAME + shunt_http2_block(frame), n = len - from;

	if (frame[3] != SHUNT_HTTP2_HEADERS || from >= len)
		return;
	shunt_http_load(src, from, block, n < SHUNT_HTTP_PEEK ? n : SHUNT_HTTP_PEEK);
}

/* One frame, whose header begins at @offset of the segment. Return: 0, or an error. */
SHUNT_OUTLINE int shunt_http2_frame(shunt_http_src_t src, __u32 offset)
{
	const struct shunt_http_segment *segment = shunt_http_segment(src);
	__u8 frame[SHUNT_HTTP2_FRAME] = { 0 }, block[SHUNT_HTTP_PEEK] = { 0 };
	struct shunt_http *http = shunt_http_of(src);
	struct shunt_http_event event = { 0 };
	__u32 *next;

	if (!http || !segment || shunt_http_load(src, offset, frame, sizeof(frame)))
		return -1;
	if (segment->is_client) {
		next = &http->client_frame;
		SHUNT_OPAQUE_CASE(next, 0);
		shunt_http2_client(http, frame, segment->now_ns, &event);
	} else {
		next = &http->backend_frame;
		SHUNT_OPAQUE_CASE(next, 1);
		shunt_http2_peek(src, offset, segment->len, frame, block);
		shunt_http2_backend(http, frame, block, segment->now_ns, &event);
	}
	*next += SHUNT_HTTP2_FRAME + shunt_http2_length(frame);
	if (event.is_request || event.is_response)
		shunt_http_told(src, &event);
	return 0;
}

/* Up to SHUNT_HTTP_STRIDE frames. Return: 1: there are more; 0: there are not; -2. */
SHUNT_OUTLINE int shunt_http2_stride(shunt_http_src_t src)
{
	const struct shunt_http_segment *segment = shunt_http_segment(src);
	const struct shunt_http *http = shunt_http_of(src);
	int offset;

	if (!http || !segment)
		return -2;
#pragma GCC unroll 8
	for (int i = 0; i < SHUNT_HTTP_STRIDE; i++) {
		offset = shunt_http2_next(http, segment);
		if (offset < 0)
			return offset == -1 ? 0 : -2;
		if (shunt_http2_frame(src, offset))
			return -2;
	}
	return shunt_http2_next(http, segment) == -1 ? 0 : 1;
}

/**
 * shunt_http2_walk - the frames that begin in a segment
 *
 * After shunt_http_client() or shunt_http_backend() has seen the segment. A header that is cut in
 * two, a missing segment or too many frames: what follows of this connection is not told.
 */
SHUNT_OUTLINE int shunt_http2_walk(shunt_http_src_t src)
{
	struct shunt_http *http = shunt_http_of(src);
	int more = 1;

	if (!http)
		return 0;
		/* Written out: clang would turn a loop that does nothing more into one of unknown
		 * length. */
#define SHUNT_HTTP_STEP(n)                                                                         \
	if (more > 0)                                                                              \
		more = shunt_http2_stride(src);
	SHUNT_REPEAT_8(SHUNT_HTTP_STEP)
#undef SHUNT_HTTP_STEP
	if (more)
		http->protocol = SHUNT_HTTP_LOST;
	return 0;
}

#endif
