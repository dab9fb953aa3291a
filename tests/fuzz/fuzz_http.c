// SPDX-License-Identifier: Apache-2.0
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "shunt/http.h"

struct source {
	const uint8_t *payload;
	uint32_t len;
	unsigned told;
};

typedef struct source *shunt_http_src_t;

static int shunt_http_load(shunt_http_src_t src, __u32 offset, void *to, __u32 size)
{
	/* The walk asks for nothing that is not there. */
	if (!size || size > SHUNT_HTTP_PEEK || offset > src->len || size > src->len - offset)
		abort();
	memcpy(to, src->payload + offset, size);
	return 0;
}

static void shunt_http_told(shunt_http_src_t src, struct shunt_http *http,
			    const struct shunt_http_event *event)
{
	if (http->protocol != SHUNT_HTTP_2 || event->is_request == event->is_response ||
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
	struct shunt_http http = { 0 };
	uint64_t now_ns = 1;

	while (size > 3) {
		unsigned is_client = data[0] & 1, len = (data[1] << 8 | data[2]) % 2000;
		uint8_t head[SHUNT_HTTP_PEEK] = { 0 }, *payload;
		struct shunt_http_event event = { 0 };
		struct source source = { 0 };

		data += 3;
		size -= 3;
		if (len > size)
			len = size;
		if (!len)
			continue;
		payload = malloc(len);
		if (!payload)
			return 0;
		memcpy(payload, data, len);
		memcpy(head, payload, len < sizeof(head) ? len : sizeof(head));
		seq[is_client] += data[-3] & 2 ? -(data[-3] >> 2) : data[-3] & 4 ? 7 : 0;
		if (is_client)
			shunt_http_client(&http, seq[1], len, head, now_ns, &event);
		else
			shunt_http_backend(&http, seq[0], len, head, now_ns, &event);
		if (event.code > 999 || http.protocol >= SHUNT_N_HTTP_PROTOCOLS)
			abort();
		source = (struct source){ payload, len, 0 };
		shunt_http2_walk(&source, &http, is_client, seq[is_client], len, now_ns);
		if (source.told > SHUNT_HTTP_MAX_FRAMES)
			abort();
		free(payload);
		seq[is_client] += len;
		now_ns += 12345678;
		data += len;
		size -= len;
	}
	return 0;
}
