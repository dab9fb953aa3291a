// SPDX-License-Identifier: Apache-2.0
#include "odd.h"

#include <string.h>

#define FRAGMENT_HEADER 8

const struct odd_form odd_plain = { .name = "plain" };

static void put16(uint8_t *to, uint32_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static void put32(uint8_t *to, uint32_t value)
{
	put16(to, value >> 16);
	put16(to + 2, value);
}

static uint32_t get16(const uint8_t *from)
{
	return (uint32_t)from[0] << 8 | from[1];
}

/* Makes room for @len bytes of zero at @at. */
static uint8_t *insert(struct lab_frame *frame, size_t at, size_t len)
{
	memmove(frame->data + at + len, frame->data + at, frame->len - at);
	memset(frame->data + at, 0, len);
	frame->len += (uint32_t)len;
	return frame->data + at;
}

bool odd_is_for(const struct odd_form *form, enum shunt_slot_index family)
{
	return family == SHUNT_V6 ? !form->options : !form->headers[0];
}

size_t odd_l2_len(const struct odd_form *form)
{
	size_t n = 0;

	while (form->tags[n])
		n++;
	return 4 * n;
}

/* Of a length of its own for each, so that none is mistaken for another. */
static size_t header_len(uint8_t number)
{
	switch (number) {
	case IPPROTO_HOPOPTS:
		return 16;
	case IPPROTO_AH:
		return 28;
	case IPPROTO_DSTOPTS:
		return 24;
	default:
		return 8;
	}
}

size_t odd_more_len(const struct odd_form *form, enum shunt_slot_index family)
{
	size_t len = 0;

	if (family == SHUNT_V4)
		return form->options;
	for (int i = 0; form->headers[i]; i++)
		len += header_len((uint8_t)(form->headers[i] - 1));
	return len;
}

void odd_fix_ipv4(const struct odd_form *form, struct lab_frame *frame)
{
	uint8_t *ip = frame->data + LAB_ETH + odd_l2_len(form);

	put16(ip + 10, 0);
	put16(ip + 10, packet_fold(packet_sum(ip, (size_t)(ip[0] & 15) * 4, 0)));
}

static void put_tags(const struct odd_form *form, struct lab_frame *frame)
{
	for (size_t i = odd_l2_len(form) / 4; i-- > 0;) {
		uint8_t *tag = insert(frame, 12, 4);

		put16(tag, form->tags[i]);
		put16(tag + 2, 0x2005 + (uint32_t)i);
	}
}

static void put_options(const struct odd_form *form, struct lab_frame *frame)
{
	uint8_t *ip = frame->data + LAB_ETH;

	if (!form->options)
		return;
	/* The router alert option, and no operations. */
	memset(insert(frame, LAB_ETH + 20, form->options), 1, form->options);
	memcpy(ip + 20, (uint8_t[]){ 148, 4, 0, 0 }, 4);
	ip[0] = (uint8_t)(0x45 + form->options / 4);
	put16(ip + 2, get16(ip + 2) + form->options);
	odd_fix_ipv4(&odd_plain, frame);
}

static void put_header(struct lab_frame *frame, size_t at, uint8_t number, uint8_t next)
{
	size_t len = header_len(number);
	uint8_t *header = insert(frame, at, len);

	header[0] = next;
	if (number == IPPROTO_AH)
		header[1] = (uint8_t)(len / 4 - 2);
	else if (number != IPPROTO_FRAGMENT)
		header[1] = (uint8_t)(len / 8 - 1);
	if (number == IPPROTO_HOPOPTS || number == IPPROTO_DSTOPTS) {
		header[2] = 1; /* PadN */
		header[3] = (uint8_t)(len - 4);
	}
}

static void put_headers(const struct odd_form *form, struct lab_frame *frame)
{
	uint8_t *ip = frame->data + LAB_ETH, next = ip[6];
	size_t n = 0, more = odd_more_len(form, SHUNT_V6);

	while (form->headers[n])
		n++;
	while (n-- > 0) {
		put_header(frame, LAB_ETH + 40, (uint8_t)(form->headers[n] - 1), next);
		next = (uint8_t)(form->headers[n] - 1);
	}
	ip[6] = next;
	put16(ip + 4, get16(ip + 4) + (uint32_t)more);
}

void odd_build(const struct lab_packet *packet, const struct odd_form *form,
	       struct lab_frame *frame)
{
	packet_build(packet, frame);
	if (packet->family == SHUNT_V6)
		put_headers(form, frame);
	else
		put_options(form, frame);
	put_tags(form, frame);
}

static void fragment_v4(const struct odd_fragment *f, struct lab_frame *frame, uint8_t *ip)
{
	size_t headers = (size_t)(ip[0] & 15) * 4;

	put16(ip + 2, (uint32_t)(headers + f->to - f->from));
	put16(ip + 4, f->id);
	put16(ip + 6, (uint32_t)(f->from / 8) | (f->is_last ? 0 : 0x2000));
	memmove(ip + headers, ip + headers + f->from, f->to - f->from);
	frame->len = (uint32_t)((size_t)(ip - frame->data) + headers + f->to - f->from);
}

static void fragment_v6(const struct odd_form *form, const struct odd_fragment *f,
			struct lab_frame *frame, uint8_t *ip)
{
	size_t more = odd_more_len(form, SHUNT_V6);
	uint8_t *data = ip + 40 + more, *next = ip + 6;
	uint8_t *at = ip + 40;

	for (int i = 0; form->headers[i]; i++) {
		next = at;
		at += header_len((uint8_t)(form->headers[i] - 1));
	}
	memmove(data, data + f->from, f->to - f->from);
	frame->len = (uint32_t)((size_t)(data - frame->data) + f->to - f->from);
	insert(frame, (size_t)(data - frame->data), FRAGMENT_HEADER);
	data[0] = *next;
	*next = IPPROTO_FRAGMENT;
	put16(data + 2, (uint32_t)f->from | !f->is_last);
	put32(data + 4, f->id);
	put16(ip + 4, (uint32_t)(more + FRAGMENT_HEADER + f->to - f->from));
}

void odd_build_fragment(const struct lab_packet *packet, const struct odd_form *form,
			const struct odd_fragment *f, struct lab_frame *frame)
{
	uint8_t *ip = frame->data + LAB_ETH + odd_l2_len(form);

	odd_build(packet, form, frame);
	if (packet->family == SHUNT_V6) {
		fragment_v6(form, f, frame, ip);
		return;
	}
	fragment_v4(f, frame, ip);
	odd_fix_ipv4(form, frame);
}

void odd_check_frame(const struct lab_result *got, const struct lab_frame *want,
		     enum shunt_reason reason, const char *what)
{
	cr_expect(got->reason == reason, "%s: %s: reason is %s, not %s", lab_what, what,
		  lab_reason_name(got->reason), lab_reason_name(reason));
	cr_expect(got->verdict == LAB_PASS, "%s: %s: verdict %d", lab_what, what, got->verdict);
	cr_expect(got->frame.len == want->len, "%s: %s: %u bytes, not %u", lab_what, what,
		  got->frame.len, want->len);
	for (uint32_t i = 0; i < want->len; i++)
		if (got->frame.data[i] != want->data[i]) {
			cr_expect_fail("%s: %s: byte %u is 0x%02x, not 0x%02x", lab_what, what, i,
				       got->frame.data[i], want->data[i]);
			return;
		}
}

struct lab_packet odd_at_backend(const struct lab *lab, struct lab_packet packet)
{
	packet.dst = lab_backend_addr(lab->kind->family, 1);
	packet.dport = LAB_BACKEND_PORT;
	return packet;
}
