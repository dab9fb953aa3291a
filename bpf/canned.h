/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_CANNED_H
#define SHUNT_BPF_CANNED_H

#include "action.h"
#include "reject.h"
#include "requests.h"

/*
 * What both sides of a connection are told whose request was refused (requests.h). Packets cannot
 * be made, only changed, so each that comes is turned into what is to be said next:
 *
 *	the request	    -> the response, in one segment with the FIN, back to the client
 *	more of it, or the request again, by who has not got the response yet
 *			    -> the response once more
 *	the client's next   -> a RST to the backend, at the number where the request began
 *	its data and FIN    -> an acknowledgement, or it would go on sending them
 *
 * Where a RST is the answer, the request becomes the backend's and the client's next packet its
 * own: the backend must not keep connections of who is refused. What it sends is dropped.
 *
 * Answers are of the form of the packets that are peeked at: neither tags nor IP options. As in
 * reject.h, their checksums are right as they are and completed: a response's and an
 * acknowledgement's by the urgent pointer, which is ignored without URG.
 */

#define CANNED_OPTIONS 12 /* two NOPs and a timestamp, or NOPs */
#define CANNED_TEXT    96
#define CANNED_ACK     (sizeof(struct tcphdr) + CANNED_OPTIONS)
#define CANNED_ALL     (CANNED_ACK + CANNED_TEXT)

struct canned {
	union { /* either ends where the next header begins */
		struct ipv6hdr ip6;
		struct {
			__u8 unused[sizeof(struct ipv6hdr) - sizeof(struct iphdr)];
			struct iphdr ip4;
		};
	};
	struct tcphdr tcp;
	union {
		__u8 options[CANNED_OPTIONS];
		__be32 option_word[CANNED_OPTIONS / 4];
	};
	char text[CANNED_TEXT];
};

/* As the scratch: a CPU's own, in each object. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct canned);
} canned_answer SEC(".maps");

enum canned_made {
	CANNED_NONE,   /* nothing: the packet is dropped */
	CANNED_BOUNCE, /* the packet is the client's now */
	CANNED_GOES_ON,
};

static __always_inline struct canned *canned_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&canned_answer, &zero);
}

/* Whom the scratch's packet comes from, as reject.h's functions want it, who answer that. */
static __always_inline void canned_from(struct scratch *s, const struct shunt_flow *flow,
					int is_backend)
{
	struct shunt_tuple *t = &s->pkt.tuple;

	t->family = flow->family;
	t->proto = IPPROTO_TCP;
	t->src.word_be[3] = SHUNT_PICK(is_backend, flow->client_lo_be, flow->backend_lo_be);
	t->dst.word_be[3] = SHUNT_PICK(is_backend, flow->frontend_lo_be, flow->source_lo_be);
	t->sport_be = SHUNT_PICK(is_backend, flow->client_port_be, flow->backend_port_be);
	t->dport_be = SHUNT_PICK(is_backend, flow->frontend_port_be, flow->source_port_be);
	if (flow->family != SHUNT_V6)
		return;
#pragma GCC unroll 3
	for (int w = 0; w < 3; w++) {
		t->src.word_be[w] =
			SHUNT_PICK(is_backend, flow->client_hi_be[w], flow->backend_hi_be[w]);
		t->dst.word_be[w] =
			SHUNT_PICK(is_backend, flow->frontend_hi_be[w], flow->source_hi_be[w]);
	}
}

/* The IP header over @len bytes. Return: the sum of the pseudo header. */
static __always_inline __u64 canned_ip(struct canned *a, const struct packet *pkt, __u32 len)
{
	if (pkt->tuple.family == SHUNT_V6)
		return reject_ipv6(&a->ip6, pkt, len, IPPROTO_TCP);
	reject_ipv4(&a->ip4, pkt, sizeof(a->ip4) + len, IPPROTO_TCP);
	return reject_sum(&a->ip4.saddr, 8, bpf_htons(IPPROTO_TCP) + bpf_htons(len));
}

/*
 * The frame becomes the IP packet in @a with @len bytes behind its header, a constant. @grow: as
 * hook_resize(). @is_back: it goes back where it came from.
 */
static __always_inline int canned_frame(hook_ctx *ctx, const struct scratch *s,
					const struct canned *a, __u32 len, __u32 grow, int is_back)
{
	const int is_v6 = s->pkt.tuple.family == SHUNT_V6;
	__u32 ip_len = is_v6 ? sizeof(a->ip6) : sizeof(a->ip4);
	struct ethhdr eth;
	const void *from;
	__u8 mac[ETH_ALEN];

	if (hook_load(ctx, 0, &eth, sizeof(eth)))
		return -1;
	if (is_back) {
		__builtin_memcpy(mac, eth.h_dest, ETH_ALEN);
		__builtin_memcpy(eth.h_dest, eth.h_source, ETH_ALEN);
		__builtin_memcpy(eth.h_source, mac, ETH_ALEN);
	}
	if (hook_resize(ctx, s->payload_off + s->segment.len, sizeof(eth) + ip_len + len, grow) ||
	    hook_store(ctx, 0, &eth, sizeof(eth)))
		return -1;
	if (is_v6) {
		from = &a->ip6;
		SHUNT_OPAQUE_CASE(from, 6);
		return hook_store_summed(ctx, sizeof(eth), from, sizeof(a->ip6) + len);
	}
	from = &a->ip4;
	SHUNT_OPAQUE_CASE(from, 4);
	return hook_store_summed(ctx, sizeof(eth), from, sizeof(a->ip4) + len);
}

/**
 * canned_reset - turn the packet of the flow @index into a RST
 * @seq: its number
 *
 * Return: 0, or it could not be made.
 */
__attribute__((noinline)) int canned_reset(hook_ctx *ctx, __u32 index, __u32 seq, int is_backend)
{
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);
	struct scratch *s = scratch_get();
	struct canned *a = canned_get();

	if (!flow || !s || !a)
		return -1;
	canned_from(s, flow, is_backend);
	s->pkt.tcp.flags = SHUNT_TCP_ACK;
	s->pkt.tcp.ack = seq;
	reject_tcp(&a->tcp, &s->pkt, 0);
	reject_tcp_csum(&a->tcp, canned_ip(a, &s->pkt, sizeof(a->tcp)));
	return canned_frame(ctx, s, a, sizeof(a->tcp), 0, !is_backend);
}

/* The client's timestamps turned round, where all systems put them. @doff: of its packet. */
static __always_inline void canned_options(hook_ctx *ctx, const struct scratch *s, struct canned *a,
					   __u32 doff)
{
	const __be32 head = bpf_htonl(0x0101080a);
	__be32 word;

	if (doff * 4 < CANNED_ACK ||
	    hook_load(ctx, s->tcp_off + sizeof(struct tcphdr), a->options, CANNED_OPTIONS) ||
	    a->option_word[0] != head) {
		__builtin_memset(a->options, 1, CANNED_OPTIONS);
		return;
	}
	word = a->option_word[1];
	a->option_word[1] = a->option_word[2];
	a->option_word[2] = word;
}

/* The header of what the client gets at @seq, which acknowledges all of its packet @in. */
static __always_inline void canned_header(struct canned *a, const struct packet *pkt,
					  const struct tcphdr *in, __u32 seq, __u32 len)
{
	__builtin_memset(&a->tcp, 0, sizeof(a->tcp));
	a->tcp.source = pkt->tuple.dport_be;
	a->tcp.dest = pkt->tuple.sport_be;
	a->tcp.seq = bpf_htonl(seq);
	a->tcp.ack_seq = bpf_htonl(bpf_ntohl(in->seq) + len + in->fin);
	a->tcp.doff = CANNED_ACK / 4;
	a->tcp.ack = 1;
	a->tcp.window = 0xffff;
}

/* Copies what is a constant, as numbers in the code: such a section would be one more map. */
static __always_inline void canned_words(char text[CANNED_TEXT], const char words[CANNED_TEXT + 1])
{
#pragma GCC unroll 24
	for (int i = 0; i < CANNED_TEXT; i += 4) {
		__u32 word = words[i] | words[i + 1] << 8 | words[i + 2] << 16 | words[i + 3] << 24;

		asm volatile("" : "+r"(word));
		__builtin_memcpy(text + i, &word, sizeof(word));
	}
}

/* The response over a limit, RFC 6585 section 4: of 9 digits, padded in front, as header values may
 * be. */
__attribute__((noinline)) int canned_429(__u32 seconds)
{
	static const char words[] = "HTTP/1.1 429 Too Many Requests\r\n"
				    "Retry-After:         0\r\n"
				    "Content-Length: 0\r\n"
				    "Connection: close\r\n"
				    "\r\n";
	struct canned *a = canned_get();
	const int digits = 45;

	_Static_assert(sizeof(words) - 1 == CANNED_TEXT, "a multiple of 4, for its sum");
	if (!a)
		return 0;
	canned_words(a->text, words);
#pragma GCC unroll 9
	for (int i = 8; i >= 0; i--) {
		if (seconds)
			a->text[digits + i] = '0' + seconds % 10;
		seconds /= 10;
	}
	return 0;
}

/* The response of a breaker, with its code; likewise by itself. */
__attribute__((noinline)) int canned_broken(__u32 code)
{
	static const char words[] = "HTTP/1.1 503 Service Unavailable\r\n"
				    "Content-Length: 21\r\n"
				    "Connection: close\r\n"
				    "\r\n"
				    "circuit breaker open\n";
	struct canned *a = canned_get();

	_Static_assert(sizeof(words) - 1 == CANNED_TEXT, "as long as the other");
	if (!a)
		return 0;
	canned_words(a->text, words);
	a->text[9] = '0' + code / 100;
	a->text[10] = '0' + code / 10 % 10;
	a->text[11] = '0' + code % 10;
	return 0;
}

/* A sum of all from the TCP header on that stays right when it is completed later. */
static __always_inline void canned_csum(struct canned *a, __u32 len, __u64 pseudo)
{
	a->tcp.check = csum_fold16(pseudo);
	a->tcp.urg_ptr = ~csum_fold16(reject_sum(&a->tcp, len, pseudo));
}

/**
 * canned_answer_client - turn a client's packet into the response, or into an acknowledgement
 * @is_ack: 1: it has the response
 *
 * Return: 0, or it could not be made.
 */
__attribute__((noinline)) int canned_answer_client(hook_ctx *ctx, __u32 index, int is_ack)
{
	const struct shunt_http *http = bpf_map_lookup_elem(&shunt_http, &index);
	const struct shunt_flow *flow = shunt_ft_flow(FT, index);
	struct scratch *s = scratch_get();
	struct canned *a = canned_get();
	struct tcphdr in;

	if (!http || !flow || !s || !a || hook_load(ctx, s->tcp_off, &in, sizeof(in)))
		return -1;
	canned_from(s, flow, 0);
	canned_options(ctx, s, a, in.doff);
	if (is_ack) {
		canned_header(a, &s->pkt, &in, http->answer_seq + CANNED_TEXT + 1, s->segment.len);
		canned_csum(a, CANNED_ACK, canned_ip(a, &s->pkt, CANNED_ACK));
		return canned_frame(ctx, s, a, CANNED_ACK, CANNED_OPTIONS, 1);
	}
	canned_header(a, &s->pkt, &in, http->answer_seq, s->segment.len);
	a->tcp.psh = 1;
	a->tcp.fin = 1;
	if (http->retry_seconds)
		canned_429(http->retry_seconds);
	else
		canned_broken(http->code);
	canned_csum(a, CANNED_ALL, canned_ip(a, &s->pkt, CANNED_ALL));
	return canned_frame(ctx, s, a, CANNED_ALL, CANNED_OPTIONS + CANNED_TEXT, 1);
}

/* The request itself. Return: enum canned_made. */
static __always_inline int canned_request(hook_ctx *ctx, __u32 index)
{
	const struct shunt_http *http = bpf_map_lookup_elem(&shunt_http, &index);

	if (!http)
		return CANNED_NONE;
	if (http->code)
		return canned_answer_client(ctx, index, 0) ? CANNED_NONE : CANNED_BOUNCE;
	return canned_reset(ctx, index, http->refused_seq, 1) ? CANNED_NONE : CANNED_GOES_ON;
}

/* A later packet of the client. Return: enum canned_made. */
__attribute__((noinline)) int canned_behind(hook_ctx *ctx, __u32 index)
{
	struct shunt_http *http = bpf_map_lookup_elem(&shunt_http, &index);
	const struct scratch *s = scratch_get();
	struct tcphdr in;
	int wants;

	if (!http || !s || hook_load(ctx, s->tcp_off, &in, sizeof(in)))
		return CANNED_NONE;
	if (!http->code) {
		if (in.rst || !in.ack)
			return CANNED_NONE;
		return canned_reset(ctx, index, bpf_ntohl(in.ack_seq), 0) ? CANNED_NONE
									  : CANNED_BOUNCE;
	}
	wants = !in.rst && in.ack && (s->segment.len || in.fin);
	if (wants && (__s32)(bpf_ntohl(in.ack_seq) - http->answer_seq - CANNED_TEXT) <= 0)
		return canned_answer_client(ctx, index, 0) ? CANNED_NONE : CANNED_BOUNCE;
	if (wants && http->turn == SHUNT_HTTP_BACKENDS)
		return canned_answer_client(ctx, index, 1) ? CANNED_NONE : CANNED_BOUNCE;
	/* Its backend has been told from now on. */
	http->turn = SHUNT_HTTP_BACKENDS;
	return canned_reset(ctx, index, http->refused_seq, 1) ? CANNED_NONE : CANNED_GOES_ON;
}

/**
 * canned_finish - what becomes of a packet that was refused, or is of a connection that was
 * @result: as the stages returned it, with the flow's index in the upper half
 * @said:   enum requests_said
 *
 * The only place beside action.h that counts a reason. Return: the hook's verdict.
 */
__attribute__((noinline)) int canned_finish(hook_ctx *ctx, __u64 result, int said)
{
	enum shunt_reason reason = SHUNT_R_REQUEST_LIMITED;
	const struct shunt_flow *flow;
	__u32 index = result >> 32;
	int made;

	if (said == REQUESTS_DROPPED || result & SIGNALS_BACKEND)
		return action_finish(ctx,
				     said == REQUESTS_DROPPED ? SHUNT_R_LIMITED_DROP
							      : SHUNT_R_REQUEST_BEHIND,
				     0);
	if (said == REQUESTS_BROKEN)
		reason = SHUNT_R_BREAKER_OPEN;
	if (said != REQUESTS_BEHIND) {
		flow = shunt_ft_flow(FT, index);
		action_count_reject(flow ? flow->variant : 0);
		made = canned_request(ctx, index);
	} else {
		reason = SHUNT_R_REQUEST_BEHIND;
		made = canned_behind(ctx, index);
	}
	if (made == CANNED_GOES_ON && result & ROUTE_SENT)
		return action_send(ctx, reason);
	action_count(reason);
	if (made == CANNED_GOES_ON)
		return HOOK_PASS;
	return made == CANNED_BOUNCE ? hook_bounce(ctx) : HOOK_DROP;
}

#endif
