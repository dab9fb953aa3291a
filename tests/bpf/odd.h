/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BPF_ODD_H
#define SHUNT_TESTS_BPF_ODD_H

#include "lab.h"

/*
 * Packets that are not of the plain form: what packet_build() makes, with more headers put in
 * or cut to fragments. Nothing of that changes the transport's checksum.
 */

struct odd_form {
	const char *name;
	uint16_t tags[4];   /* EtherTypes of VLAN tags, 0 ends */
	uint8_t options;    /* bytes of IPv4 options, a multiple of 4 */
	uint8_t headers[8]; /* numbers of IPv6 extension headers + 1, 0 ends */
};

#define ODD_HEADER(number) ((number) + 1)

/* Which forms a family knows: the other one ignores options or headers. */
bool odd_is_for(const struct odd_form *form, enum shunt_slot_index family);

/* Bytes that a form puts before the IP header, and behind its fixed part. */
size_t odd_l2_len(const struct odd_form *form);
size_t odd_more_len(const struct odd_form *form, enum shunt_slot_index family);

/* As packet_build(), in the form. */
void odd_build(const struct lab_packet *packet, const struct odd_form *form,
	       struct lab_frame *frame);

/* Brings an IPv4 header's checksum in order, behind the form's tags. */
void odd_fix_ipv4(const struct odd_form *form, struct lab_frame *frame);

/* One fragment of a packet in the form. */
struct odd_fragment {
	uint32_t id;
	size_t from, to; /* of the packet's bytes behind the IP headers; from: a multiple of 8 */
	bool is_last;
};

/* The fragment header comes behind the form's extension headers. */
void odd_build_fragment(const struct lab_packet *packet, const struct odd_form *form,
			const struct odd_fragment *fragment, struct lab_frame *frame);

/* The plain form. */
extern const struct odd_form odd_plain;

/* Is what came out @want, byte for byte? */
void odd_check_frame(const struct lab_result *got, const struct lab_frame *want,
		     enum shunt_reason reason, const char *what);

/*
 * What the packet of client 1 to service 1 becomes at backend 1, and what the frontend says
 * when that backend answers.
 */
struct lab_packet odd_at_backend(const struct lab *lab, struct lab_packet packet);

#endif
