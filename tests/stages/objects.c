// SPDX-License-Identifier: Apache-2.0
#include "objects.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "policies.h"
#include "script.h"
#include "stages/diff_tc.skel.h"
#include "stages/diff_xdp.skel.h"
#include "stages/diff_xdp_plain.skel.h"

#define MAX_CPUS 512

/* Entries, where it is not as many as DEFAULT_ENTRIES: the flow table is small, to be full. */
#define DEFAULT_ENTRIES 128
#define FLOW_SETS	4
static const struct {
	const char *name;
	uint32_t n;
} sizes[] = {
	{ "shunt_flow_sets", FLOW_SETS },
	{ "shunt_flows", FLOW_SETS * 16 },
	{ "shunt_reply_sets", FLOW_SETS * 4 },
	{ "shunt_sessions", 4096 },
	{ "shunt_breaker_words", (POLICIES_BUCKETS + 1) * SHUNT_BREAKER_WORDS },
	{ "shunt_eject_places", 64 * SHUNT_N_FAMILIES *SHUNT_EJECT_PLACES }, /* of all variants */
};

/* What no program reads: not made, or a clear of all maps would take most of the time. */
static const char *const unread[] = { "shunt_layout", "shunt_service_names",
				      "shunt_variant_names" };
/* What holds pointers and leftovers of the packet before. */
static const char *const not_compared[] = { "shunt_scratch" };

static struct diff_tc *tc;
static struct diff_xdp *xdp;
static struct diff_xdp_plain *plain;
static struct {
	int fd;
	uint8_t *mapped; /* arrays */
	bool compared;
} kernel[SHIM_MAX_MAPS];
static uint32_t gates[2] = { 1, 2 };

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(2);
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return true;
	return false;
}

/* ---- life ----------------------------------------------------------------------------------- */

static uint32_t entries(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		if (!strcmp(sizes[i].name, name))
			return sizes[i].n;
	if (bpf_map__max_entries(map) < DEFAULT_ENTRIES)
		return bpf_map__max_entries(map);
	return bpf_map__type(map) == BPF_MAP_TYPE_LRU_HASH ? 4096 : DEFAULT_ENTRIES;
}

static void make_maps(struct bpf_object *obj)
{
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
	{
		/* What a ring buffer has told is gone. */
		if (bpf_map__is_internal(map) || bpf_map__type(map) == BPF_MAP_TYPE_RINGBUF ||
		    is_one_of(bpf_map__name(map), unread, ARRAY_LEN(unread)))
			continue;
		bpf_map__set_max_entries(map, entries(map));
		if (shim_map_make(bpf_map__name(map), bpf_map__type(map), bpf_map__key_size(map),
				  bpf_map__value_size(map), bpf_map__max_entries(map)))
			die("%s: no memory", bpf_map__name(map));
	}
}

void objects_open(void)
{
	libbpf_set_print(quiet);
	tc = diff_tc__open();
	xdp = diff_xdp__open();
	plain = diff_xdp_plain__open();
	if (!tc || !xdp || !plain)
		die("opening the BPF objects: %s", strerror(errno));
	make_maps(tc->obj);
	make_maps(xdp->obj);
	make_maps(plain->obj);
}

static void make_gates(void)
{
	char command[256];

	if (unshare(CLONE_NEWNET))
		die("unshare: %s (the comparison needs root)", strerror(errno));
	snprintf(
		command, sizeof(command),
		"ip link add gate0 address %02x:%02x:%02x:%02x:%02x:%02x type veth peer name gate1 "
		"address %02x:%02x:%02x:%02x:%02x:%02x",
		shim_gate_mac[0], shim_gate_mac[1], shim_gate_mac[2], shim_gate_mac[3],
		shim_gate_mac[4], shim_gate_mac[5], shim_gate_mac[0], shim_gate_mac[1],
		shim_gate_mac[2], shim_gate_mac[3], shim_gate_mac[4], shim_gate_mac[5]);
	if (system(command))
		die("no veth pair");
	gates[0] = if_nametoindex("gate0");
	gates[1] = if_nametoindex("gate1");
}

static void share_maps(struct bpf_object *with)
{
	const struct bpf_map *shared;
	struct bpf_map *map;

	bpf_object__for_each_map(map, with)
	{
		shared = bpf_object__find_map_by_name(tc->obj, bpf_map__name(map));
		if (shared && !bpf_map__is_internal(map) &&
		    bpf_map__reuse_fd(map, bpf_map__fd(shared)))
			die("%s: %s", bpf_map__name(map), strerror(errno));
	}
}

static void find_map(size_t i)
{
	const struct shim_map *map = &shim_maps[i];
	const struct bpf_map *bpf = bpf_object__find_map_by_name(tc->obj, map->name);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	if (!bpf)
		bpf = bpf_object__find_map_by_name(xdp->obj, map->name);
	kernel[i].fd = bpf_map__fd(bpf);
	kernel[i].compared = !is_one_of(map->name, not_compared, ARRAY_LEN(not_compared));
	if (!(bpf_map__map_flags(bpf) & BPF_F_MMAPABLE))
		return;
	kernel[i].mapped = mmap(NULL, ((size_t)map->n * map->stride + page - 1) / page * page,
				PROT_READ | PROT_WRITE, MAP_SHARED, kernel[i].fd, 0);
	if (kernel[i].mapped == MAP_FAILED)
		die("%s: mmap: %s", map->name, strerror(errno));
}

void objects_load(void)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one); /* the per-CPU lists of an LRU hash */
	make_gates();
	if (diff_tc__load(tc))
		die("loading tc: %s (the comparison needs root)", strerror(errno));
	share_maps(xdp->obj);
	share_maps(plain->obj);
	if (diff_xdp__load(xdp) || diff_xdp_plain__load(plain))
		die("loading XDP: %s", strerror(errno));
	for (size_t i = 0; i < shim_n_maps; i++)
		find_map(i);
}

uint32_t objects_gate(int gate)
{
	return gates[gate];
}

/* ---- what is in the maps ----------------------------------------------------------------------
 */

static void push_percpu(const struct shim_map *map, int fd)
{
	static uint64_t values[MAX_CPUS * 64];

	if (map->stride * (uint32_t)libbpf_num_possible_cpus() > sizeof(values))
		die("%s: values are too large to be written for each CPU", map->name);
	for (uint32_t i = 0; i < map->n; i++) {
		memset(values, 0, sizeof(values));
		memcpy(values, map->values + (size_t)i * map->stride, map->value_size);
		if (bpf_map_update_elem(fd, &i, values, BPF_ANY))
			die("%s: %s", map->name, strerror(errno));
	}
}

static void push_hash(const struct shim_map *map, int fd)
{
	uint8_t key[256];

	while (!bpf_map_get_next_key(fd, NULL, key))
		bpf_map_delete_elem(fd, key);
	for (uint32_t i = 0; i < map->n; i++)
		if (map->used[i] &&
		    bpf_map_update_elem(fd, map->keys + (size_t)i * map->key_size,
					map->values + (size_t)i * map->stride, BPF_ANY))
			die("%s: %s", map->name, strerror(errno));
}

void objects_push(const struct shim_map *map)
{
	size_t i = (size_t)(map - shim_maps);

	if (!kernel[i].compared)
		return;
	if (kernel[i].mapped)
		memcpy(kernel[i].mapped, map->values, (size_t)map->n * map->stride);
	else if (map->used)
		push_hash(map, kernel[i].fd);
	else
		push_percpu(map, kernel[i].fd);
}

void objects_push_all(void)
{
	for (size_t i = 0; i < shim_n_maps; i++)
		objects_push(&shim_maps[i]);
}

static bool differ(const struct shim_map *map, uint32_t index, const uint8_t *ours,
		   const uint8_t *theirs)
{
	uint32_t at = 0;

	if (!memcmp(ours, theirs, map->value_size))
		return false;
	while (ours[at] == theirs[at])
		at++;
	printf("%s, entry %u: byte %u is 0x%02x here and 0x%02x in the kernel\n", map->name, index,
	       at, ours[at], theirs[at]);
	return true;
}

static bool compare_percpu(const struct shim_map *map, int fd)
{
	static uint64_t values[MAX_CPUS * 64];
	uint32_t words = map->stride / 8;

	for (uint32_t i = 0; i < map->n; i++) {
		if (bpf_map_lookup_elem(fd, &i, values))
			die("%s: %s", map->name, strerror(errno));
		for (uint32_t w = words; w < words * (uint32_t)libbpf_num_possible_cpus(); w++)
			values[w % words] += values[w];
		if (differ(map, i, map->values + (size_t)i * map->stride, (uint8_t *)values))
			return false;
	}
	return true;
}

static bool compare_hash(struct shim_map *map, int fd)
{
	uint8_t key[256], value[4096];
	uint32_t n = 0, ours = 0;
	void *before = NULL;

	for (uint32_t i = 0; i < map->n; i++)
		ours += map->used[i];
	if (ours > map->n / 2)
		die("%s: %u entries: the kernel may have forgotten some", map->name, ours);
	for (; !bpf_map_get_next_key(fd, before, key); before = key, n++) {
		uint8_t *mine = shim_lookup(map, key);

		if (bpf_map_lookup_elem(fd, key, value))
			die("%s: %s", map->name, strerror(errno));
		if (mine && differ(map, n, mine, value))
			return false;
		if (!mine)
			break;
	}
	if (n == ours)
		return true;
	printf("%s: another set of keys here (%u) than in the kernel\n", map->name, ours);
	return false;
}

bool objects_compare(void)
{
	bool same = true;

	for (size_t i = 0; i < shim_n_maps && same; i++) {
		struct shim_map *map = &shim_maps[i];

		if (!kernel[i].compared)
			continue;
		if (!kernel[i].mapped)
			same = map->used ? compare_hash(map, kernel[i].fd)
					 : compare_percpu(map, kernel[i].fd);
		else if (memcmp(map->values, kernel[i].mapped, (size_t)map->n * map->stride))
			for (uint32_t n = 0; n < map->n && same; n++)
				same = !differ(map, n, map->values + (size_t)n * map->stride,
					       kernel[i].mapped + (size_t)n * map->stride);
	}
	return same;
}

/* ---- runs ---------------------------------------------------------------------------------------
 */

bool objects_run(struct shim_packet *packet, bool egress, int *ret_verdict)
{
	struct xdp_md md = {
		.data_end = packet->linear < packet->len ? packet->linear : packet->len,
		.ingress_ifindex = packet->ifindex,
	};
	struct __sk_buff skb = { .ifindex = packet->ifindex, .gso_segs = packet->segments };
	uint8_t in[SHIM_FRAME_MAX];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in, .data_size_in = packet->len,
		    .data_out = packet->data, .data_size_out = sizeof(packet->data), .repeat = 1);
	int fd, r;

	memcpy(in, packet->data, packet->len);
	if (shim_is_xdp(packet)) {
		fd = bpf_program__fd(packet->hook == SHIM_XDP ? xdp->progs.shunt_xdp_ingress
							      : plain->progs.shunt_xdp_ingress);
		opts.ctx_in = &md;
		opts.ctx_size_in = sizeof(md);
	} else {
		fd = bpf_program__fd(egress ? tc->progs.shunt_tc_egress
					    : tc->progs.shunt_tc_ingress);
		opts.ctx_in = &skb;
		opts.ctx_size_in = sizeof(skb);
	}
	tc->bss->script = xdp->bss->script = plain->bss->script = script;
	r = bpf_prog_test_run_opts(fd, &opts);
	if (r == -EINVAL)
		return false;
	if (r < 0)
		die("the kernel does not run a frame of %u bytes: %s", packet->len, strerror(-r));
	packet->len = opts.data_size_out;
	*ret_verdict = (int)opts.retval;
	return true;
}
