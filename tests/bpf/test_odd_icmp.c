// SPDX-License-Identifier: Apache-2.0
/* ICMP errors that are not of the plain form, or quote packets that are not. */
#include "odd.h"

#include <linux/if_ether.h>
#include <string.h>

TestSuite(odd_icmp, .timeout = 60);

#define HOP	 ODD_HEADER(IPPROTO_HOPOPTS)
#define ROUTE	 ODD_HEADER(IPPROTO_ROUTING)
#define FRAGMENT ODD_HEADER(IPPROTO_FRAGMENT)
#define DST	 ODD_HEADER(IPPROTO_DSTOPTS)
#define HEAD	 8

static const struct odd_form outer_forms[] = {
	{ "plain", { 0 }, 0, { 0 } },
	{ "in VLANs", { ETH_P_8021AD, ETH_P_8021Q }, 0, { 0 } },
	{ "with options", { 0 }, 12, { 0 } },
	{ "with headers", { 0 }, 0, { HOP, DST } },
};

static const struct odd_form quote_forms[] = {
	{ "of a plain packet", { 0 }, 0, { 0 } },
	{ "of options", { 0 }, 40, { 0 } },
	{ "of headers", { 0 }, 0, { HOP, DST, ROUTE, FRAGMENT } },
};

struct error {
	struct shunt_addr src, dst;
	struct lab_packet quote;
	const struct odd_form *form, *quote_form;
	bool is_fragment; /* the quote is that of a first fragment */
};

static void put16(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

/* Fragmentation needed, or packet too big. The quote's last two bytes are cut off. */
static void error_build(const struct lab *lab, const struct error *e, struct lab_frame *frame)
{
	const struct odd_fragment first = { 77, 0, 24, false };
	enum shunt_slot_index family = lab->kind->family;
	const size_t l3 = LAB_ETH + odd_l2_len(e->form);
	const size_t more = odd_more_len(e->form, family);
	struct lab_packet outer = {
		.family = family, .proto = IPPROTO_UDP, .src = e->src, .dst = e->dst, .ttl = 62
	};
	uint8_t *ip = frame->data + l3, *icmp = ip + packet_ip_len(family) + more;
	size_t at = family == SHUNT_V6 ? 6 : 9, len;
	struct lab_frame quote;

	if (e->is_fragment)
		odd_build_fragment(&e->quote, e->quote_form, &first, &quote);
	else
		odd_build(&e->quote, e->quote_form, &quote);
	len = HEAD + quote.len - LAB_ETH;
	outer.payload = (uint16_t)(len - 8);
	odd_build(&outer, e->form, frame);
	if (family == SHUNT_V6 && more)
		at = 40 + 16; /* the second of the two headers */
	ip[at] = family == SHUNT_V6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	memset(icmp, 0, len);
	icmp[0] = family == SHUNT_V6 ? 2 : 3;
	icmp[1] = family == SHUNT_V6 ? 0 : 4;
	put16(icmp + 6, 1280);
	memcpy(icmp + HEAD, quote.data + LAB_ETH, len - HEAD);
	if (family == SHUNT_V4)
		odd_fix_ipv4(e->form, frame);
	put16(icmp + 2,
	      packet_fold(packet_sum(
		      icmp, len,
		      family == SHUNT_V6 ? packet_pseudo(ip, family, IPPROTO_ICMPV6, len) : 0)));
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

/* @from_router: else the error is of the other end itself, whose address changes, too. */
static void check(struct lab *lab, struct lab_packet client, bool outwards, bool from_router,
		  struct error e)
{
	struct lab_packet backend = odd_at_backend(lab, client);
	struct lab_frame frame, want;
	struct lab_result got;
	char what[100];

	snprintf(what, sizeof(what), "an error %s %s%s", e.form->name, e.quote_form->name,
		 e.is_fragment ? ", a fragment" : "");
	e.quote = outwards ? backend : turned(client);
	e.dst = e.quote.src;
	e.src = from_router ? lab_client_addr(lab->kind->family, 99) : e.quote.dst;
	error_build(lab, &e, &frame);
	e.quote = outwards ? client : turned(backend);
	e.dst = e.quote.src;
	e.src = from_router ? e.src : e.quote.dst;
	error_build(lab, &e, &want);
	got = outwards ? lab_egress_frame(lab, &frame) : lab_ingress_frame(lab, &frame);
	odd_check_frame(&got, &want, outwards ? SHUNT_R_ICMP_RESTORED : SHUNT_R_ICMP_FORWARDED,
			what);
}

LAB_EACH(odd_icmp, errors_of_every_form_about_packets_of_every_form_are_translated, 0)
{
	struct lab_packet client;

	lab_scene(lab, 1, 1);
	client = lab_from_client(lab, 1, 4000, 1);
	lab_connect(lab, &client);
	client = lab_flags(client, TH_ACK_, 1001, 5001);
	client.payload = 40;
	for (size_t o = 0; o < ARRAY_LEN(outer_forms); o++)
		for (size_t q = 0; q < ARRAY_LEN(quote_forms); q++)
			for (unsigned n = 0; n < 8; n++) {
				const struct error e = { .form = &outer_forms[o],
							 .quote_form = &quote_forms[q],
							 .is_fragment = n & 4 };

				if (odd_is_for(&outer_forms[o], k->family) &&
				    odd_is_for(&quote_forms[q], k->family) &&
				    !(e.is_fragment && k->family == SHUNT_V6 && q))
					check(lab, client, n & 1, n & 2, e);
			}
}
