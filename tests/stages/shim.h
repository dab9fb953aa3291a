/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_STAGES_SHIM_H
#define SHUNT_TESTS_STAGES_SHIM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <linux/bpf.h>

/*
 * The kernel around the stage headers, for a build of bpf/ as an ordinary program: a packet in
 * memory below 4 GiB (its context has 32-bit pointers), the helpers, and maps in memory. What
 * the kernel keeps from a program (bytes outside of the linear part) AddressSanitizer keeps
 * from this one.
 *
 * stages_tc.c and stages_xdp.c are compiled with `-include shim.h`: a helper that is not
 * declared below does not compile. To add one: declare it here, write it in shim.c, and if
 * what it answers lies outside of packet and maps (a clock, a route), script it for the
 * kernel's side, too (script.h). Maps need nothing: they are read from the BPF objects.
 *
 * One thread; one packet at a time.
 */

enum shim_hook { SHIM_TC, SHIM_XDP, SHIM_XDP_PLAIN }; /* plain: kernels before 5.18 */

#define SHIM_FRAME_MAX 2048
#define SHIM_HEADROOM  256  /* XDP_PACKET_HEADROOM */
#define SHIM_XDP_ROOM  3520 /* what BPF_PROG_TEST_RUN leaves a frame to grow into */

/* ---- packets ------------------------------------------------------------------------------ */

struct shim_packet {
	enum shim_hook hook;
	uint32_t ifindex;
	uint32_t segments;	      /* tc: gso_segs */
	uint32_t linear;	      /* bytes that are linear at first, 14 or more; >= len: all */
	uint32_t len;		      /* before and after */
	uint8_t data[SHIM_FRAME_MAX]; /* before and after */
};

static inline bool shim_is_xdp(const struct shim_packet *packet)
{
	return packet->hook != SHIM_TC;
}

/* The programs: the same names as in bpf/. */
#define SHIM_VISIBLE __attribute__((visibility("default")))
SHIM_VISIBLE int shunt_tc_ingress(struct __sk_buff *ctx);
SHIM_VISIBLE int shunt_tc_egress(struct __sk_buff *ctx);
SHIM_VISIBLE int shunt_xdp_ingress(struct xdp_md *ctx);
SHIM_VISIBLE int shunt_xdp_plain_ingress(struct xdp_md *ctx);

/* Maps the arena for packets. Once, before all else. Return: 0 or -errno. */
int shim_start(void);

/* Runs a program on @packet, at least 14 bytes, and changes it. Return: its verdict. */
int shim_run(struct shim_packet *packet, bool egress);

/* The Ethernet address of the gates: what the kernel compares for skb->pkt_type. */
extern const uint8_t shim_gate_mac[6];

/* ---- maps --------------------------------------------------------------------------------- */

#define SHIM_MAX_MAPS 96

struct shim_map {
	char name[32];
	enum bpf_map_type type;
	uint32_t key_size, value_size;
	uint32_t stride; /* bytes of a value in an array, as the kernel places them */
	uint32_t n;	 /* most entries */
	uint8_t *values; /* n * stride */
	uint8_t *keys;	 /* hashes: n * key_size */
	bool *used;	 /* hashes */
};

extern struct shim_map shim_maps[SHIM_MAX_MAPS];
extern size_t shim_n_maps;

/* Makes a map in memory; nothing if there is one of that name. Return: 0 or -ENOMEM, -E2BIG. */
int shim_map_make(const char *name, enum bpf_map_type type, uint32_t key_size, uint32_t value_size,
		  uint32_t n);

/* The map of a name, as written in a program: "&NAME" or "NAME". Ends the program if none. */
struct shim_map *shim_map(const char *name);

/* Entry @index of an array; ends the program when there is none. */
void *shim_at(const char *name, uint32_t index);

/* Zeroes and empties every map. */
void shim_maps_clear(void);

void *shim_lookup(struct shim_map *map, const void *key);
long shim_update(struct shim_map *map, const void *key, const void *value, uint64_t flags);
long shim_delete(struct shim_map *map, const void *key);

/* A record of a ring buffer, which nobody reads; NULL: too large. */
void *shim_reserve(size_t size);

/* ---- what a BPF program includes of libbpf ----------------------------------------------------
 */

#ifdef SHIM_STAGES
#include <arpa/inet.h>
#include <bpf/bpf_endian.h>
#include "script.h"

#define SEC(name)	__attribute__((used))
#define __uint(name, n) int(*name)[n]
#define __type(name, t) __typeof__(t) *name
#undef __always_inline
#define __always_inline inline __attribute__((always_inline))

#define SHIM_MAP(map)                                                                              \
	({                                                                                         \
		static struct shim_map *map_;                                                      \
		map_ = map_ ?: shim_map(#map);                                                     \
		map_;                                                                              \
	})
#define bpf_map_lookup_elem(map, key)		    shim_lookup(SHIM_MAP(map), key)
#define bpf_map_update_elem(map, key, value, flags) shim_update(SHIM_MAP(map), key, value, flags)
#define bpf_map_delete_elem(map, key)		    shim_delete(SHIM_MAP(map), key)
#define bpf_ringbuf_reserve(map, size, flags)	    shim_reserve(size)
#define bpf_ringbuf_submit(record, flags)	    ((void)(record))
#endif

/* The contexts name the packet that runs; the helpers know it anyway. */
int64_t bpf_csum_diff(const void *from, uint32_t from_size, const void *to, uint32_t to_size,
		      uint32_t seed);
long bpf_redirect(uint32_t ifindex, uint64_t flags);
long bpf_redirect_peer(uint32_t ifindex, uint64_t flags);
long bpf_redirect_neigh(uint32_t ifindex, struct bpf_redir_neigh *next, int len, uint64_t flags);
long bpf_skb_pull_data(struct __sk_buff *ctx, uint32_t len);
long bpf_skb_load_bytes(const void *ctx, uint32_t offset, void *to, uint32_t len);
long bpf_skb_store_bytes(struct __sk_buff *ctx, uint32_t offset, const void *from, uint32_t len,
			 uint64_t flags);
long bpf_skb_change_type(struct __sk_buff *ctx, uint32_t type);
long bpf_skb_change_head(struct __sk_buff *ctx, uint32_t len, uint64_t flags);
long bpf_skb_change_tail(struct __sk_buff *ctx, uint32_t len, uint64_t flags);
long bpf_l3_csum_replace(struct __sk_buff *ctx, uint32_t offset, uint64_t from, uint64_t to,
			 uint64_t flags);
long bpf_l4_csum_replace(struct __sk_buff *ctx, uint32_t offset, uint64_t from, uint64_t to,
			 uint64_t flags);
long bpf_xdp_adjust_head(struct xdp_md *ctx, int delta);
long bpf_xdp_adjust_tail(struct xdp_md *ctx, int delta);
long bpf_xdp_load_bytes(struct xdp_md *ctx, uint32_t offset, void *to, uint32_t len);
long bpf_xdp_store_bytes(struct xdp_md *ctx, uint32_t offset, const void *from, uint32_t len);
uint64_t bpf_xdp_get_buff_len(struct xdp_md *ctx);

#endif
