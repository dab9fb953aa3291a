// SPDX-License-Identifier: Apache-2.0
#include "frames.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

static uint32_t sum_bytes(const void *data, unsigned len, uint32_t sum)
{
	const uint8_t *b = data;

	for (unsigned i = 0; i < len; i++)
		sum += i & 1 ? b[i] : b[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

static uint32_t l3_len(const struct frame *f)
{
	return f->v6 ? 40 : 20;
}

static uint32_t l4_sum(const struct frame *f)
{
	const uint8_t *ip = f->data + 14;
	uint32_t len = f->len - f->padding - 14 - l3_len(f);
	uint32_t sum = f->v6 ? sum_bytes(ip + 8, 32, 0) : sum_bytes(ip + 12, 8, 0);

	sum += len + (f->v6 ? ip[6] : ip[9]);
	return sum_bytes(ip + l3_len(f), len, sum);
}

static void finish_sums(struct frame *f)
{
	uint8_t *ip = f->data + 14, *check = ip + l3_len(f) + (f->proto == IPPROTO_TCP ? 16 : 6);
	uint16_t sum;

	if (!f->v6) {
		ip[10] = ip[11] = 0;
		sum = ~sum_bytes(ip, 20, 0);
		ip[10] = sum >> 8;
		ip[11] = sum;
	}
	check[0] = check[1] = 0;
	sum = ~l4_sum(f);
	check[0] = sum >> 8;
	check[1] = sum;
}

static void build_ip(struct frame *f, const char *dst)
{
	uint8_t *ip = f->data + 14;

	if (f->v6) {
		ip[0] = 0x60;
		ip[5] = f->len - 54;
		ip[6] = f->proto;
		ip[7] = 64;
		inet_pton(AF_INET6, "fd00:9::1", ip + 8);
		inet_pton(AF_INET6, dst, ip + 24);
	} else {
		ip[0] = 0x45;
		ip[3] = f->len - 14;
		ip[8] = 64;
		ip[9] = f->proto;
		inet_pton(AF_INET, "192.168.1.1", ip + 12);
		inet_pton(AF_INET, dst, ip + 16);
	}
}

void frame_build(struct frame *f, const char *dst, uint8_t proto, uint16_t dport, uint8_t flags)
{
	uint8_t *l4;

	*f = (struct frame){ .proto = proto, .v6 = strchr(dst, ':') };
	f->len = f->v6 ? 80 : 56;
	memcpy(f->data, "\x02\0\0\0\0\1\x02\0\0\0\0\2", 12);
	f->data[12] = f->v6 ? 0x86 : 0x08;
	f->data[13] = f->v6 ? 0xdd : 0x00;
	build_ip(f, dst);
	l4 = f->data + 14 + l3_len(f);
	l4[0] = 1024 >> 8;
	l4[2] = dport >> 8;
	l4[3] = dport;
	if (proto == IPPROTO_TCP) {
		l4[12] = 0x50;
		l4[13] = flags;
		l4[15] = 64;
	} else {
		l4[5] = f->len - 14 - l3_len(f);
	}
	finish_sums(f);
}

void frame_bare(struct frame *f)
{
	f->padding = f->len - 14 - l3_len(f) - 20;
	f->data[14 + (f->v6 ? 5 : 3)] -= f->padding;
	finish_sums(f);
}

void frame_stamp(const struct frame *f, uint32_t flow, uint8_t flags, struct frame *ret)
{
	uint16_t port = 1024 + (flow & 0x7fff);
	uint8_t *ip = ret->data + 14;

	*ret = *f;
	ip[l3_len(f)] = port >> 8;
	ip[l3_len(f) + 1] = port;
	if (!f->v6)
		ip[14] += flow >> 15;
	if (f->proto == IPPROTO_TCP)
		ip[l3_len(f) + 13] = flags;
	finish_sums(ret);
}

void frame_answer(const struct frame *request, uint8_t flags, uint32_t seq, uint32_t ack,
		  struct frame *ret)
{
	const uint8_t *from = request->data + 14, *ports = from + l3_len(request);
	uint8_t *to = ret->data + 14, *l4 = to + l3_len(request);

	*ret = *request;
	if (request->v6) {
		memcpy(to + 8, from + 24, 16);
		memcpy(to + 24, from + 8, 16);
	} else {
		memcpy(to + 12, from + 16, 4);
		memcpy(to + 16, from + 12, 4);
	}
	memcpy(l4, ports + 2, 2);
	memcpy(l4 + 2, ports, 2);
	seq = htonl(seq);
	memcpy(l4 + 4, &seq, 4);
	l4[13] = flags;
	frame_acknowledge(ret, ack);
}

void frame_acknowledge(struct frame *f, uint32_t ack)
{
	ack = htonl(ack);
	memcpy(f->data + 14 + l3_len(f) + 8, &ack, 4);
	finish_sums(f);
}

bool frame_sums_right(const struct frame *f)
{
	return l4_sum(f) == 0xffff && (f->v6 || sum_bytes(f->data + 14, 20, 0) == 0xffff);
}

struct shunt_tuple frame_tuple(const struct frame *f)
{
	const uint8_t *ip = f->data + 14, *l4 = ip + l3_len(f);
	struct shunt_tuple t = { .proto = f->proto, .family = f->v6 ? SHUNT_V6 : SHUNT_V4 };
	unsigned word = f->v6 ? 0 : 3, len = f->v6 ? 16 : 4;

	memcpy(&t.src.word_be[word], ip + (f->v6 ? 8 : 12), len);
	memcpy(&t.dst.word_be[word], ip + (f->v6 ? 24 : 16), len);
	memcpy(&t.sport_be, l4, 2);
	memcpy(&t.dport_be, l4 + 2, 2);
	return t;
}
