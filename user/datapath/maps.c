// SPDX-License-Identifier: Apache-2.0
#include "datapath/internal.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "datapath/carry.h"
#include "shunt/histogram.h"

/* Options, defaults and which map gets how many entries of them. */
#define MAX_ENTRIES (1u << 28) /* more than this of anything is a typing error */

struct map_size {
	const char *map;
	uint32_t entries;
};

static uint32_t size_or(uint32_t asked, uint32_t otherwise)
{
	uint32_t rounded = 16;

	if (!asked)
		asked = otherwise;
	while (rounded < asked && rounded < MAX_ENTRIES)
		rounded <<= 1;
	return rounded;
}

/* Entries of the map @name, or 0: the size that the object says. */
static uint32_t entries_of(const char *name, const struct shunt_dp_sizes *asked)
{
	uint32_t flows = size_or(asked->flows, 262144);
	uint32_t services = size_or(asked->services, 4096);
	uint32_t variants = size_or(asked->variants, 8192);
	uint32_t backends = size_or(asked->backends, 32768);
	uint32_t policies = size_or(asked->policies, 1024);
	uint32_t clients = size_or(asked->limit_clients, 65536);
	uint32_t breakers = size_or(asked->breakers, 1024);
	const struct map_size sizes[] = {
		{ "shunt_frontends", size_or(asked->frontends, 65536) },
		{ "shunt_services", services },
		{ "shunt_service_names", services },
		{ "shunt_rules", services },
		{ "shunt_splits", 2 * services },
		{ "shunt_rings", size_or(asked->ring_entries, 8388608) / 4 },
		{ "shunt_members", 4 * backends },
		{ "shunt_variants", variants },
		{ "shunt_variant_names", variants },
		{ "shunt_overlay", variants },
		{ "shunt_dead_man_counts", variants },
		{ "shunt_variant_counters", variants },
		{ "shunt_backends", backends },
		{ "shunt_backend_active", backends },
		{ "shunt_backend_counters", backends },
		{ "shunt_flow_sets", flows / SHUNT_FLOW_WAYS },
		{ "shunt_clients", flows / SHUNT_FLOW_WAYS },
		{ "shunt_flows", flows },
		{ "shunt_reply_sets", flows / 4 },
		{ "shunt_http", flows },
		{ "shunt_response_times", variants * SHUNT_TIME_BUCKETS },
		{ "shunt_connect_times", variants * SHUNT_TIME_BUCKETS },
		{ "shunt_sessions", size_or(asked->sessions, 65536) },
		{ "shunt_fragments", size_or(asked->fragments, 8192) },
		{ "shunt_policies", policies },
		{ "shunt_buckets", 4 * policies },
		{ "shunt_bucket_names", 4 * policies },
		{ "shunt_limit_counters", 4 * policies },
		{ "shunt_client_sets", clients / SHUNT_LIMIT_WAYS },
		{ "shunt_client_active", clients },
		{ "shunt_service_active", services },
		{ "shunt_variant_active", variants },
		{ "shunt_breakers", 2 * breakers },
		{ "shunt_breaker_states", breakers },
		{ "shunt_breaker_words", breakers * SHUNT_BREAKER_WORDS },
		{ "shunt_breaker_names", breakers },
		{ "shunt_variant_guards", variants },
		{ "shunt_backend_guards", backends },
		{ "shunt_eject_states", backends },
		{ "shunt_eject_places", variants * SHUNT_N_FAMILIES * SHUNT_EJECT_PLACES },
		{ "shunt_sources_v4", size_or(asked->sources, 65536) },
		{ "shunt_sources_v6", size_or(asked->sources, 65536) },
	};

	for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
		if (!strcmp(sizes[i].map, name))
			return sizes[i].entries;
	return 0;
}

/* Does the pinned map have the layout that @map was compiled for? */
static int check_layout(const struct bpf_map *map, int fd, const char *path, struct shunt_err *err)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return shunt_err_set(err, -errno, "%s: %s", path, strerror(errno));
	if (info.type == bpf_map__type(map) && info.key_size == bpf_map__key_size(map) &&
	    info.value_size == bpf_map__value_size(map) &&
	    info.map_flags == bpf_map__map_flags(map))
		return 0;
	return shunt_err_set(err, -EINVAL,
			     "%s is not the map of ABI %d that it is named for; run: shunt detach",
			     path, SHUNT_ABI_VERSION);
}

/* Return: 1 if @map now uses the pinned one, 0 if there is none, or -errno with @err. */
static int reuse_pinned(struct bpf_map *map, const char *dir, struct shunt_err *err)
{
	CLEANUP(fd_closep) int fd = -EBADF;
	char path[SHUNT_PATH_LEN];
	int r = shunt_pins_path(path, dir, bpf_map__name(map));

	if (r < 0)
		return shunt_err_set(err, r, "%s: path too long", dir);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return errno == ENOENT ? 0
				       : shunt_err_set(err, -errno, "cannot open %s: %s", path,
						       strerror(errno));
	r = check_layout(map, fd, path, err);
	if (r < 0)
		return r;
	r = bpf_map__reuse_fd(map, fd);
	return r < 0 ? shunt_err_set(err, r, "cannot use %s: %s", path, strerror(-r)) : 1;
}

/* A map of the ABI: pinned, one for all programs. Others are an object's own: globals, scratch. */
static bool is_shared(const struct bpf_map *map)
{
	return !strncmp(bpf_map__name(map), "shunt_", 6);
}

int shunt_maps_reuse(struct bpf_object *obj, const char *dir, struct shunt_err *err)
{
	struct bpf_map *map;
	int r;

	bpf_object__for_each_map(map, obj)
	{
		if (!is_shared(map))
			continue;
		r = reuse_pinned(map, dir, err);
		if (r < 0)
			return r;
		if (!r)
			return shunt_err_set(err, -ENOENT, "%s/%s is gone", dir,
					     bpf_map__name(map));
	}
	return 0;
}

static int check_pin(const struct shunt_dp *dp, const char *name, struct shunt_err *err)
{
	char path[SHUNT_PATH_LEN];

	if (shunt_pins_path(path, dp->dir, name) < 0 || access(path, F_OK) == 0)
		return 0;
	return shunt_err_set(err, -errno, "the pin %s is gone: restart the agent", path);
}

int shunt_dp_check_pins(const struct shunt_dp *dp, struct shunt_err *err)
{
	struct bpf_map *map;
	int r = check_pin(dp, "links", err);

	bpf_object__for_each_map(map, dp->tc)
	{
		if (!r && is_shared(map))
			r = check_pin(dp, bpf_map__name(map), err);
	}
	return r;
}

static void note_kept_size(struct shunt_dp *dp, const struct bpf_map *map, uint32_t asked)
{
	size_t used = strlen(dp->notes);

	if (!asked || asked == bpf_map__max_entries(map))
		return;
	snprintf(dp->notes + used, sizeof(dp->notes) - used,
		 "%s%s keeps its %u entries (%u asked for)", used ? "; " : "", bpf_map__name(map),
		 bpf_map__max_entries(map), asked);
}

/* Flows and clients stand where their hash says: their tables keep the exact size. */
static uint32_t carried_entries(const char *name, const struct shunt_dp_sizes *sizes,
				const struct shunt_carry *carry)
{
	uint32_t asked = entries_of(name, sizes);
	uint32_t old = carry && asked ? shunt_carry_entries(carry, name) : 0;

	if (!strcmp(name, "shunt_flows") || !strcmp(name, "shunt_flow_sets") ||
	    !strcmp(name, "shunt_clients") || !strcmp(name, "shunt_reply_sets") ||
	    !strcmp(name, "shunt_client_sets") || !strcmp(name, "shunt_client_active"))
		return old ? old : asked;
	return old > asked ? old : asked;
}

static int size_maps(struct shunt_dp *dp, struct bpf_object *obj,
		     const struct shunt_dp_sizes *sizes, const struct shunt_carry *carry,
		     struct shunt_err *err)
{
	struct bpf_program *prog;
	struct bpf_map *map;
	uint32_t entries;
	int r;

	/* The object is opened for its maps; the programs are loaded on the pins later. */
	bpf_object__for_each_program(prog, obj) bpf_program__set_autoload(prog, false);
	bpf_object__for_each_map(map, obj)
	{
		if (!is_shared(map))
			continue;
		r = reuse_pinned(map, dp->dir, err);
		if (r < 0)
			return r;
		entries = carried_entries(bpf_map__name(map), sizes, carry);
		if (r)
			note_kept_size(dp, map, entries);
		else if (entries)
			bpf_map__set_max_entries(map, entries);
	}
	return 0;
}

/* The settings are pinned last: with them the directory counts as complete. */
static int pin_maps(struct bpf_object *obj, const char *dir, struct shunt_err *err)
{
	char path[SHUNT_PATH_LEN];
	struct bpf_map *map;

	for (int settings = 0; settings < 2; settings++) {
		bpf_object__for_each_map(map, obj)
		{
			const char *name = bpf_map__name(map);

			if (!is_shared(map) || settings != !strcmp(name, "shunt_settings"))
				continue;
			shunt_pins_path(path, dir, name);
			if (bpf_obj_pin(bpf_map__fd(map), path) < 0 && errno != EEXIST)
				return shunt_err_set(err, -errno, "cannot pin %s: %s", path,
						     strerror(errno));
		}
	}
	return 0;
}

int shunt_maps_create(struct shunt_dp *dp, const struct shunt_dp_sizes *sizes,
		      const struct shunt_carry *carry, struct shunt_err *err)
{
	struct bpf_object *obj;
	int r;

	r = shunt_object_open(SHUNT_OBJ_TC, &obj, err);
	if (r < 0)
		return r;
	r = size_maps(dp, obj, sizes, carry, err);
	if (!r)
		r = shunt_object_load(obj, err);
	if (!r)
		r = pin_maps(obj, dp->dir, err);
	bpf_object__close(obj);
	return r;
}

/* ---- descriptors and memory ----------------------------------------------------------- */

static int open_pin(const char *dir, const char *name, bool writable, struct shunt_err *err)
{
	LIBBPF_OPTS(bpf_obj_get_opts, opts, .file_flags = writable ? 0 : BPF_F_RDONLY);
	char path[SHUNT_PATH_LEN];
	int fd, r;

	r = shunt_pins_path(path, dir, name);
	if (r < 0)
		return shunt_err_set(err, r, "%s: path too long", dir);
	fd = bpf_obj_get_opts(path, &opts);
	if (fd < 0)
		return shunt_err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	return fd;
}

static size_t mapped_size(const struct shunt_dp_array *array)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return ((size_t)array->n * array->stride + page - 1) / page * page;
}

int shunt_array_map(struct shunt_dp_array *array, bool writable)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);

	if (bpf_obj_get_info_by_fd(array->fd, &info, &len) < 0)
		return -errno;
	array->n = info.max_entries;
	array->stride = (info.value_size + 7) / 8 * 8;
	array->base = mmap(NULL, mapped_size(array), PROT_READ | (writable ? PROT_WRITE : 0),
			   MAP_SHARED, array->fd, 0);
	if (array->base != MAP_FAILED)
		return 0;
	array->base = NULL;
	return -errno;
}

void shunt_array_unmap(struct shunt_dp_array *array)
{
	if (array->base)
		munmap(array->base, mapped_size(array));
	array->base = NULL;
}

static int open_array(const char *dir, const char *name, bool writable,
		      struct shunt_dp_array *array, struct shunt_err *err)
{
	int r;

	/* A read-only descriptor cannot be mapped shared: the mapping alone is read-only. */
	array->fd = open_pin(dir, name, true, err);
	if (array->fd < 0)
		return array->fd;
	r = shunt_array_map(array, writable);
	return r < 0 ? shunt_err_set(err, r, "cannot map %s/%s into memory: %s", dir, name,
				     strerror(-r))
		     : 0;
}

int shunt_maps_open(struct shunt_dp *dp, bool writable, struct shunt_err *err)
{
	struct shunt_dp_maps *maps = &dp->maps;
	const struct {
		const char *name;
		int *fd;
	} others[] = {
		{ "shunt_frontends", &maps->frontends_fd },
		{ "shunt_sessions", &maps->sessions_fd },
		{ "shunt_gates", &maps->gates_fd },
		{ "shunt_backend_counters", &maps->backend_counters_fd },
		{ "shunt_variant_counters", &maps->variant_counters_fd },
		{ "shunt_reasons", &maps->reasons_fd },
		{ "shunt_limit_counters", &maps->limit_counters_fd },
		{ "shunt_event_counters", &maps->event_counters_fd },
		{ "shunt_events", &maps->events_fd },
		{ "shunt_sources_v4", &maps->sources_fd[SHUNT_V4] },
		{ "shunt_sources_v6", &maps->sources_fd[SHUNT_V6] },
	};
	const struct {
		const char *name;
		struct shunt_dp_array *array;
	} arrays[] = {
#define ARRAY_ENTRY(name) { "shunt_" #name, &maps->name },
		SHUNT_DP_ARRAYS(ARRAY_ENTRY)
#undef ARRAY_ENTRY
	};
	int r;

	for (size_t i = 0; i < ARRAY_LEN(arrays); i++) {
		r = open_array(dp->dir, arrays[i].name, writable, arrays[i].array, err);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < ARRAY_LEN(others); i++) {
		r = open_pin(dp->dir, others[i].name, writable, err);
		if (r < 0)
			return r;
		*others[i].fd = r;
	}
	return 0;
}

static void close_array(struct shunt_dp_array *array)
{
	shunt_array_unmap(array);
	fd_closep(&array->fd);
}

void shunt_maps_close(struct shunt_dp_maps *maps)
{
#define ARRAY_CLOSE(name) close_array(&maps->name);
	SHUNT_DP_ARRAYS(ARRAY_CLOSE)
#undef ARRAY_CLOSE
	fd_closep(&maps->frontends_fd);
	fd_closep(&maps->sessions_fd);
	fd_closep(&maps->gates_fd);
	fd_closep(&maps->backend_counters_fd);
	fd_closep(&maps->variant_counters_fd);
	fd_closep(&maps->reasons_fd);
	fd_closep(&maps->limit_counters_fd);
	fd_closep(&maps->event_counters_fd);
	fd_closep(&maps->events_fd);
	fd_closep(&maps->sources_fd[SHUNT_V4]);
	fd_closep(&maps->sources_fd[SHUNT_V6]);
}
