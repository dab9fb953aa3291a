// SPDX-License-Identifier: Apache-2.0
/* Maps in memory: arrays as the kernel lays them out, one CPU; hashes that forget nothing. */
#include "shim.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shim_map shim_maps[SHIM_MAX_MAPS];
size_t shim_n_maps;

static bool is_hash(const struct shim_map *map)
{
	return map->type != BPF_MAP_TYPE_ARRAY && map->type != BPF_MAP_TYPE_PERCPU_ARRAY;
}

static struct shim_map *find(const char *name)
{
	for (size_t i = 0; i < shim_n_maps; i++)
		if (!strcmp(shim_maps[i].name, name))
			return &shim_maps[i];
	return NULL;
}

int shim_map_make(const char *name, enum bpf_map_type type, uint32_t key_size, uint32_t value_size,
		  uint32_t n)
{
	struct shim_map *map = &shim_maps[shim_n_maps];

	if (find(name))
		return 0;
	if (shim_n_maps == SHIM_MAX_MAPS)
		return -E2BIG;
	*map = (struct shim_map){
		.type = type,
		.key_size = key_size,
		.value_size = value_size,
		.stride = (value_size + 7) / 8 * 8,
		.n = n,
	};
	snprintf(map->name, sizeof(map->name), "%s", name);
	map->values = aligned_alloc(64, ((size_t)n * map->stride + 63) / 64 * 64);
	map->keys = is_hash(map) ? calloc(n, key_size) : NULL;
	map->used = is_hash(map) ? calloc(n, sizeof(bool)) : NULL;
	if (!map->values || (is_hash(map) && (!map->keys || !map->used)))
		return -ENOMEM;
	shim_n_maps++;
	return 0;
}

struct shim_map *shim_map(const char *name)
{
	struct shim_map *map = find(name + (*name == '&'));

	if (map)
		return map;
	fprintf(stderr, "no map %s: the stages name a map by its own name, or shim.h cannot tell\n",
		name);
	exit(2);
}

void *shim_at(const char *name, uint32_t index)
{
	void *value = shim_lookup(shim_map(name), &index);

	if (value)
		return value;
	fprintf(stderr, "%s has no entry %u\n", name, index);
	exit(2);
}

void *shim_reserve(size_t size)
{
	static uint64_t record[64];

	return size <= sizeof(record) ? record : NULL;
}

void shim_maps_clear(void)
{
	for (size_t i = 0; i < shim_n_maps; i++) {
		memset(shim_maps[i].values, 0, (size_t)shim_maps[i].n * shim_maps[i].stride);
		if (!shim_maps[i].used)
			continue;
		memset(shim_maps[i].used, 0, shim_maps[i].n);
		memset(shim_maps[i].keys, 0, (size_t)shim_maps[i].n * shim_maps[i].key_size);
	}
}

/* ---- hashes: linear probing; a deleted entry keeps its key, so that probing goes on -----------
 */

static uint32_t hash(const uint8_t *key, uint32_t len)
{
	uint32_t h = 2166136261u;

	for (uint32_t i = 0; i < len; i++)
		h = (h ^ key[i]) * 16777619u;
	return h ^ h >> 15;
}

static bool is_zero(const uint8_t *key, uint32_t len)
{
	while (len && !*key)
		key++, len--;
	return !len;
}

/* The place of @key, used or not; or with none of it the first place to put it; n: full. */
static uint32_t place(const struct shim_map *map, const void *key)
{
	uint32_t at = hash(key, map->key_size) % map->n;

	for (uint32_t i = 0; i < map->n; i++, at = at + 1 == map->n ? 0 : at + 1) {
		const uint8_t *here = map->keys + (size_t)at * map->key_size;

		if (!memcmp(here, key, map->key_size))
			return at;
		if (!map->used[at] && is_zero(here, map->key_size))
			return at;
	}
	return map->n;
}

void *shim_lookup(struct shim_map *map, const void *key)
{
	uint32_t at;

	if (is_hash(map)) {
		at = place(map, key);
		if (at == map->n || !map->used[at])
			return NULL;
	} else {
		memcpy(&at, key, sizeof(at));
		if (at >= map->n)
			return NULL;
	}
	return map->values + (size_t)at * map->stride;
}

long shim_update(struct shim_map *map, const void *key, const void *value, uint64_t flags)
{
	void *old = shim_lookup(map, key);
	uint32_t at;

	if ((flags == BPF_NOEXIST && old) || (flags == BPF_EXIST && !old))
		return old ? -EEXIST : -ENOENT;
	if (!old) {
		at = is_hash(map) ? place(map, key) : map->n;
		if (at == map->n)
			return -E2BIG;
		memcpy(map->keys + (size_t)at * map->key_size, key, map->key_size);
		map->used[at] = true;
		old = map->values + (size_t)at * map->stride;
	}
	memcpy(old, value, map->value_size);
	return 0;
}

long shim_delete(struct shim_map *map, const void *key)
{
	uint32_t at;

	if (!is_hash(map))
		return -EINVAL;
	at = place(map, key);
	if (at == map->n || !map->used[at])
		return -ENOENT;
	map->used[at] = false;
	return 0;
}
