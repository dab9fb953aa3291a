// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * The floor: the least that a stateful splitter does for an IPv4 TCP packet. Parse, one
 * lookup in a set-associative table, DNAT with checksums, one per-CPU counter. No time-outs,
 * no second direction, no concurrency: nothing that a product needs. And empty programs.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define FLOOR_SETS (1 << 19)

struct way {
	__u32 saddr, ports, tag, backend;
};

struct set {
	struct way way[4];
};

struct backend {
	__u8 mac[6];
	__be16 port_be;
	__be32 addr_be;
	__u32 reserved;
};

struct counter {
	__u64 packets, bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, FLOOR_SETS);
	__type(key, __u32);
	__type(value, struct set);
} floor_table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct backend);
} floor_backends SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct counter);
} floor_counters SEC(".maps");

static __always_inline __u16 csum_change(__u16 check, __u32 from, __u32 to)
{
	__u64 sum = (__u64)(__u16)~check + (__u32)~from + to;

	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* The backend of a flow; a new flow takes a free way, or any. */
static __always_inline __u32 floor_lookup(__u32 saddr, __u32 ports, __u32 tag)
{
	__u64 h = ((__u64)saddr << 32 | ports) * 0x9e3779b97f4a7c15ull;
	struct set *set;
	__u32 index;

	h ^= h >> 32;
	h = (h + tag) * 0xd6e8feb86659fd93ull;
	index = (h >> 32) & (FLOOR_SETS - 1);
	set = bpf_map_lookup_elem(&floor_table, &index);
	if (!set)
		return 0;
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		if (set->way[i].ports == ports && set->way[i].saddr == saddr &&
		    set->way[i].tag == tag)
			return set->way[i].backend;
#pragma GCC unroll 4
	for (int i = 0; i < 4; i++)
		if (!set->way[i].tag) {
			set->way[i] = (struct way){ saddr, ports, tag, 1 };
			return 1;
		}
	set->way[0] = (struct way){ saddr, ports, tag, 1 };
	return 1;
}

SEC("xdp.frags")
int floor_dnat(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = data + sizeof(*eth);
	struct tcphdr *tcp = (void *)(ip + 1);
	struct backend *backend;
	struct counter *counter;
	__u32 index;

	if ((void *)(tcp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 ||
	    ip->frag_off & bpf_htons(0x3fff) || ip->protocol != IPPROTO_TCP)
		return XDP_PASS;
	index = floor_lookup(ip->saddr, *(__u32 *)tcp, ip->daddr ^ ip->protocol << 8 ^ 1);
	backend = bpf_map_lookup_elem(&floor_backends, &index);
	if (!backend)
		return XDP_DROP;
	ip->check = csum_change(ip->check, ip->daddr, backend->addr_be);
	tcp->check = csum_change(csum_change(tcp->check, ip->daddr, backend->addr_be), tcp->dest,
				 backend->port_be);
	ip->daddr = backend->addr_be;
	tcp->dest = backend->port_be;
	__builtin_memcpy(eth->h_source, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, backend->mac, ETH_ALEN);
	counter = bpf_map_lookup_elem(&floor_counters, &index);
	if (counter) {
		counter->packets++;
		counter->bytes += ctx->data_end - ctx->data;
	}
	return XDP_PASS;
}

SEC("xdp.frags")
int floor_empty(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

SEC("tc")
int floor_empty_tc(struct __sk_buff *ctx)
{
	(void)ctx;
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
