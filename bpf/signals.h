/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_SIGNALS_H
#define SHUNT_BPF_SIGNALS_H

#include "guard.h"
#include "in_flight.h"
#include "maps.h"
#include "parse.h"
#include "requests.h"
#include "scratch.h"

/*
 * What flows of plaintext HTTP services are asked and answer, by a look at the first bytes of some
 * of their segments (shunt/http.h). Behind the rewriting, out of line: other flows pay for one
 * bit among their flags.
 *
 * Payload is read by the kernel's helpers wherever it lies, never by packet pointers. What cannot
 * be read is not counted, and changes nothing for the packet. Whether a request may go on is asked
 * here, for here it is known (requests.h).
 */

/*
 * In what the stages return, above the reason: the packet is of such a flow, whose index stands in
 * the upper half instead of a variant.
 */
#define SIGNALS_PEEK	0x200
#define SIGNALS_BACKEND 0x400 /* and it is an answer */

/* SIGNALS_PEEK or nothing, by a flow's flags; without a branch. */
static __always_inline __u32 signals_wanted(__u32 flow_flags)
{
	_Static_assert(SHUNT_FLOW_HTTP << 3 == SIGNALS_PEEK, "one bit is shifted to the other");
	return (flow_flags & SHUNT_FLOW_HTTP) << 3;
}

/* A stage's result for a packet of the flow @ref with @variant. */
static __always_inline __u64 signals_result(__u32 result, __u64 ref, __u32 variant)
{
	__u32 upper = result & SIGNALS_PEEK ? SHUNT_FT_INDEX(ref) : variant;

	return (__u64)upper << 32 | result;
}

#ifdef HOOK_ANY_OFFSET

typedef hook_ctx *shunt_http_src_t;

static __always_inline struct shunt_http *shunt_http_of(shunt_http_src_t src)
{
	const struct scratch *s = scratch_get();
	__u32 index = s ? s->http_flow : 0;

	(void)src;
	return bpf_map_lookup_elem(&shunt_http, &index);
}

static __always_inline const struct shunt_http_segment *shunt_http_segment(shunt_http_src_t src)
{
	struct scratch *s = scratch_get();

	(void)src;
	return s ? &s->segment : NULL;
}

/* Constant sizes only: kernel 6.1 forgets that a variable one was proven not to be zero. */
static __always_inline int shunt_http_load(shunt_http_src_t src, __u32 offset, void *to, __u32 size)
{
	const struct scratch *s = scratch_get();

	if (!s)
		return -1;
#define SIGNALS_LOAD(n)                                                                            \
	if (size == (n) + 1) {                                                                     \
		__u32 bytes = (n) + 1;                                                             \
                                                                                                   \
		SHUNT_OPAQUE_CASE(bytes, n);                                                       \
		return hook_load(src, s->payload_off + offset, to, bytes);                         \
	}
	SHUNT_REPEAT_16(SIGNALS_LOAD)
#undef SIGNALS_LOAD
	return -1;
}

static __always_inline void signals_time(__u32 variant, __u32 us, struct shunt_counters *c)
{
	__u32 bucket = variant * SHUNT_TIME_BUCKETS + shunt_time_bucket(us);
	struct shunt_response_time *time = bpf_map_lookup_elem(&shunt_response_times, &bucket);

	c->response_us += us;
	c->responses_timed++;
	if (time)
		shunt_fetch_add(&time->responses, 1);
}

/* One piece of code for each, for a variable offset is refused without CAP_PERFMON. */
static __always_inline void signals_class(struct shunt_counters *c, __u32 class)
{
	__u64 *count;

#define SIGNALS_CLASS(n)                                                                           \
	if (class == (n)) {                                                                        \
		count = &c->responses[n];                                                          \
		SHUNT_OPAQUE_CASE(count, n);                                                       \
		++*count;                                                                          \
		return;                                                                            \
	}
	SIGNALS_CLASS(2)
	SIGNALS_CLASS(5)
	SIGNALS_CLASS(4)
	SIGNALS_CLASS(3)
	SIGNALS_CLASS(1)
#undef SIGNALS_CLASS
	c->responses[0]++;
}

/* Counts a response. Return: nothing that matters. */
__attribute__((noinline)) int signals_count(__u32 code, __u32 has_latency, __u32 latency_us)
{
	const struct scratch *s = scratch_get();
	const struct shunt_flow *flow = s ? shunt_ft_flow(FT, s->http_flow) : NULL;
	__u32 backend = flow ? flow->backend : 0;
	struct shunt_counters *c = bpf_map_lookup_elem(&shunt_backend_counters, &backend);

	if (!flow || !c)
		return 0;
	signals_class(c, code / 100);
	if (has_latency)
		signals_time(flow->variant, latency_us, c);
	guard_judge(flow->variant, backend, code, has_latency ? GUARD_TIMED(latency_us) : 0);
	return 0;
}

/* Counts requests that go on. */
static __always_inline void signals_count_requests(__u32 index, __u32 n)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);
	__u32 backend = flow ? flow->backend : 0;
	struct shunt_counters *c = bpf_map_lookup_elem(&shunt_backend_counters, &backend);

	if (flow && c)
		c->requests += n;
}

static __always_inline void shunt_http_told(shunt_http_src_t src,
					    const struct shunt_http_event *event)
{
	struct scratch *s = scratch_get();

	(void)src;
	if (event->is_request && s)
		s->begun++;
	if (event->is_response)
		signals_count(event->code, event->has_latency, event->latency_us);
}

/* TLS, or whatever it is, has been answered: to those who judge, a connection. */
static __always_inline void signals_opaque(__u32 index)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);

	if (flow && flow->flags & SHUNT_FLOW_JUDGED)
		guard_response(flow->variant, flow->backend, SHUNT_CONNECTED, 0);
}

#include "shunt/http_walk.h"

/* Where the TCP header at @tcp leaves its payload. @l4_bytes: of the packet from there on. */
static __always_inline int signals_payload(hook_ctx *ctx, const struct tcphdr *tcp, __u32 l4_off,
					   __u32 l4_bytes, struct scratch *s)
{
	__u32 header;

	if ((void *)(tcp + 1) > hook_end(ctx))
		return 0;
	header = tcp->doff * 4;
	if (header < sizeof(*tcp) || header > l4_bytes)
		return 0;
	s->segment.seq = bpf_ntohl(tcp->seq);
	s->segment.len = l4_bytes - header;
	s->segment.is_pushed = tcp->psh;
	s->tcp_off = l4_off;
	s->payload_off = l4_off + header;
	return header != l4_bytes;
}

/* The segment, of a packet of the plain form. Return: 1, or 0: it has no payload. */
static __always_inline int signals_segment(hook_ctx *ctx, struct scratch *s)
{
	void *l3 = hook_data(ctx) + sizeof(struct ethhdr);
	const struct iphdr *ip4 = l3;
	const struct ipv6hdr *ip6 = l3;

	switch (parse_family(ctx)) {
	case SHUNT_V4:
		if ((void *)(ip4 + 1) > hook_end(ctx))
			return 0;
		return signals_payload(ctx, (void *)(ip4 + 1), sizeof(struct ethhdr) + sizeof(*ip4),
				       bpf_ntohs(ip4->tot_len) - sizeof(*ip4), s);
	case SHUNT_V6:
		if ((void *)(ip6 + 1) > hook_end(ctx))
			return 0;
		return signals_payload(ctx, (void *)(ip6 + 1), sizeof(struct ethhdr) + sizeof(*ip6),
				       bpf_ntohs(ip6->payload_len), s);
	default:
		return 0;
	}
}

/* What is known of the connection; of a flow that has the record now, nothing. */
static __always_inline struct shunt_http *signals_http(hook_ctx *ctx, __u32 index)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);
	struct shunt_http *http = shunt_http_of(ctx);

	if (!flow || !http)
		return NULL;
	if (http->life != SHUNT_LIFE_GEN(flow->life)) {
		/* Its last member is given back by whoever counted it. */
		__builtin_memset(http, 0, __builtin_offsetof(struct shunt_http, in_flight));
		http->life = SHUNT_LIFE_GEN(flow->life);
	}
	return http;
}

/**
 * signals_peek - look at a packet of an HTTP flow, rewritten or not
 * @index: of the flow
 *
 * Return: enum requests_said; if it is not to go on, the scratch holds what canned.h wants.
 */
__attribute__((noinline)) int signals_peek(hook_ctx *ctx, __u32 index, __u32 is_client)
{
	struct shunt_http_event event = {};
	struct scratch *s = scratch_get();
	__u8 head[SHUNT_HTTP_PEEK] = {};
	struct shunt_http *http;
	int needs, over;

	if (!s)
		return 0;
	s->tcp_off = 0;
	if (!signals_segment(ctx, s))
		return s->tcp_off ? requests_is_over(index) : 0;
	s->http_flow = index;
	s->begun = 0;
	s->segment.is_client = is_client;
	http = signals_http(ctx, index);
	if (!http)
		return 0;
	if (http->protocol == SHUNT_HTTP_ENDED)
		return REQUESTS_BEHIND;
	/* Nothing is told of it any more. */
	if (http->protocol == SHUNT_HTTP_LOST ||
	    (http->protocol == SHUNT_HTTP_OPAQUE && (is_client || http->backend_next)))
		return 0;
	needs = shunt_http_needs(http, &s->segment);
	if (needs & SHUNT_HTTP_NEEDS_TIME)
		s->segment.now_ns = bpf_ktime_get_ns();
	if (needs & SHUNT_HTTP_NEEDS_HEAD &&
	    shunt_http_load(ctx, 0, head,
			    s->segment.len < SHUNT_HTTP_PEEK ? s->segment.len : SHUNT_HTTP_PEEK))
		return 0;
	if (is_client)
		shunt_http_client(http, &s->segment, head, &event);
	else
		shunt_http_backend(http, &s->segment, head, &event);
	if (event.is_opaque)
		signals_opaque(index);
	if (event.is_request || event.is_response)
		shunt_http_told(ctx, &event);
	if (event.is_response)
		in_flight_leave(index);
	if (http->protocol == SHUNT_HTTP_2 || http->protocol == SHUNT_HTTP_OFFERED)
		shunt_http2_walk(ctx);
	if (!s->begun)
		return 0;
	over = requests_admit(ctx, index);
	if (!over && event.is_request)
		over = in_flight_enter(ctx, index);
	if (over)
		return requests_refuse(ctx, index, http, over);
	signals_count_requests(index, s->begun);
	return 0;
}

#else

/* Payload cannot be read at any offset here: nothing is told. */
static __always_inline int signals_peek(hook_ctx *ctx, __u32 index, __u32 is_client)
{
	(void)ctx;
	(void)index;
	(void)is_client;
	return 0;
}

#endif

#endif
