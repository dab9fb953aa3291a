// SPDX-License-Identifier: Apache-2.0
/*
 * A packet and the helpers, as Linux 6.18 does them (net/core/filter.c). Errors are errors, but
 * not by their numbers: the programs only ask whether there was one.
 */
#include "shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/pkt_cls.h>
#include <sanitizer/asan_interface.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "script.h"

#define ARENA_BYTES 8192
#define ALIGN	    2 /* the frame begins here, so that what follows Ethernet is aligned */
#define TC_ROOM	    (ARENA_BYTES - SHIM_HEADROOM - ALIGN)

/* Zero in a test run of the kernel: who sends what was there before, shows. */
#define HEADROOM_FILL 0xa5

struct script script;
const uint8_t shim_gate_mac[6] = { 0x02, 0, 0, 0, 0, 0x01 };

/* The packet that runs. It begins at data and is len long; linear bytes of it are readable. */
static struct {
	enum shim_hook hook;
	uint8_t *arena, *data;
	uint32_t len, linear;
	struct __sk_buff skb;
	struct xdp_md xdp;
} now;

/* ---- memory --------------------------------------------------------------------------------- */

/* Helpers see the whole frame; programs what is linear. */
static void expose(bool whole)
{
	ASAN_POISON_MEMORY_REGION(now.arena, ARENA_BYTES);
	ASAN_UNPOISON_MEMORY_REGION(now.data, whole ? now.len : now.linear);
}

static void place(void)
{
	uint32_t data = (uint32_t)(uintptr_t)now.data;

	expose(false);
	now.skb.data = now.xdp.data = data;
	now.skb.data_end = now.xdp.data_end = data + now.linear;
	now.skb.len = now.len;
}

static bool is_outside(uint32_t offset, uint32_t len)
{
	return offset > now.len || len > now.len - offset;
}

/* Copies from the frame. Return: 0, or -EFAULT outside of it. */
static long load(uint32_t offset, void *to, uint32_t len)
{
	if (is_outside(offset, len))
		return -EFAULT;
	expose(true);
	memcpy(to, now.data + offset, len);
	expose(false);
	return 0;
}

static long store(uint32_t offset, const void *from, uint32_t len)
{
	if (is_outside(offset, len))
		return -EFAULT;
	expose(true);
	memcpy(now.data + offset, from, len);
	expose(false);
	return 0;
}

/* Makes the first @len bytes linear, as everything does that writes. */
static long make_linear(uint32_t len)
{
	if (len > now.len)
		return -ENOMEM;
	if (len > now.linear)
		now.linear = len;
	place();
	return 0;
}

int shim_start(void)
{
	now.arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	return now.arena == MAP_FAILED ? -errno : 0;
}

/* As eth_type_trans() says. */
static uint32_t packet_type(const uint8_t *destination)
{
	static const uint8_t everybody[6] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff };

	if (!memcmp(destination, shim_gate_mac, 6))
		return PACKET_HOST;
	if (!memcmp(destination, everybody, 6))
		return PACKET_BROADCAST;
	return destination[0] & 1 ? PACKET_MULTICAST : PACKET_OTHERHOST;
}

static uint16_t protocol(const struct shim_packet *packet)
{
	const uint8_t *type = packet->data + 12;

	if (type[0] >= ETH_P_802_3_MIN >> 8)
		return (uint16_t)(type[1] << 8 | type[0]);
	if (packet->len >= 16 && type[2] == 0xff && type[3] == 0xff)
		return htons(ETH_P_802_3);
	return htons(ETH_P_802_2);
}

static void begin(const struct shim_packet *packet)
{
	now.hook = packet->hook;
	now.data = now.arena + ALIGN + SHIM_HEADROOM;
	now.len = packet->len;
	now.linear = packet->len;
	ASAN_UNPOISON_MEMORY_REGION(now.arena, ARENA_BYTES);
	memset(now.arena, HEADROOM_FILL, SHIM_HEADROOM + ALIGN);
	memcpy(now.data, packet->data, packet->len);
	if (packet->linear < packet->len)
		now.linear = packet->linear;
	now.skb = (struct __sk_buff){
		.ifindex = packet->ifindex,
		.ingress_ifindex = packet->ifindex,
		.gso_segs = packet->segments,
		.protocol = protocol(packet),
		.pkt_type = packet_type(packet->data),
	};
	now.xdp = (struct xdp_md){ .ingress_ifindex = packet->ifindex };
	place();
}

int shim_run(struct shim_packet *packet, bool egress)
{
	int verdict;

	begin(packet);
	if (packet->hook == SHIM_XDP)
		verdict = shunt_xdp_ingress(&now.xdp);
	else if (packet->hook == SHIM_XDP_PLAIN)
		verdict = shunt_xdp_plain_ingress(&now.xdp);
	else
		verdict = egress ? shunt_tc_egress(&now.skb) : shunt_tc_ingress(&now.skb);
	packet->len = now.len;
	if (now.len > sizeof(packet->data))
		abort();
	load(0, packet->data, now.len);
	return verdict;
}

/* ---- both hooks -------------------------------------------------------------------------------
 */

static uint32_t add32(uint32_t a, uint32_t b)
{
	return a + b + (a + b < a);
}

static uint16_t fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

static uint32_t sum(const uint8_t *data, uint32_t len, uint32_t start)
{
	uint32_t word;

	for (; len; len -= 4, data += 4) {
		memcpy(&word, data, 4);
		start = add32(start, word);
	}
	return start;
}

int64_t bpf_csum_diff(const void *from, uint32_t from_size, const void *to, uint32_t to_size,
		      uint32_t seed)
{
	if (from_size & 3 || to_size & 3 || from_size > 512 || to_size > 512)
		return -EINVAL;
	if (from_size)
		seed = add32(seed, ~sum(from, from_size, 0));
	return fold(sum(to, to_size, seed));
}

long bpf_redirect(uint32_t ifindex, uint64_t flags)
{
	(void)ifindex;
	if (now.hook != SHIM_TC)
		return flags > XDP_TX ? XDP_ABORTED : XDP_REDIRECT;
	return flags & ~(uint64_t)BPF_F_INGRESS ? TC_ACT_SHOT : TC_ACT_REDIRECT;
}

/* Where a packet is sent does not show in a test run; that it is, does. */
long bpf_redirect_peer(uint32_t ifindex, uint64_t flags)
{
	(void)ifindex;
	return flags ? TC_ACT_SHOT : TC_ACT_REDIRECT;
}

long bpf_redirect_neigh(uint32_t ifindex, struct bpf_redir_neigh *next, int len, uint64_t flags)
{
	(void)ifindex;
	if (flags || (len && len < (int)sizeof(*next)))
		return TC_ACT_SHOT;
	return TC_ACT_REDIRECT;
}

/* ---- tc -----------------------------------------------------------------------------------------
 */

long bpf_skb_pull_data(struct __sk_buff *ctx, uint32_t len)
{
	(void)ctx;
	return make_linear(len ? len : now.linear);
}

long bpf_skb_load_bytes(const void *ctx, uint32_t offset, void *to, uint32_t len)
{
	long r = offset > 0xffff ? -EFAULT : load(offset, to, len);

	(void)ctx;
	if (r)
		memset(to, 0, len);
	return r;
}

long bpf_skb_store_bytes(struct __sk_buff *ctx, uint32_t offset, const void *from, uint32_t len,
			 uint64_t flags)
{
	(void)ctx;
	if (flags & ~(uint64_t)(BPF_F_RECOMPUTE_CSUM | BPF_F_INVALIDATE_HASH))
		return -EINVAL;
	if (offset > INT32_MAX || (uint64_t)offset + len > now.len || make_linear(offset + len))
		return -EFAULT;
	return store(offset, from, len);
}

/* The kernel changes nobody's type to or from that of a frame sent to itself. */
long bpf_skb_change_type(struct __sk_buff *ctx, uint32_t type)
{
	if (ctx->pkt_type > PACKET_OTHERHOST || type > PACKET_OTHERHOST)
		return -EINVAL;
	ctx->pkt_type = type;
	return 0;
}

long bpf_skb_change_head(struct __sk_buff *ctx, uint32_t len, uint64_t flags)
{
	(void)ctx;
	if (flags || now.len + len > TC_ROOM || len > (uint32_t)(now.data - now.arena - ALIGN))
		return -EINVAL;
	now.data -= len;
	now.len += len;
	now.linear += len;
	expose(true);
	memset(now.data, 0, len);
	place();
	return 0;
}

long bpf_skb_change_tail(struct __sk_buff *ctx, uint32_t len, uint64_t flags)
{
	uint32_t old = now.len;

	if (flags || len < ETH_HLEN || len > TC_ROOM)
		return -EINVAL;
	now.len = len;
	expose(true);
	if (len > old) {
		memset(now.data + old, 0, len - old);
		now.linear = len;
	} else if (now.linear > len) {
		now.linear = len;
	}
	ctx->gso_segs = 0;
	place();
	return 0;
}

/* The 16-bit checksum at @offset, with @diff in its sum. */
static uint16_t with_diff(uint16_t check, uint32_t diff)
{
	return (uint16_t)~fold(add32(diff, ~(uint32_t)check));
}

static long change_csum(uint32_t offset, uint64_t from, uint64_t to, uint64_t flags,
			uint16_t *check)
{
	uint32_t diff = (uint32_t)to;

	if (offset > 0xffff || offset & 1 || make_linear(offset + sizeof(*check)))
		return -EFAULT;
	load(offset, check, sizeof(*check));
	switch (flags & BPF_F_HDR_FIELD_MASK) {
	case 0:
		if (from)
			return -EINVAL;
		break;
	case 2:
	case 4:
		diff = add32(~(uint32_t)from, (uint32_t)to);
		break;
	default:
		return -EINVAL;
	}
	if (flags & BPF_F_MARK_MANGLED_0 && !*check)
		return 0;
	*check = with_diff(*check, diff);
	if (flags & BPF_F_MARK_MANGLED_0 && !*check)
		*check = 0xffff;
	return store(offset, check, sizeof(*check));
}

long bpf_l3_csum_replace(struct __sk_buff *ctx, uint32_t offset, uint64_t from, uint64_t to,
			 uint64_t flags)
{
	uint16_t check;

	(void)ctx;
	if (flags & ~(uint64_t)BPF_F_HDR_FIELD_MASK)
		return -EINVAL;
	return change_csum(offset, from, to, flags, &check);
}

long bpf_l4_csum_replace(struct __sk_buff *ctx, uint32_t offset, uint64_t from, uint64_t to,
			 uint64_t flags)
{
	const uint64_t known = BPF_F_MARK_MANGLED_0 | BPF_F_MARK_ENFORCE | BPF_F_PSEUDO_HDR |
			       BPF_F_HDR_FIELD_MASK | 1u << 7 /* BPF_F_IPV6 */;
	uint16_t check;

	(void)ctx;
	if (flags & ~known)
		return -EINVAL;
	return change_csum(offset, from, to, flags, &check);
}

/* ---- XDP
 * ------------------------------------------------------------------------------------------ */

long bpf_xdp_adjust_head(struct xdp_md *ctx, int delta)
{
	(void)ctx;
	if (delta < now.arena + ALIGN - now.data || delta > (int)now.linear - ETH_HLEN)
		return -EINVAL;
	now.data += delta;
	now.len -= (uint32_t)delta;
	now.linear -= (uint32_t)delta;
	place();
	return 0;
}

long bpf_xdp_adjust_tail(struct xdp_md *ctx, int delta)
{
	long room = now.arena + ALIGN + SHIM_HEADROOM + SHIM_XDP_ROOM - now.data;
	long len = (long)now.len + delta;

	(void)ctx;
	if (len > room || len < ETH_HLEN || (delta >= 0 && now.linear < now.len))
		return -EINVAL; /* a test run's receive queue lets no later buffer grow */
	now.len = (uint32_t)len;
	expose(true);
	if (delta > 0)
		memset(now.data + now.len - delta, 0, (size_t)delta);
	if (delta > 0 || now.linear > now.len)
		now.linear = now.len;
	place();
	return 0;
}

long bpf_xdp_load_bytes(struct xdp_md *ctx, uint32_t offset, void *to, uint32_t len)
{
	(void)ctx;
	return load(offset, to, len);
}

long bpf_xdp_store_bytes(struct xdp_md *ctx, uint32_t offset, const void *from, uint32_t len)
{
	(void)ctx;
	return store(offset, from, len);
}

uint64_t bpf_xdp_get_buff_len(struct xdp_md *ctx)
{
	(void)ctx;
	return now.len;
}
