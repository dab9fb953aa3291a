/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_HTTP_WALK_H
#define SHUNT_HTTP_WALK_H

#include "http.h"

/*
 * From frame to frame of HTTP/2, through the segments of one direction. Where the next frame
 * begins is remembered as a sequence number, so segments without one cost a comparison.
 *
 * The includer defines shunt_http_src_t and, before the include,
 *	int shunt_http_load(shunt_http_src_t src, __u32 offset, void *to, __u32 size);
 *		copies payload of the segment, of which that much is there; 0 or an error
 *	void shunt_http_told(shunt_http_src_t src, struct shunt_http *http,
 *			     const struct shunt_http_event *event);
 */
#define SHUNT_HTTP_MAX_FRAMES 64 /* of a segment, or super-packet; more are not followed */

/* The block's first bytes, as many as the frame and the segment have of it. */
static SHUNT_INLINE void shunt_http2_peek(shunt_http_src_t src, __u32 offset, __u32 len,
					  const __u8 frame[SHUNT_HTTP2_FRAME],
					  __u8 block[SHUNT_HTTP_PEEK])
{
	__u32 from = offset + SHUNT_HTTP2_FRAME + shunt_http2_block(frame), n = len - from;

	__builtin_memset(block, 0, SHUNT_HTTP_PEEK);
	if (frame[3] == SHUNT_HTTP2_HEADERS && from < len)
		shunt_http_load(src, from, block, n < SHUNT_HTTP_PEEK ? n : SHUNT_HTTP_PEEK);
}

/* One frame, whose header begins at @offset of the segment. Return: 0, or an error. */
SHUNT_OUTLINE int shunt_http2_frame(shunt_http_src_t src, struct shunt_http *http, __u32 is_client,
				    __u32 offset, __u32 len, __u64 now_ns)
{
	__u8 frame[SHUNT_HTTP2_FRAME], block[SHUNT_HTTP_PEEK];
	struct shunt_http_event event = { 0 };
	__u32 *next;

	if (!http || shunt_http_load(src, offset, frame, sizeof(frame)))
		return -1;
	next = is_client ? &http->client_frame : &http->backend_frame;
	*next += SHUNT_HTTP2_FRAME + shunt_http2_length(frame);
	if (is_client) {
		shunt_http2_client(http, frame, now_ns, &event);
	} else {
		shunt_http2_peek(src, offset, len, frame, block);
		shunt_http2_backend(http, frame, block, now_ns, &event);
	}
	if (event.is_request || event.is_response)
		shunt_http_told(src, http, &event);
	return 0;
}

/**
 * shunt_http2_walk - the frames that begin in a segment
 * @seq: of its first byte of payload, host order; @len: of its payload
 *
 * After shunt_http_client() or shunt_http_backend() has seen the segment. A header that is cut in
 * two, a missing segment or too many frames: what follows of this connection is not told.
 */
static SHUNT_INLINE void shunt_http2_walk(shunt_http_src_t src, struct shunt_http *http,
					  __u32 is_client, __u32 seq, __u32 len, __u64 now_ns)
{
	for (int i = 0; i <= SHUNT_HTTP_MAX_FRAMES; i++) {
		__u32 next = is_client ? http->client_frame : http->backend_frame;
		__u32 offset = next - seq;

		if (http->protocol != SHUNT_HTTP_2 && http->protocol != SHUNT_HTTP_OFFERED)
			return;
		/* Behind this segment; a retransmitted one is before it. */
		if ((__s32)offset >= (__s32)len)
			return;
		if ((__s32)offset < 0 || offset + SHUNT_HTTP2_FRAME > len ||
		    i == SHUNT_HTTP_MAX_FRAMES ||
		    shunt_http2_frame(src, http, is_client, offset, len, now_ns)) {
			http->protocol = SHUNT_HTTP_LOST;
			return;
		}
	}
}

#endif
