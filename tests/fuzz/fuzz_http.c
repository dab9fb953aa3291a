// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/http.h"

struct source {
	struct shunt_http http;
	struct shunt_http_segment segment;
	const uint8_t *payload;
	unsigned told;
};

typedef struct source *shunt_http_src_t;

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
	/* The walk asks for nothing that is not there. */
	if (!size || size > SHUNT_HTTP_PEEK || offset > src->segment.len ||
	    size > src->segment.len - offset)
		abort();
	memcpy(to, src->payload + offset, size);
	return 0;
}

static void shunt_http_told(shunt_http_src_t src, const struct shunt_http_event *event)
{
	if (src->http.protocol != SHUNT_HTTP_2 || event->is_request == event->is_response ||
	    event->code > 999 || event->latency_us > SHUNT_HTTP_MAX_LATENCY)
		abort();
	src->told++;
}

#include "shunt/http_walk.h"

/*
 * A dialogue of segments: a byte says whose and whether it is sent again or after a gap, two bytes
 * how long; then the payload, in a block of memory of its own so that reading behind it is seen.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint32_t seq[2] = { -1000u, 1000 };
	struct source source = { 0 };

	while (size > 3) {
		unsigned how = data[0], is_client = how & 1, len = (data[1] << 8 | data[2]) % 2000;
		struct shunt_http_event event = { 0 };
		uint8_t head[SHUNT_HTTP_PEEK] = { 0 }, *payload;

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		payload = len ? malloc(len) : NULL;
		if (!payload)
			continue;
		memcpy(payload, data, len);
		memcpy(head, payload, len < sizeof(head) ? len : sizeof(head));
		seq[is_client] += how & 2 ? -(how >> 2) : how & 4 ? 7 : 0;
		source.payload = payload;
		source.segment =
			(struct shunt_http_segment){ seq[is_client], len, is_client, how >> 7,
						     source.segment.now_ns + 12345678 };
		source.told = 0;
		if (is_client)
			shunt_http_client(&source.http, &source.segment, head, &event);
		else
			shunt_http_backend(&source.http, &source.segment, head, &event);
		shunt_http2_walk(&source);
		if (event.code > 999 || source.http.protocol >= SHUNT_N_HTTP_PROTOCOLS ||
		    source.told > SHUNT_HTTP_MAX_FRAMES)
			abort();
		free(payload);
		seq[is_client] += len;
		data += len;
		size -= len;
	}
	return 0;
}
