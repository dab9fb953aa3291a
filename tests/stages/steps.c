// SPDX-License-Identifier: Apache-2.0
#include "steps.h"

#include <string.h>

#include "objects.h"

#define ETH 14u

enum { SYN = 0x02, ACK = 0x10 };

bool step_read(const uint8_t *data, size_t size, size_t *at, struct step *ret_step)
{
	const uint8_t *d = data + *at;
	size_t left = size - *at, need = 3;
	struct step s = { 0 };

	if (left < 3)
		return false;
	s.op = 1 + (d[0] + 4) % 5;
	s.where = d[1];
	s.a = s.op == STEP_EDIT ? d[1] : d[2];
	if (s.op == STEP_FRAME) {
		need = 4;
		s.len = left < 4 ? 0 : (uint16_t)(d[2] | d[3] << 8);
		s.len = s.len < left - 4 ? s.len : (uint16_t)(left - 4);
		s.frame = d + 4;
		need += s.len;
	} else if (s.op == STEP_TIME) {
		s.value = (uint16_t)(d[1] | d[2] << 8);
	} else if (s.op == STEP_EDIT) {
		s.value = d[2];
	} else {
		need = 4;
		s.n = left < 4 ? 0 : d[3] % (STEP_EDITS + 1);
		for (int i = 0; i < s.n && need + 2 <= left; i++, need += 2) {
			s.edit[i].at = d[need];
			s.edit[i].value = d[need + 1];
		}
	}
	if (need > left)
		return false;
	*at += need;
	*ret_step = s;
	return true;
}

void history_add(struct history *history, const struct shim_packet *sent,
		 const struct shim_packet *packet, bool egress)
{
	uint32_t i;

	if (sent->len == packet->len && !memcmp(sent->data, packet->data, sent->len) &&
	    history->untouched++ % 4)
		return;
	i = history->n++ % STEP_HISTORY;

	history->past[i].packet = *packet;
	history->past[i].egress = egress;
}

/* ---- frames made of others --------------------------------------------------------------------
 */

static void swap(uint8_t *a, uint8_t *b, size_t len)
{
	uint8_t t;

	for (size_t i = 0; i < len; i++) {
		t = a[i];
		a[i] = b[i];
		b[i] = t;
	}
}

static void put32(uint8_t *at, uint32_t value)
{
	for (int i = 3; i >= 0; i--, value >>= 8)
		at[i] = (uint8_t)value;
}

/* Where the IP header of a frame begins behind VLAN tags, and its version; 0: none that fits. */
static uint32_t find_ip(const struct shim_packet *p, uint32_t *ret_at)
{
	uint32_t at = ETH - 2;

	while (at + 6 < p->len && ((p->data[at] == 0x81 && p->data[at + 1] == 0) ||
				   (p->data[at] == 0x88 && p->data[at + 1] == 0xa8)))
		at += 4;
	*ret_at = at + 2;
	if (at + 2 + 20 > p->len)
		return 0;
	if (p->data[at] == 0x08 && p->data[at + 1] == 0x00)
		return 4;
	if (p->data[at] == 0x86 && p->data[at + 1] == 0xdd && at + 2 + 40 <= p->len)
		return 6;
	return 0;
}

/* Turns a frame round: MACs, addresses, ports; for TCP flags and numbers that fit. */
static void turn(struct shim_packet *p, uint8_t flags)
{
	uint32_t ip, version = find_ip(p, &ip), l4;
	uint8_t proto;

	swap(p->data, p->data + 6, 6);
	if (!version)
		return;
	if (version == 4) {
		swap(p->data + ip + 12, p->data + ip + 16, 4);
		proto = p->data[ip + 9];
		l4 = ip + (p->data[ip] & 15) * 4u;
	} else {
		swap(p->data + ip + 8, p->data + ip + 24, 16);
		proto = p->data[ip + 6];
		l4 = ip + 40;
	}
	if (l4 + 4 > p->len)
		return;
	swap(p->data + l4, p->data + l4 + 2, 2);
	if (proto != 6 || l4 + 20 > p->len)
		return;
	put32(p->data + l4 + 4, 5000);
	put32(p->data + l4 + 8, 5001);
	if (flags == STEP_NATURAL)
		flags = p->data[l4 + 13] == SYN ? SYN | ACK : ACK;
	p->data[l4 + 13] = flags;
}

/* An ICMP error of type @type about @p, from its destination or a router on the way. */
static bool make_error(struct shim_packet *p, uint8_t type, bool from_router)
{
	uint8_t quoted[128];
	uint32_t ip, version = find_ip(p, &ip), len;
	uint8_t *icmp;

	if (!version)
		return false;
	len = p->len - ip < sizeof(quoted) ? p->len - ip : sizeof(quoted);
	memcpy(quoted, p->data + ip, len);
	swap(p->data, p->data + 6, 6);
	if (version == 4) {
		swap(p->data + ip + 12, p->data + ip + 16, 4);
		p->data[ip] = 0x45;
		p->data[ip + 2] = 0;
		p->data[ip + 3] = (uint8_t)(20 + 8 + len);
		p->data[ip + 6] = p->data[ip + 7] = 0;
		p->data[ip + 9] = 1;
		p->data[ip + 15] ^= from_router ? 0x80 : 0;
		icmp = p->data + ip + 20;
	} else {
		swap(p->data + ip + 8, p->data + ip + 24, 16);
		p->data[ip + 4] = 0;
		p->data[ip + 5] = (uint8_t)(8 + len);
		p->data[ip + 6] = 58;
		p->data[ip + 23] ^= from_router ? 0x80 : 0;
		icmp = p->data + ip + 40;
	}
	memset(icmp, 0, 8);
	icmp[0] = type != STEP_NATURAL ? type : version == 4 ? 3 : 1;
	memcpy(icmp + 8, quoted, len);
	p->len = (uint32_t)(icmp - p->data) + 8 + len;
	return true;
}

static bool from_history(const struct step *step, const struct history *history,
			 struct shim_packet *p, bool *egress)
{
	uint32_t back = 1 + (step->where >> 4), i;

	if (back > history->n)
		return false;
	i = (history->n - back) % STEP_HISTORY;
	*p = history->past[i].packet;
	*egress = !history->past[i].egress;
	if (p->len + 128 > sizeof(p->data))
		return false;
	/* As answers of flows do that go past the stack. */
	if (step->op == STEP_ANSWER && step->where & STEP_EGRESS)
		*egress = false;
	if (step->op == STEP_ANSWER)
		turn(p, step->a);
	else if (!make_error(p, step->a, step->where & STEP_EGRESS))
		return false;
	p->segments = 0;
	return true;
}

bool step_packet(const struct step *step, const struct history *history,
		 struct shim_packet *ret_packet, bool *ret_egress)
{
	struct shim_packet *p = ret_packet;

	if (step->op == STEP_FRAME) {
		if (step->len > sizeof(p->data))
			return false;
		p->len = step->len;
		memcpy(p->data, step->frame, step->len);
		*ret_egress = (step->where & STEP_PLAIN) == STEP_EGRESS;
		p->segments = step->where >> 4;
	} else if (!from_history(step, history, p, ret_egress)) {
		return false;
	}
	for (int i = 0; i < step->n; i++)
		if (step->edit[i].at < p->len)
			p->data[step->edit[i].at] = step->edit[i].value;
	p->hook = SHIM_TC;
	if (step->op == STEP_FRAME && (step->where & STEP_PLAIN) == STEP_PLAIN)
		p->hook = SHIM_XDP_PLAIN;
	else if (step->where & STEP_XDP && !*ret_egress)
		p->hook = SHIM_XDP;
	p->segments = p->hook == SHIM_TC ? p->segments : 0;
	p->linear = UINT32_MAX;
	if (step->where & STEP_SPLIT && p->hook != SHIM_XDP_PLAIN)
		p->linear = ETH + step->where % 61;
	p->ifindex = objects_gate(!!(step->where & STEP_GATE_1));
	return p->len >= ETH + (p->hook == SHIM_TC);
}
