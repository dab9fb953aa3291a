// SPDX-License-Identifier: Apache-2.0
/* ICMP errors that quote packets of flows, and those that only seem to. */
#include "lab.h"

#include <arpa/inet.h>
#include <string.h>

TestSuite(icmp, .timeout = 120);

#define ICMP_HEAD    8
#define TCP_CHECK_AT 16

/* An error as a test wants it. The quote is a packet by name, cut behind @quoted bytes of L4. */
struct error {
	struct shunt_addr src, dst; /* outer */
	uint8_t type, code;
	struct lab_packet quote;
	size_t quoted;
};

static size_t ip_len(const struct lab *lab)
{
	return packet_ip_len(lab->kind->family);
}

static void put16(uint8_t *to, uint16_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

/* The checksum of the outer header and of the ICMP message, by the textbook. */
static void fix_sums(const struct lab *lab, struct lab_frame *frame)
{
	uint8_t *ip = frame->data + LAB_ETH, *icmp = ip + ip_len(lab);
	size_t len = frame->len - LAB_ETH - ip_len(lab);
	uint32_t sum = 0;

	if (lab->kind->family == SHUNT_V4) {
		put16(ip + 10, 0);
		put16(ip + 10, packet_fold(packet_sum(ip, 20, 0)));
	} else {
		sum = packet_pseudo(ip, SHUNT_V6, IPPROTO_ICMPV6, len);
	}
	put16(icmp + 2, 0);
	put16(icmp + 2, packet_fold(packet_sum(icmp, len, sum)));
}

/* The outer IP header around @len bytes of ICMP. */
static void outer_build(const struct lab *lab, const struct error *e, size_t len,
			struct lab_frame *frame)
{
	struct lab_packet outer = { .family = lab->kind->family,
				    .proto = IPPROTO_UDP,
				    .src = e->src,
				    .dst = e->dst,
				    .ttl = 62,
				    .payload = (uint16_t)(len - 8) };
	uint8_t *ip = frame->data + LAB_ETH;

	packet_build(&outer, frame);
	ip[lab->kind->family == SHUNT_V6 ? 6 : 9] =
		lab->kind->family == SHUNT_V6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	memset(ip + ip_len(lab), 0, len);
}

static void error_build(const struct lab *lab, const struct error *e, struct lab_frame *frame)
{
	size_t bytes = ip_len(lab) + e->quoted;
	struct lab_frame quote;
	uint8_t *icmp = frame->data + LAB_ETH + ip_len(lab);

	packet_build(&e->quote, &quote);
	outer_build(lab, e, ICMP_HEAD + bytes, frame);
	icmp[0] = e->type;
	icmp[1] = e->code;
	put16(icmp + 6, 1280);
	memcpy(icmp + ICMP_HEAD, quote.data + LAB_ETH, bytes);
	fix_sums(lab, frame);
}

/* Fragmentation needed, or packet too big. */
static struct error too_big(const struct lab *lab, struct lab_packet quote)
{
	struct error e = {
		.dst = quote.src,
		.src = lab_client_addr(lab->kind->family, 99), /* a router */
		.type = lab->kind->family == SHUNT_V6 ? 2 : 3,
		.code = lab->kind->family == SHUNT_V6 ? 0 : 4,
		.quote = quote,
		.quoted = packet_l4_len(quote.proto) + quote.payload,
	};

	return e;
}

/* A flow as both sides see it: what the client sends, and what the backend sees of it. */
struct sides {
	struct lab_packet client;
	struct lab_packet backend;
};

/*
 * With @collide the client first talks to the backend directly from the same port, so that
 * its port to the service has to be translated.
 */
static struct sides connect_sides(struct lab *lab, bool collide)
{
	struct sides s;
	struct lab_packet direct;

	lab_reset(lab, lab->kind);
	lab_scene(lab, 1, 1);
	s.client = lab_from_client(lab, 1, 4000, 1);
	if (collide) {
		direct = s.client;
		direct.dst = lab_backend_addr(lab->kind->family, 1);
		direct.dport = LAB_BACKEND_PORT;
		CHECK_REASON(lab_ingress(lab, &direct).reason, SHUNT_R_DIRECT);
	}
	s.backend = lab_connect(lab, &s.client);
	CHECK_EQ(s.backend.sport != s.client.sport, collide);
	s.client = lab_flags(s.client, TH_ACK_, 1001, 5001);
	s.backend = lab_flags(s.backend, TH_ACK_, 1001, 5001);
	s.client.payload = s.backend.payload = 40;
	return s;
}

static struct lab_packet turned(struct lab_packet packet)
{
	struct lab_packet back = packet;

	back.src = packet.dst;
	back.dst = packet.src;
	back.sport = packet.dport;
	back.dport = packet.sport;
	return back;
}

/* Everything that an error must leave alone. */
struct trace {
	struct shunt_flow flow;
	struct shunt_counters counters;
	uint32_t active;
};

static struct trace trace_of(struct lab *lab, const struct sides *s)
{
	return (struct trace){ *lab_flow(lab, &s->client), lab_backend_counters(lab, 1),
			       lab_active(lab, 1) };
}

static bool is_same_trace(const struct trace *a, const struct trace *b)
{
	return !memcmp(&a->flow, &b->flow, sizeof(a->flow)) &&
	       !memcmp(&a->counters, &b->counters, sizeof(a->counters)) && a->active == b->active;
}

/* @sent must become @want, byte for byte, and the flow stay as it is. */
static void check_translated(struct lab *lab, const struct sides *s, bool outwards,
			     const struct error *sent, const struct error *want)
{
	struct trace before, after;
	struct lab_frame frame, expected;
	struct lab_result got;

	lab_flow(lab, &s->client)->seen_jiffies -= 1000;
	before = trace_of(lab, s);
	error_build(lab, sent, &frame);
	error_build(lab, want, &expected);
	if (sent->quote.proto == IPPROTO_TCP && sent->quoted == TCP_CHECK_AT + 1) {
		expected.data[expected.len - 1] = frame.data[frame.len - 1]; /* half of it */
		fix_sums(lab, &expected);
	}
	got = outwards ? lab_egress_frame(lab, &frame) : lab_ingress_frame(lab, &frame);
	CHECK_REASON(got.reason, outwards ? SHUNT_R_ICMP_RESTORED : SHUNT_R_ICMP_FORWARDED);
	CHECK_EQ(got.verdict, LAB_PASS);
	CHECK_EQ(got.frame.len, expected.len);
	for (uint32_t i = 0; i < expected.len; i++)
		if (got.frame.data[i] != expected.data[i]) {
			cr_expect_fail("%s: byte %u is 0x%02x, not 0x%02x (%zu quoted)", lab_what,
				       i, got.frame.data[i], expected.data[i], sent->quoted);
			break;
		}
	after = trace_of(lab, s);
	CHECK(is_same_trace(&before, &after));
	lab_flow(lab, &s->client)->seen_jiffies += 1000;
}

/* Errors about what went from the client to the backend come from that side; and the reverse. */
static void error_of(const struct lab *lab, const struct sides *s, bool outwards,
		     struct error *ret_sent, struct error *ret_want)
{
	*ret_sent = too_big(lab, outwards ? s->backend : turned(s->client));
	*ret_want = too_big(lab, outwards ? s->client : turned(s->backend));
}

static void check_direction(struct lab *lab, bool outwards, bool collide)
{
	struct sides s = connect_sides(lab, collide);
	struct error sent, want;

	error_of(lab, &s, outwards, &sent, &want);
	check_translated(lab, &s, outwards, &sent, &want);

	/* By the other end itself: it is known by another address on this side. */
	sent.src = sent.quote.dst;
	want.src = want.quote.dst;
	check_translated(lab, &s, outwards, &sent, &want);
}

LAB_EACH(icmp, an_error_from_the_backends_side_reaches_the_client_in_its_own_words, 0)
{
	(void)k;
	check_direction(lab, true, false);
	check_direction(lab, true, true);
}

LAB_EACH(icmp, an_error_from_the_clients_side_reaches_the_backend_in_its_own_words, 0)
{
	(void)k;
	check_direction(lab, false, false);
	check_direction(lab, false, true);
}

LAB_EACH(icmp, every_kind_of_error_is_translated_and_nothing_else, 0)
{
	static const uint8_t errors[2][4] = { { 3, 11, 12, 3 }, { 1, 2, 3, 4 } };
	struct sides s = connect_sides(lab, true);
	struct error sent, want;
	struct lab_frame frame;
	struct lab_result got;

	for (int outwards = 0; outwards < 2; outwards++) {
		error_of(lab, &s, outwards, &sent, &want);
		for (uint32_t type = 0; type < 256; type++) {
			bool is_redirect = type == (k->family == SHUNT_V6 ? 137u : 5u);

			sent.type = want.type = (uint8_t)type;
			if (memchr(errors[k->family], (int)type, 4)) {
				check_translated(lab, &s, outwards, &sent, &want);
				continue;
			}
			if (is_redirect && outwards)
				continue;
			error_build(lab, &sent, &frame);
			got = outwards ? lab_egress_frame(lab, &frame)
				       : lab_ingress_frame(lab, &frame);
			lab_check_untouched(&got, &frame, SHUNT_R_L4_PROTO);
		}
	}
}

/* TCP's checksum stands behind the 8 bytes that each error has to quote. */
LAB_EACH(icmp, a_quoted_checksum_is_translated_as_far_as_it_is_quoted, 0)
{
	struct sides s = connect_sides(lab, true);
	struct error sent, want;

	for (int outwards = 0; outwards < 2; outwards++) {
		error_of(lab, &s, outwards, &sent, &want);
		for (size_t quoted = 8; quoted <= packet_l4_len(k->proto) + 40; quoted++) {
			sent.quoted = want.quoted = quoted;
			check_translated(lab, &s, outwards, &sent, &want);
		}
	}
}

/* Padding of a short frame is no part of the quote, though it stands where a checksum would. */
LAB_EACH(icmp, padding_behind_the_error_stays, LAB_ONLY_TCP)
{
	struct sides s = connect_sides(lab, true);
	struct error sent, want;
	struct lab_frame frame, expected;
	struct lab_result got;

	(void)k;
	for (int outwards = 0; outwards < 2; outwards++) {
		error_of(lab, &s, outwards, &sent, &want);
		sent.quoted = want.quoted = 8;
		error_build(lab, &sent, &frame);
		error_build(lab, &want, &expected);
		memset(frame.data + frame.len, 0xa5, 20);
		memset(expected.data + expected.len, 0xa5, 20);
		frame.len += 20;
		expected.len += 20;
		got = outwards ? lab_egress_frame(lab, &frame) : lab_ingress_frame(lab, &frame);
		CHECK_EQ(got.frame.len, expected.len);
		CHECK(!memcmp(got.frame.data, expected.data, expected.len));
	}
}

LAB_EACH(icmp, a_quoted_checksum_that_was_left_out_stays_out, LAB_ONLY_UDP)
{
	struct sides s = connect_sides(lab, true);
	struct error sent, want;

	(void)k;
	for (int outwards = 0; outwards < 2; outwards++) {
		error_of(lab, &s, outwards, &sent, &want);
		sent.quote.no_checksum = want.quote.no_checksum = true;
		check_translated(lab, &s, outwards, &sent, &want);
	}
}

/* ---- what is not let in -------------------------------------------------------------------------
 */

static void check_left(struct lab *lab, bool outwards, const struct lab_frame *frame,
		       enum shunt_reason reason)
{
	struct lab_result got =
		outwards ? lab_egress_frame(lab, frame) : lab_ingress_frame(lab, frame);

	lab_check_untouched(&got, frame, reason);
}

static void check_left_error(struct lab *lab, bool outwards, const struct error *e,
			     enum shunt_reason reason)
{
	struct lab_frame frame;

	error_build(lab, e, &frame);
	check_left(lab, outwards, &frame, reason);
}

LAB_EACH(icmp, an_error_about_another_flow_is_left_alone, 0)
{
	struct sides s = connect_sides(lab, true);
	struct error good, want, bad;

	for (int outwards = 0; outwards < 2; outwards++) {
		error_of(lab, &s, outwards, &good, &want);
		bad = good;
		bad.quote.sport ^= 1;
		check_left_error(lab, outwards, &bad, SHUNT_R_ICMP_UNKNOWN);
		bad = good;
		bad.quote.dport ^= 1;
		check_left_error(lab, outwards, &bad, SHUNT_R_ICMP_UNKNOWN);
		bad = good;
		bad.quote.proto = k->proto == IPPROTO_TCP ? IPPROTO_UDP : IPPROTO_TCP;
		bad.quoted = 8;
		check_left_error(lab, outwards, &bad, SHUNT_R_ICMP_UNKNOWN);
		bad = good;
		bad.quote.proto = IPPROTO_SCTP;
		check_left_error(lab, outwards, &bad, SHUNT_R_ICMP_QUOTE);
		for (int w = k->family == SHUNT_V6 ? 0 : 3; w < 4; w++) {
			bad = good;
			bad.quote.dst.word_be[w] ^= htonl(1);
			check_left_error(lab, outwards, &bad, SHUNT_R_ICMP_UNKNOWN);
			bad = good;
			bad.quote.src.word_be[w] ^= htonl(1);
			bad.dst = bad.quote.src;
			check_left_error(lab, outwards, &bad, SHUNT_R_ICMP_UNKNOWN);
			bad = good; /* to another host than the one that sent what it quotes */
			bad.dst.word_be[w] ^= htonl(1);
			check_left_error(lab, outwards, &bad, SHUNT_R_ICMP_UNKNOWN);
		}
		/* The flow's own packet, but quoted on the wrong side. */
		bad = too_big(lab, turned(good.quote));
		check_left_error(lab, outwards, &bad, SHUNT_R_ICMP_UNKNOWN);
	}
}

LAB_EACH(icmp, an_error_about_a_dead_flow_is_left_alone, 0)
{
	struct sides s;
	struct error sent, want;
	struct shunt_flow *flow;

	(void)k;
	for (int outwards = 0; outwards < 2; outwards++) {
		s = connect_sides(lab, true);
		error_of(lab, &s, outwards, &sent, &want);
		flow = lab_flow(lab, &s.client);
		flow->seen_jiffies -= LAB_LONG; /* over, though nobody has swept it yet */
		check_left_error(lab, outwards, &sent, SHUNT_R_ICMP_UNKNOWN);
		flow->seen_jiffies += LAB_LONG;
		check_translated(lab, &s, outwards, &sent, &want);
		flow->life = SHUNT_LIFE_GEN(flow->life) | SHUNT_F_FREE;
		check_left_error(lab, outwards, &sent, SHUNT_R_ICMP_UNKNOWN);
	}
}

LAB_EACH(icmp, a_direct_connection_needs_no_translation, 0)
{
	struct lab_packet direct;
	struct error e;

	lab_scene(lab, 1, 1);
	direct = lab_from_client(lab, 1, 4000, 1);
	direct.dst = lab_backend_addr(k->family, 1);
	direct.dport = LAB_BACKEND_PORT;
	CHECK_REASON(lab_ingress(lab, &direct).reason, SHUNT_R_DIRECT);
	e = too_big(lab, direct);
	check_left_error(lab, true, &e, SHUNT_R_DIRECT);
	e = too_big(lab, turned(direct));
	check_left_error(lab, false, &e, SHUNT_R_DIRECT);
}

LAB_EACH(icmp, a_flow_that_is_bound_to_its_gate_is_not_taken_at_another, 0)
{
	struct sides s = connect_sides(lab, false);
	struct error sent, want;

	(void)k;
	error_of(lab, &s, false, &sent, &want);
	lab_flow(lab, &s.client)->flags |= SHUNT_FLOW_GATE_BOUND;
	check_translated(lab, &s, false, &sent, &want);
	lab->gate = lab->gates[1];
	check_left_error(lab, false, &sent, SHUNT_R_ALREADY);
}

LAB_EACH(icmp, an_error_cut_at_any_length_is_left_alone, 0)
{
	struct sides s = connect_sides(lab, true);
	uint32_t enough = LAB_ETH + 2 * (uint32_t)ip_len(lab) + ICMP_HEAD + 8;
	struct error sent, want;
	struct lab_frame frame, whole;
	struct lab_result got;

	(void)k;
	for (int outwards = 0; outwards < 2; outwards++) {
		error_of(lab, &s, outwards, &sent, &want);
		error_build(lab, &sent, &whole);
		for (uint32_t len = LAB_ETH + (uint32_t)ip_len(lab); len < enough; len++) {
			frame = whole; /* cut on the way: the header says more */
			frame.len = len;
			check_left(lab, outwards, &frame, SHUNT_R_TRUNCATED);

			frame = whole; /* quotes less; what follows is padding */
			put16(frame.data + LAB_ETH + (lab->kind->family == SHUNT_V6 ? 4 : 2),
			      (uint16_t)(len - LAB_ETH - (lab->kind->family == SHUNT_V6 ? 40 : 0)));
			check_left(lab, outwards, &frame, SHUNT_R_TRUNCATED);
		}
		frame = whole;
		frame.len = enough;
		got = outwards ? lab_egress_frame(lab, &frame) : lab_ingress_frame(lab, &frame);
		CHECK_REASON(got.reason, outwards ? SHUNT_R_ICMP_RESTORED : SHUNT_R_ICMP_FORWARDED);
	}
}

/* Where ports stand is not sure then: it is not guessed. */
LAB_EACH(icmp, quoted_later_fragments_and_other_versions_and_protocols_are_left_alone, 0)
{
	static const struct {
		enum shunt_slot_index family;
		size_t at; /* of the quoted header */
		uint8_t value;
	} changes[] = {
		{ SHUNT_V4, 0, 0x44 }, { SHUNT_V4, 0, 0x65 }, { SHUNT_V4, 6, 0x01 },
		{ SHUNT_V4, 7, 0x01 }, { SHUNT_V4, 9, 47 },   { SHUNT_V6, 0, 0x40 },
		{ SHUNT_V6, 6, 50 },   { SHUNT_V6, 6, 59 },
	};
	struct sides s = connect_sides(lab, true);
	struct error sent, want;
	struct lab_frame frame;

	for (int outwards = 0; outwards < 2; outwards++) {
		error_of(lab, &s, outwards, &sent, &want);
		for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
			if (changes[i].family != k->family)
				continue;
			error_build(lab, &sent, &frame);
			frame.data[LAB_ETH + ip_len(lab) + ICMP_HEAD + changes[i].at] =
				changes[i].value;
			fix_sums(lab, &frame);
			check_left(lab, outwards, &frame, SHUNT_R_ICMP_QUOTE);
		}
	}
}

/* ---- redirects
 * ------------------------------------------------------------------------------------ */

/* A redirect that quotes @quote. @link_option: IPv6: a link-layer address stands before it. */
static void redirect_build(const struct lab *lab, struct lab_packet quote, bool link_option,
			   struct lab_frame *frame)
{
	struct error e = too_big(lab, quote);
	struct lab_frame quoted;
	uint8_t *icmp = frame->data + LAB_ETH + ip_len(lab), *option = icmp + 40;
	size_t head = link_option ? 8 : 0;

	if (lab->kind->family == SHUNT_V4) {
		e.type = 5;
		e.code = 1;
		error_build(lab, &e, frame);
		return;
	}
	packet_build(&quote, &quoted);
	outer_build(lab, &e, 48 + head + quoted.len - LAB_ETH, frame);
	icmp[0] = 137;
	memcpy(icmp + 24, &quote.dst, 16);
	if (link_option) {
		option[0] = 2;
		option[1] = 1;
	}
	option[head] = 4;
	option[head + 1] = (uint8_t)((8 + quoted.len - LAB_ETH) / 8);
	memcpy(option + head + 8, quoted.data + LAB_ETH, quoted.len - LAB_ETH);
	fix_sums(lab, frame);
}

LAB_EACH(icmp, a_redirect_about_a_translated_flow_is_dropped, 0)
{
	struct sides s = connect_sides(lab, true);
	struct lab_packet other = s.backend;
	struct trace before = trace_of(lab, &s), after;
	struct lab_frame frame;
	struct lab_result got;

	other.sport ^= 1;
	for (int link_option = 0; link_option < (k->family == SHUNT_V6 ? 2 : 1); link_option++) {
		redirect_build(lab, s.backend, link_option, &frame);
		got = lab_egress_frame(lab, &frame);
		CHECK_REASON(got.reason, SHUNT_R_ICMP_REDIRECT);
		CHECK_EQ(got.verdict, LAB_DROP);
		redirect_build(lab, other, link_option, &frame);
		check_left(lab, true, &frame, SHUNT_R_ICMP_UNKNOWN);
		redirect_build(lab, turned(s.client), link_option, &frame);
		check_left(lab, false, &frame, SHUNT_R_L4_PROTO);
	}
	after = trace_of(lab, &s);
	CHECK(is_same_trace(&before, &after));
}

LAB_EACH(icmp, a_redirect_with_other_options_is_left_alone, LAB_ONLY_V6)
{
	struct sides s = connect_sides(lab, true);
	struct lab_frame frame;

	(void)k;
	redirect_build(lab, s.backend, true, &frame);
	frame.data[LAB_ETH + 40 + 41] = 2; /* a longer link-layer address */
	fix_sums(lab, &frame);
	check_left(lab, true, &frame, SHUNT_R_ICMP_QUOTE);
	redirect_build(lab, s.backend, false, &frame);
	frame.data[LAB_ETH + 40 + 40] = 14; /* a nonce, 1 unit long, but nothing behind it */
	frame.data[LAB_ETH + 40 + 41] = 1;
	fix_sums(lab, &frame);
	check_left(lab, true, &frame, SHUNT_R_ICMP_QUOTE);
}
