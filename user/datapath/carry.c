// SPDX-License-Identifier: Apache-2.0
#include "datapath/carry.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "shunt/compat.h"

/* What only the agent writes: copied while the old programs still serve everything. */
static const char *const static_maps[] = {
	"shunt_frontends",     "shunt_services",       "shunt_service_names",  "shunt_rules",
	"shunt_splits",	       "shunt_rings",	       "shunt_members",	       "shunt_variants",
	"shunt_backends",      "shunt_variant_names",  "shunt_gates",	       "shunt_policies",
	"shunt_bucket_names",  "shunt_sources_v4",     "shunt_sources_v6",     "shunt_breakers",
	"shunt_breaker_names", "shunt_variant_guards", "shunt_backend_guards",
};

/* What the programs write: copied on hold, so that no flow is added meanwhile. */
static const char *const flow_maps[] = {
	"shunt_flows",		"shunt_flow_sets",	 "shunt_reply_sets",
	"shunt_sessions",	"shunt_overlay",	 "shunt_buckets",
	"shunt_client_sets",	"shunt_client_active",	 "shunt_http",
	"shunt_response_times", "shunt_breaker_states",	 "shunt_breaker_words",
	"shunt_connect_times",	"shunt_dead_man_counts", "shunt_eject_states",
	"shunt_eject_places",
};

static const char *const counter_maps[] = {
	"shunt_backend_counters", "shunt_variant_counters", "shunt_reasons",
	"shunt_limit_counters",	  "shunt_event_counters",
};

struct shunt_carry {
	struct shunt_carry_maps maps;
	struct shunt_carry_map settings;
	struct shunt_dp_array old_settings; /* mapped; the descriptor is that of settings */
	bool is_copied;			    /* by an agent that died since */
};

static void carry_closep(struct shunt_carry **carry)
{
	shunt_carry_free(*carry);
}

static void map_closep(struct shunt_carry_map *map)
{
	shunt_carry_map_close(map);
}

void shunt_carry_free(struct shunt_carry *carry)
{
	if (!carry)
		return;
	shunt_array_unmap(&carry->old_settings);
	shunt_carry_map_close(&carry->settings);
	btf__free(carry->maps.from);
	btf__free(carry->maps.to);
	free(carry);
}

/* ---- who is there? -----------------------------------------------------------------------------
 */

static int read_only_entry(const char *dir, const char *name, void *value, size_t size)
{
	struct bpf_map_info info = { 0 };
	CLEANUP(fd_closep) int fd = -EBADF;
	uint32_t len = sizeof(info), key = 0;
	char path[SHUNT_PATH_LEN];
	int r = shunt_pins_path(path, dir, name);

	if (r < 0)
		return r;
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return -errno;
	if (info.value_size != size)
		return -EPROTO;
	return bpf_map_lookup_elem(fd, &key, value) < 0 ? -errno : 0;
}

/* Return: 1 with BTF, 0: the maps were never finished, or -errno. */
static int read_layout(const char *dir, struct btf **ret_btf)
{
	CLEANUP(freep) struct shunt_layout *layout = calloc(1, sizeof(*layout));
	struct btf *btf;
	int r;

	if (!layout)
		return -ENOMEM;
	r = read_only_entry(dir, "shunt_layout", layout, sizeof(*layout));
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	if (!layout->size)
		return 0;
	if (layout->size > sizeof(layout->btf))
		return -EPROTO;
	btf = btf__new(layout->btf, layout->size);
	if (!btf)
		return -errno;
	*ret_btf = btf;
	return 1;
}

int shunt_carry_describe(struct shunt_dp *dp, struct shunt_err *err)
{
	CLEANUP(freep) struct shunt_layout *layout = calloc(1, sizeof(*layout));
	const void *raw;
	char path[SHUNT_PATH_LEN];
	CLEANUP(fd_closep) int fd = -EBADF;
	uint32_t key = 0;

	if (!layout)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	raw = btf__raw_data(bpf_object__btf(dp->tc), &layout->size);
	if (!raw || layout->size > sizeof(layout->btf))
		return shunt_err_set(err, -E2BIG, "the BTF of the maps takes %u bytes, above %zu",
				     layout->size, sizeof(layout->btf));
	memcpy(layout->btf, raw, layout->size);
	shunt_pins_path(path, dp->dir, "shunt_layout");
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_map_update_elem(fd, &key, layout, BPF_ANY) < 0)
		return shunt_err_set(err, -errno, "%s: %s", path, strerror(errno));
	return 0;
}

/* The other ABI's settings in our layout. */
static void their_settings(const struct shunt_carry *carry, struct shunt_settings *settings)
{
	memset(settings, 0, sizeof(*settings));
	shunt_reshape_apply(&carry->settings.value, carry->old_settings.base, settings);
}

/* Where the old settings hold what is @offset in ours. */
static uint32_t *old_word(const struct shunt_carry *carry, uint32_t offset)
{
	const struct shunt_reshape *value = &carry->settings.value;

	for (size_t i = 0; i < value->n; i++)
		if (value->runs[i].to <= offset && offset < value->runs[i].to + value->runs[i].len)
			return (uint32_t *)((char *)carry->old_settings.base + value->runs[i].from +
					    offset - value->runs[i].to);
	return NULL;
}

/* ---- what is to be done? ------------------------------------------------------------------------
 */

struct search {
	struct shunt_dp *dp;
	char found[SHUNT_PATH_LEN]; /* the other directory with settings; "" if none */
};

/* Unpins a directory whose links, if any, are also pinned elsewhere. */
static int throw_away(const char *dir)
{
	return shunt_pins_unlink_all(dir, false);
}

static int look_at_version(const char *dir, const char *name, void *arg)
{
	struct search *search = arg;
	char path[SHUNT_PATH_LEN], settings[SHUNT_PATH_LEN];
	unsigned version;
	int end = 0, r;

	if (sscanf(name, "v%u%n", &version, &end) != 1 || name[end] || version == SHUNT_ABI_VERSION)
		return 0;
	r = shunt_pins_path(path, dir, name);
	if (!r)
		r = shunt_pins_path(settings, path, "shunt_settings");
	if (r < 0)
		return r;
	if (access(settings, F_OK) < 0)
		return errno == ENOENT ? throw_away(path) : -errno;
	if (search->found[0])
		return -EEXIST;
	memcpy(search->found, path, sizeof(path));
	return 0;
}

static int open_other(struct shunt_dp *dp, const char *dir, struct shunt_carry **ret_carry,
		      struct shunt_err *err)
{
	CLEANUP(carry_closep) struct shunt_carry *carry = calloc(1, sizeof(*carry));
	struct bpf_object *own = NULL;
	const void *raw;
	uint32_t size;
	int r;

	if (!carry)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	carry->settings.from_fd = carry->settings.to_fd = -EBADF;
	carry->maps.dp = dp;
	snprintf(carry->maps.dir, sizeof(carry->maps.dir), "%s", dir);
	r = read_layout(dir, &carry->maps.from);
	if (r <= 0)
		return r < 0 ? shunt_err_set(err, r, "cannot read %s/shunt_layout: %s", dir,
					     strerror(-r))
			     : 0;
	r = shunt_object_open(SHUNT_OBJ_TC, &own, err);
	if (r < 0)
		return r;
	raw = btf__raw_data(bpf_object__btf(own), &size);
	carry->maps.to = raw ? btf__new(raw, size) : NULL;
	bpf_object__close(own);
	if (!carry->maps.to)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	*ret_carry = TAKE_PTR(carry);
	return 1;
}

/* Opens the other settings through the own maps' type. Return: 1 filled, 0 empty, -errno. */
static int open_settings(struct shunt_carry *carry, struct shunt_err *err)
{
	struct shunt_carry_map *map = &carry->settings;
	uint32_t key, from, to;
	struct shunt_settings theirs;
	char path[SHUNT_PATH_LEN];
	int r;

	map->name = "shunt_settings";
	shunt_pins_path(path, carry->maps.dir, map->name);
	map->from_fd = bpf_obj_get(path);
	if (map->from_fd < 0)
		return shunt_err_set(err, -errno, "%s: %s", path, strerror(errno));
	r = shunt_layout_types(carry->maps.from, map->name, &key, &from);
	if (!r)
		r = shunt_layout_types(carry->maps.to, map->name, &key, &to);
	if (!r)
		r = shunt_reshape_build(carry->maps.from, from, carry->maps.to, to, &map->value);
	carry->old_settings.fd = map->from_fd;
	if (!r)
		r = shunt_array_map(&carry->old_settings, true);
	if (r < 0)
		return shunt_err_set(err, r, "%s: %s", path, strerror(-r));
	if (!old_word(carry, offsetof(struct shunt_settings, flags)))
		return shunt_err_set(err, -EPROTO, "%s has no flags: cannot be put on hold", path);
	their_settings(carry, &theirs);
	return theirs.abi_version != 0;
}

/* What an earlier handover has come to. Return: 1 carry on, 0 nothing to carry, or -errno. */
static int judge(struct shunt_carry *carry, struct shunt_err *err)
{
	struct shunt_settings ours = { 0 }, theirs;
	struct shunt_dp *dp = carry->maps.dp;
	bool our_hold, their_hold;
	int r = shunt_settings_read(dp->dir, &ours, err);

	if (r <= 0)
		return r < 0 ? r : 1;
	their_settings(carry, &theirs);
	our_hold = ours.flags & SHUNT_S_HOLD;
	their_hold = theirs.flags & SHUNT_S_HOLD;
	if (our_hold && their_hold) {
		carry->is_copied = true;
		return 1;
	}
	if (their_hold)
		return throw_away(carry->maps.dir);
	if (our_hold) {
		r = throw_away(dp->dir);
		return r < 0 ? r : 1;
	}
	return shunt_err_set(err, -EEXIST, "%s and %s both are in use; remove one: shunt detach",
			     dp->dir, carry->maps.dir);
}

int shunt_carry_begin(struct shunt_dp *dp, struct shunt_carry **ret_carry, struct shunt_err *err)
{
	CLEANUP(carry_closep) struct shunt_carry *carry = NULL;
	struct search search = { .dp = dp };
	int r;

	r = shunt_pins_each(dp->bpffs, look_at_version, &search);
	if (r < 0)
		return shunt_err_set(err, r,
				     "cannot tell which directory of %s is in use: %s; remove one: "
				     "shunt detach",
				     dp->bpffs, strerror(-r));
	*ret_carry = NULL;
	if (!search.found[0])
		return 0;
	r = open_other(dp, search.found, &carry, err);
	if (r > 0)
		r = open_settings(carry, err);
	if (!r) { /* never finished, so nothing is attached by it */
		r = throw_away(search.found);
		return r < 0 ? shunt_err_set(err, r, "%s: %s", search.found, strerror(-r)) : 0;
	}
	if (r > 0)
		r = judge(carry, err);
	if (r > 0)
		*ret_carry = TAKE_PTR(carry);
	return r < 0 ? r : 0;
}

uint32_t shunt_carry_entries(const struct shunt_carry *carry, const char *map)
{
	struct bpf_map_info info = { 0 };
	uint32_t len = sizeof(info);
	char path[SHUNT_PATH_LEN];
	CLEANUP(fd_closep) int fd = -EBADF;

	if (shunt_pins_path(path, carry->maps.dir, map) < 0)
		return 0;
	fd = bpf_obj_get(path);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &info, &len) < 0)
		return 0;
	return info.max_entries;
}

/* ---- the steps
 * ----------------------------------------------------------------------------------- */

/* A set of another number of ways would put flows elsewhere. */
static bool is_positional(const char *name)
{
	return !strcmp(name, "shunt_flow_sets") || !strcmp(name, "shunt_reply_sets") ||
	       !strcmp(name, "shunt_client_sets") || !strcmp(name, "shunt_client_active");
}

static int copy_maps(struct shunt_carry *carry, const char *const *names, size_t n,
		     struct shunt_err *err)
{
	for (size_t i = 0; i < n; i++) {
		CLEANUP(map_closep)
		struct shunt_carry_map map = { .from_fd = -EBADF, .to_fd = -EBADF };
		int r = shunt_carry_map_open(&carry->maps, names[i], &map, err);

		if (r < 0)
			return r;
		if (!r)
			continue;
		if (is_positional(names[i]) &&
		    (map.value.cut || map.from_info.value_size != map.to_info.value_size ||
		     map.from_info.max_entries != map.to_info.max_entries))
			r = -ENOTSUP;
		else
			r = shunt_carry_map_copy(&map);
		if (r < 0)
			return shunt_err_set(err, r, "cannot carry %s/%s over: %s", carry->maps.dir,
					     names[i], strerror(-r));
	}
	return 0;
}

static int hold_old(struct shunt_carry *carry, struct shunt_err *err)
{
	uint32_t *flags = old_word(carry, offsetof(struct shunt_settings, flags));
	int r;

	__atomic_or_fetch(flags, SHUNT_S_HOLD, __ATOMIC_SEQ_CST);
	r = shunt_dp_grace(carry->maps.dp);
	return r < 0 ? shunt_err_set(err, r, "cannot wait for a grace period: %s", strerror(-r))
		     : 0;
}

static void release_old(struct shunt_carry *carry)
{
	uint32_t *flags = old_word(carry, offsetof(struct shunt_settings, flags));

	__atomic_and_fetch(flags, ~(uint32_t)SHUNT_S_HOLD, __ATOMIC_SEQ_CST);
}

/* Our settings are theirs, on hold; the version comes last and makes them count. */
static void take_settings(struct shunt_carry *carry)
{
	const struct shunt_dp_maps *maps = &carry->maps.dp->maps;
	struct shunt_settings *ours = maps->settings.base, theirs;

	their_settings(carry, &theirs);
	theirs.abi_version = 0;
	theirs.flags |= SHUNT_S_HOLD;
	theirs.flow_set_mask = maps->flow_sets.n - 1;
	theirs.reply_set_mask = maps->reply_sets.n - 1;
	theirs.limit_set_mask = maps->client_sets.n - 1;
	*ours = theirs;
	__atomic_store_n(&ours->abi_version, SHUNT_ABI_VERSION, __ATOMIC_SEQ_CST);
}

int shunt_carry_copy(struct shunt_carry *carry, struct shunt_err *err)
{
	int r;

	if (carry->is_copied)
		return 0;
	r = copy_maps(carry, static_maps, ARRAY_LEN(static_maps), err);
	if (r < 0)
		return r;
	r = hold_old(carry, err);
	if (!r)
		r = copy_maps(carry, flow_maps, ARRAY_LEN(flow_maps), err);
	if (r < 0) {
		release_old(carry); /* the old programs serve on */
		return r;
	}
	shunt_carry_count_active(&carry->maps.dp->maps);
	take_settings(carry);
	return 0;
}

static int pin_link(const char *dir, const char *name, void *arg)
{
	struct shunt_carry *carry = arg;
	char old_path[SHUNT_PATH_LEN], links[SHUNT_PATH_LEN], path[SHUNT_PATH_LEN];
	CLEANUP(fd_closep) int fd = -EBADF;
	int r;

	r = shunt_pins_path(old_path, dir, name);
	if (!r)
		r = shunt_pins_path(links, carry->maps.dp->dir, "links");
	if (!r)
		r = shunt_pins_path(path, links, name);
	if (r < 0)
		return r;
	fd = bpf_obj_get(old_path);
	if (fd < 0)
		return -errno;
	return bpf_obj_pin(fd, path) < 0 && errno != EEXIST ? -errno : 0;
}

int shunt_carry_links(struct shunt_carry *carry, struct shunt_err *err)
{
	char links[SHUNT_PATH_LEN];
	int r = shunt_pins_path(links, carry->maps.dir, "links");

	if (!r)
		r = shunt_pins_each(links, pin_link, carry);
	return r < 0 && r != -ENOENT
		       ? shunt_err_set(err, r, "cannot take over %s: %s", links, strerror(-r))
		       : 0;
}

static int merge(struct shunt_carry *carry, struct shunt_err *err)
{
	CLEANUP(map_closep) struct shunt_carry_map flows = { .from_fd = -EBADF, .to_fd = -EBADF };
	int r = shunt_carry_map_open(&carry->maps, "shunt_flows", &flows, err);

	if (r <= 0)
		return r;
	return shunt_carry_merge_flows(&flows, &carry->maps.dp->maps);
}

static int add_counters(struct shunt_carry *carry, struct shunt_err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(counter_maps); i++) {
		CLEANUP(map_closep)
		struct shunt_carry_map map = { .from_fd = -EBADF, .to_fd = -EBADF };
		int r = shunt_carry_map_open(&carry->maps, counter_maps[i], &map, err);

		if (r > 0)
			r = shunt_carry_map_add(&map);
		if (r < 0)
			return shunt_err_set(err, r, "cannot carry %s/%s over: %s", carry->maps.dir,
					     counter_maps[i], strerror(-r));
	}
	return 0;
}

int shunt_carry_finish(struct shunt_carry *carry, struct shunt_err *err)
{
	struct shunt_settings *ours = carry->maps.dp->maps.settings.base;
	int r;

	/* Until no packet runs the old programs: then their maps are final. */
	r = shunt_dp_grace(carry->maps.dp);
	if (!r)
		r = merge(carry, err);
	if (!r)
		r = add_counters(carry, err);
	if (r < 0)
		return r;
	__atomic_and_fetch(&ours->flags, ~(uint32_t)SHUNT_S_HOLD, __ATOMIC_SEQ_CST);
	r = throw_away(carry->maps.dir);
	return r < 0 ? shunt_err_set(err, r, "cannot unpin %s: %s", carry->maps.dir, strerror(-r))
		     : 0;
}
