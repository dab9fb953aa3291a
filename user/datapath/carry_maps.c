// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "datapath/carry.h"
#include "datapath/flowmem.h"

static void array_closep(struct shunt_dp_array *array)
{
	shunt_array_unmap(array);
}

/* ---- pairs of maps --------------------------------------------------------------------------- */

static int open_side(const char *dir, const char *name, struct bpf_map_info *ret_info)
{
	uint32_t len = sizeof(*ret_info);
	char path[SHUNT_PATH_LEN];
	int r = shunt_pins_path(path, dir, name);
	int fd;

	if (r < 0)
		return r;
	fd = bpf_obj_get(path);
	if (fd < 0)
		return -errno;
	memset(ret_info, 0, sizeof(*ret_info));
	if (bpf_obj_get_info_by_fd(fd, ret_info, &len) < 0) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static int build_reshapes(const struct shunt_carry_maps *maps, struct shunt_carry_map *map)
{
	uint32_t from_key, from_value, to_key, to_value;
	int r;

	r = shunt_layout_types(maps->from, map->name, &from_key, &from_value);
	if (!r)
		r = shunt_layout_types(maps->to, map->name, &to_key, &to_value);
	if (!r)
		r = shunt_reshape_build(maps->from, from_key, maps->to, to_key, &map->key);
	if (!r)
		r = shunt_reshape_build(maps->from, from_value, maps->to, to_value, &map->value);
	if (!r && (map->value.from_size != map->from_info.value_size ||
		   map->value.to_size != map->to_info.value_size))
		r = -EPROTO; /* not the BTF of these maps */
	return r;
}

int shunt_carry_map_open(const struct shunt_carry_maps *maps, const char *name,
			 struct shunt_carry_map *ret_map, struct shunt_err *err)
{
	struct shunt_carry_map map = { .name = name, .from_fd = -EBADF, .to_fd = -EBADF };
	int r;

	map.from_fd = r = open_side(maps->dir, name, &map.from_info);
	if (r == -ENOENT)
		return 0;
	if (r >= 0)
		map.to_fd = r = open_side(maps->dp->dir, name, &map.to_info);
	if (r >= 0)
		r = build_reshapes(maps, &map);
	if (r < 0) {
		shunt_carry_map_close(&map);
		return r == -ENOENT ? 0
				    : shunt_err_set(err, r, "cannot carry %s/%s over: %s",
						    maps->dir, name, strerror(-r));
	}
	*ret_map = map;
	return 1;
}

void shunt_carry_map_close(struct shunt_carry_map *map)
{
	fd_closep(&map->from_fd);
	fd_closep(&map->to_fd);
	shunt_reshape_free(&map->key);
	shunt_reshape_free(&map->value);
}

/* ---- copies ---------------------------------------------------------------------------------- */

static bool is_zero(const void *data, size_t size)
{
	const char *bytes = data;

	return !size || (!bytes[0] && !memcmp(bytes, bytes + 1, size - 1));
}

static int copy_array(const struct shunt_carry_map *map)
{
	CLEANUP(array_closep) struct shunt_dp_array from = { .fd = map->from_fd };
	CLEANUP(array_closep) struct shunt_dp_array to = { .fd = map->to_fd };
	int r;

	r = shunt_array_map(&from, true);
	if (!r)
		r = shunt_array_map(&to, true);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < from.n && i < to.n; i++) {
		const void *value = SHUNT_DP_AT(from, char, i);

		/* New maps are zero, and most of a flow table is. */
		if (!is_zero(value, map->value.from_size))
			shunt_reshape_apply(&map->value, value, SHUNT_DP_AT(to, char, i));
	}
	return 0;
}

static int copy_hash(const struct shunt_carry_map *map)
{
	CLEANUP(freep) char *key = calloc(2, map->key.from_size + map->key.to_size);
	CLEANUP(freep) char *value = calloc(1, map->value.from_size + map->value.to_size);
	char *new_key, *next;
	int r;

	if (!key || !value)
		return -ENOMEM;
	next = key + map->key.from_size;
	new_key = next + map->key.from_size;
	for (r = bpf_map_get_next_key(map->from_fd, NULL, next); !r;
	     r = bpf_map_get_next_key(map->from_fd, key, next)) {
		char *new_value = value + map->value.from_size;

		memcpy(key, next, map->key.from_size);
		if (bpf_map_lookup_elem(map->from_fd, key, value) < 0)
			continue;
		memset(new_value, 0, map->value.to_size);
		shunt_reshape_apply(&map->key, key, new_key);
		shunt_reshape_apply(&map->value, value, new_value);
		if (bpf_map_update_elem(map->to_fd, new_key, new_value, BPF_ANY) < 0)
			return -errno;
	}
	return r == -ENOENT ? 0 : r;
}

int shunt_carry_map_copy(const struct shunt_carry_map *map)
{
	return map->from_info.type == BPF_MAP_TYPE_ARRAY ? copy_array(map) : copy_hash(map);
}

/* ---- counters -------------------------------------------------------------------------------- */

static size_t per_cpu_stride(uint32_t value_size)
{
	return (value_size + 7) / 8 * 8;
}

/*
 * Counters are 64-bit words throughout. The programs go on counting: what they count for
 * this entry between our reading and our writing is lost, some packets at most; connections
 * are not, for nothing new is counted while on hold.
 */
static int add_entry(const struct shunt_carry_map *map, uint32_t key, char *from, char *to,
		     char *zero, int n_cpus)
{
	size_t from_stride = per_cpu_stride(map->value.from_size);
	size_t to_stride = per_cpu_stride(map->value.to_size);
	uint64_t *sum, add[32];

	if (bpf_map_lookup_elem(map->from_fd, &key, from) < 0)
		return -errno;
	if (is_zero(from, from_stride * (size_t)n_cpus))
		return 0;
	if (bpf_map_lookup_elem(map->to_fd, &key, to) < 0)
		return -errno;
	for (int cpu = 0; cpu < n_cpus; cpu++) {
		memset(add, 0, sizeof(add));
		shunt_reshape_apply(&map->value, from + from_stride * (size_t)cpu, add);
		sum = (uint64_t *)(to + to_stride * (size_t)cpu);
		for (size_t w = 0; w < to_stride / 8; w++)
			sum[w] += add[w];
	}
	if (bpf_map_update_elem(map->to_fd, &key, to, BPF_ANY) < 0)
		return -errno;
	return bpf_map_update_elem(map->from_fd, &key, zero, BPF_ANY) < 0 ? -errno : 0;
}

int shunt_carry_map_add(const struct shunt_carry_map *map)
{
	size_t from_stride = per_cpu_stride(map->value.from_size);
	size_t to_stride = per_cpu_stride(map->value.to_size);
	int n_cpus = libbpf_num_possible_cpus(), r = 0;
	CLEANUP(freep) char *buf = NULL;
	uint32_t n;

	if (n_cpus < 0)
		return n_cpus;
	if (to_stride > 32 * sizeof(uint64_t))
		return -E2BIG;
	buf = calloc((size_t)n_cpus, 2 * from_stride + to_stride);
	if (!buf)
		return -ENOMEM;
	n = map->from_info.max_entries < map->to_info.max_entries ? map->from_info.max_entries
								  : map->to_info.max_entries;
	for (uint32_t key = 0; !r && key < n; key++)
		r = add_entry(map, key, buf, buf + 2 * from_stride * (size_t)n_cpus,
			      buf + from_stride * (size_t)n_cpus, n_cpus);
	return r;
}

/* ---- flows ----------------------------------------------------------------------------------- */

/* Whose ways these are stays; how many connections they have is counted anew. */
static void forget_client_counts(const struct shunt_dp_maps *maps)
{
	for (uint32_t i = 0; i < maps->client_active.n; i++)
		shunt_ft_client_active(maps, i)->word &= ~(uint64_t)UINT32_MAX;
}

/* What a carried flow counts for limits; its way was copied with it. */
static void count_in_flight(const struct shunt_dp_maps *maps, const struct shunt_flow *flow)
{
	struct shunt_client_active *client;

	shunt_ft_count_in_flight(maps, (uint64_t)flow->service << 32 | flow->variant, 1);
	client = flow->client_way ? shunt_ft_client_active(maps, flow->client_way - 1) : NULL;
	if (client)
		client->word++;
}

/* Nobody will give it back. */
static void forget_request(const struct shunt_dp_maps *maps, uint32_t index)
{
	__u32 *token = shunt_ft_request(maps, index);

	if (token)
		*token = 0;
}

/* The request that a carried flow has in flight. */
static void count_request(const struct shunt_dp_maps *maps, uint32_t index,
			  const struct shunt_flow *flow)
{
	__u32 *token = shunt_ft_request(maps, index);
	struct shunt_client_active *client;

	if (!token || !*token)
		return;
	shunt_ft_count_request(maps, flow, 1);
	client = *token > 1 ? shunt_ft_client_active(maps, *token - 2) : NULL;
	if (client)
		client->word++;
}

void shunt_carry_count_active(const struct shunt_dp_maps *maps)
{
	forget_client_counts(maps);
	for (uint32_t i = 0; i < maps->flows.n; i++) {
		const struct shunt_flow_set *set = shunt_ft_set(maps, i / SHUNT_FLOW_WAYS);
		struct shunt_flow *flow = shunt_ft_flow(maps, i);
		/* The tags were copied later: this one ended meanwhile, and no sweep sees it. */
		if (set && !set->tag[i % SHUNT_FLOW_WAYS])
			flow->life = SHUNT_LIFE_GEN(flow->life) | SHUNT_F_FREE;
		/* Another ABI's agent may have left more there than the next tenant expects. */
		if (SHUNT_LIFE_STATE(flow->life) == SHUNT_F_FREE) {
			flow->client_fin = 0;
			flow->backend_fin = 0;
			shunt_ft_clear_hi(flow);
		}
		if (!shunt_ft_is_counted(SHUNT_LIFE_STATE(flow->life))) {
			forget_request(maps, i);
			continue;
		}
		if (flow->flags & SHUNT_FLOW_REQUESTS)
			count_request(maps, i, flow);
		shunt_ft_count(maps, flow->backend, shunt_ft_client_index(maps, flow), 1);
		if (flow->flags & SHUNT_FLOW_IN_FLIGHT)
			count_in_flight(maps, flow);
	}
}

/* How far in its life a flow in @state is. A reset may be undone: it is before the end. */
static uint32_t place_in_life(uint32_t state)
{
	static const uint32_t places[SHUNT_N_FLOW_STATES] = {
		[SHUNT_F_SYN] = 1,
		[SHUNT_F_SYN_ACK] = 2,
		[SHUNT_F_ESTABLISHED] = 3,
		[SHUNT_F_FIN_SEEN] = 4,
		[SHUNT_F_FIN_CLIENT] = 5,
		[SHUNT_F_FIN_BACKEND] = 5,
		[SHUNT_F_RESET_BY_CLIENT] = 6,
		[SHUNT_F_RESET_BY_BACKEND] = 6,
		[SHUNT_F_CLOSED] = 7,
		[SHUNT_F_UDP_NEW] = 1,
		[SHUNT_F_UDP_ANSWERED] = 2,
		[SHUNT_F_UDP_ONEWAY] = 3,
		[SHUNT_F_UDP] = 4,
	};

	return places[state];
}

uint32_t shunt_carry_further(uint32_t theirs, uint32_t ours)
{
	if (theirs == SHUNT_F_FREE || ours == SHUNT_F_FREE || theirs == ours)
		return 0;
	/* Each side saw one FIN: together, both. */
	if ((theirs == SHUNT_F_FIN_CLIENT && ours == SHUNT_F_FIN_BACKEND) ||
	    (theirs == SHUNT_F_FIN_BACKEND && ours == SHUNT_F_FIN_CLIENT))
		return SHUNT_F_CLOSED;
	return place_in_life(theirs) > place_in_life(ours) ? theirs : 0;
}

/* @theirs is a copy in our layout; our record is in use by the programs. */
static void merge_flow(const struct shunt_dp_maps *maps, uint32_t index,
		       const struct shunt_flow *theirs)
{
	struct shunt_flow *ours = shunt_ft_flow(maps, index);
	uint32_t life, state;

	do {
		life = SHUNT_READ_ONCE(ours->life);
		if (SHUNT_LIFE_GEN(life) != SHUNT_LIFE_GEN(theirs->life) ||
		    SHUNT_LIFE_STATE(life) == SHUNT_F_FREE)
			return;
		if ((int32_t)(theirs->seen_jiffies - SHUNT_READ_ONCE(ours->seen_jiffies)) > 0)
			SHUNT_WRITE_ONCE(ours->seen_jiffies, theirs->seen_jiffies);
		state = shunt_carry_further(SHUNT_LIFE_STATE(theirs->life), SHUNT_LIFE_STATE(life));
		if (!state)
			return;
		if (SHUNT_LIFE_STATE(life) == SHUNT_F_SYN)
			SHUNT_WRITE_ONCE(ours->backend_isn, theirs->backend_isn);
	} while (shunt_ft_is_half_open(SHUNT_LIFE_STATE(life)) && !shunt_ft_is_half_open(state) &&
				 shunt_ft_is_counted(state)
			 ? !shunt_ft_promote(maps, SHUNT_FT_REF(index, life), state)
			 : !shunt_ft_change(maps, index, life, state));
}

int shunt_carry_merge_flows(const struct shunt_carry_map *flows, const struct shunt_dp_maps *maps)
{
	CLEANUP(array_closep) struct shunt_dp_array from = { .fd = flows->from_fd };
	int r = shunt_array_map(&from, true);

	if (r < 0)
		return r;
	for (uint32_t i = 0; i < from.n && i < maps->flows.n; i++) {
		struct shunt_flow theirs = { 0 };

		shunt_reshape_apply(&flows->value, SHUNT_DP_AT(from, char, i), &theirs);
		merge_flow(maps, i, &theirs);
	}
	return 0;
}
