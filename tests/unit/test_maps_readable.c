// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "datapath/internal.h"
#include "shunt/tuple.h"
#include "datapath/layout.h"
#include "dp_lab.h"

/*
 * People read the maps with bpftool and docs/maps.md: every map has a section there that
 * names each field, and bpftool shows each field by its name. Runs in the source tree.
 */
static struct dp_lab lab;
static struct shunt_dp *dp;
static const struct btf *types;
static char *manual;

static void file_pclosep(FILE **file)
{
	if (*file)
		pclose(*file);
}

static void json_freep(json_t **json)
{
	json_decref(*json);
}

static void enter(void)
{
	CLEANUP(file_closep) FILE *file = fopen("docs/maps.md", "r");
	size_t size = 0;

	cr_assert_not_null(file, "run in the source tree");
	cr_assert_gt(getdelim(&manual, &size, '\0', file), 0);
	dp_lab_enter(&lab);
	dp = dp_lab_open(&lab);
	types = bpf_object__btf(dp->tc);
}

static void leave(void)
{
	shunt_dp_close(dp);
	free(manual);
}

TestSuite(maps_readable, .init = enter, .fini = leave, .timeout = 120);

static const struct btf_type *bare(uint32_t id)
{
	const struct btf_type *type = btf__type_by_id(types, id);

	while (type && (btf_is_mod(type) || btf_is_typedef(type)))
		type = btf__type_by_id(types, type->type);
	return type;
}

/* Calls @fn for the fields of a struct, and of structs and arrays of structs inside. */
static void each_field(uint32_t id, void (*fn)(const char *name, void *arg), void *arg)
{
	const struct btf_type *type = bare(id);

	if (btf_is_array(type)) {
		each_field(btf_array(type)->type, fn, arg);
		return;
	}
	if (!btf_is_struct(type))
		return;
	for (unsigned i = 0; i < btf_vlen(type); i++) {
		fn(btf__name_by_offset(types, btf_members(type)[i].name_off), arg);
		each_field(btf_members(type)[i].type, fn, arg);
	}
}

/* ---- the manual ---------------------------------------------------------------------------- */

struct section {
	const char *map;
	char *text;
};

static char *section_of(const char *map)
{
	char heading[64];
	char *start, *end;

	sprintf(heading, "\n## %s\n", map);
	start = strstr(manual, heading);
	cr_assert_not_null(start, "docs/maps.md has no section on %s", map);
	end = strstr(start + 4, "\n## ");
	return strndup(start, end ? (size_t)(end - start) : strlen(start));
}

static void expect_named(const char *field, void *arg)
{
	const struct section *section = arg;
	size_t len = strlen(field);
	const char *at = section->text;

	/* In backquotes, alone or at an end of a path: `addr.word_be`. */
	while ((at = strstr(at, field))) {
		if (strchr("`.", at[-1]) && strchr("`.", at[len]))
			return;
		at += len;
	}
	cr_expect_fail("docs/maps.md, %s: field %s is not explained", section->map, field);
}

/* The maps of ring buffers tell no types, nor does the BTF of programs that fill the records. */
static bool is_ring(const struct bpf_map *map, struct section *section)
{
	static const char *const fields[] = { "now_ns",	 "kind",     "variant",
					      "backend", "instance", "detail" };

	if (bpf_map__type(map) != BPF_MAP_TYPE_RINGBUF)
		return false;
	for (size_t i = 0; i < ARRAY_LEN(fields); i++)
		expect_named(fields[i], section);
	return true;
}

Test(maps_readable, the_manual_has_a_section_on_every_map_that_names_every_field)
{
	struct bpf_map *map;
	int n = 0;

	bpf_object__for_each_map(map, dp->tc)
	{
		struct section section = { .map = bpf_map__name(map) };
		uint32_t key, value;

		/* Others are no part of the ABI: they are not pinned, and of the programs only. */
		if (strncmp(section.map, "shunt_", 6))
			continue;
		section.text = section_of(section.map);
		if (!is_ring(map, &section)) {
			cr_assert_eq(shunt_layout_types(types, section.map, &key, &value), 0);
			each_field(key, expect_named, &section);
			each_field(value, expect_named, &section);
		}
		free(section.text);
		n++;
	}
	cr_expect_gt(n, 20);
}

Test(maps_readable, the_manual_tells_of_no_map_that_is_not_there)
{
	char *line = manual, name[64];

	while ((line = strstr(line, "\n## shunt_"))) {
		cr_assert_eq(sscanf(line, "\n## %63s", name), 1);
		cr_expect_not_null(bpf_object__find_map_by_name(dp->tc, name),
				   "docs/maps.md has a section on %s", name);
		line += 4;
	}
}

/* ---- bpftool ------------------------------------------------------------------------------- */

static json_t *dump(const char *map)
{
	CLEANUP(file_pclosep) FILE *pipe = NULL;
	char command[512];
	json_error_t error;
	json_t *json;

	sprintf(command, "PATH=$PATH:/usr/sbin bpftool -j map dump pinned %s/%s", dp->dir, map);
	pipe = popen(command, "r");
	cr_assert_not_null(pipe);
	json = json_loadf(pipe, JSON_DECODE_INT_AS_REAL, &error); /* u64 */
	cr_assert_not_null(json, "%s: %s", command, error.text);
	return json;
}

/* Does @shown have the fields of type @id, all the way down? */
static void expect_shape(const char *map, uint32_t id, const json_t *shown)
{
	const struct btf_type *type = bare(id);

	if (btf_is_struct(type)) {
		for (unsigned i = 0; i < btf_vlen(type); i++) {
			const struct btf_member *member = &btf_members(type)[i];
			const char *name = btf__name_by_offset(types, member->name_off);
			const json_t *field = json_object_get(shown, name);

			cr_expect_not_null(field, "%s: bpftool does not show %s", map, name);
			if (field)
				expect_shape(map, member->type, field);
		}
	} else if (btf_is_array(type)) {
		cr_expect(json_is_array(shown) || json_is_string(shown), "%s: no array", map);
		if (json_array_size(shown))
			expect_shape(map, btf_array(type)->type, json_array_get(shown, 0));
	} else {
		cr_expect(!json_is_object(shown), "%s: not a plain number", map);
	}
}

static void expect_readable(const struct bpf_map *map)
{
	const char *name = bpf_map__name(map);
	CLEANUP(json_freep) json_t *entries = dump(name);
	const json_t *formatted = json_object_get(json_array_get(entries, 0), "formatted");
	const json_t *shown;
	uint32_t key, value;

	cr_expect_not_null(formatted, "%s: bpftool shows raw bytes", name);
	cr_assert_eq(shunt_layout_types(types, name, &key, &value), 0);
	shown = json_object_get(formatted, "value");
	if (!shown) /* per CPU */
		shown = json_object_get(json_array_get(json_object_get(formatted, "values"), 0),
					"value");
	cr_expect_not_null(shown, "%s: no value", name);
	expect_shape(name, key, json_object_get(formatted, "key"));
	expect_shape(name, value, shown);
}

Test(maps_readable, bpftool_shows_every_map_with_named_fields)
{
	struct shunt_session_key client = { .service = 1 };
	struct shunt_session session = { .variant = 1 };
	struct shunt_frontend_key key = { .proto = 6 };
	struct shunt_frontend frontend = { .flags = SHUNT_FE_BACKEND };
	struct shunt_gate gate = { .flags = SHUNT_GATE_UPLINK };
	const struct shunt_fragment_key packet = { 0 };
	const struct shunt_fragment fragment = { 0 };
	int fragments_fd = bpf_object__find_map_fd_by_name(dp->tc, "shunt_fragments");
	struct shunt_tuple answer = { .proto = 6 };
	struct shunt_flow flow = { .proto = 6 };
	struct shunt_source_key_v4 v4 = { .prefix_len = 64 };
	struct shunt_source_key_v6 v6 = { .prefix_len = 160 };
	struct shunt_source source = { .is_denied = 1 };
	struct bpf_map *map;

	/* Hash maps are empty at first, and bpftool shows what is there. */
	cr_assert_eq(bpf_map_update_elem(dp->maps.sessions_fd, &client, &session, 0), 0);
	cr_assert_eq(bpf_map_update_elem(dp->maps.frontends_fd, &key, &frontend, 0), 0);
	cr_assert_eq(shunt_dp_gate_put(dp, 1, &gate), 0);
	cr_assert_eq(bpf_map_update_elem(fragments_fd, &packet, &fragment, 0), 0);
	map = bpf_object__find_map_by_name(dp->tc, "shunt_placed");
	cr_assert_eq(bpf_map_update_elem(bpf_map__fd(map), &answer, &flow, 0), 0);
	cr_assert_eq(bpf_map_update_elem(dp->maps.sources_fd[SHUNT_V4], &v4, &source, 0), 0);
	cr_assert_eq(bpf_map_update_elem(dp->maps.sources_fd[SHUNT_V6], &v6, &source, 0), 0);
	bpf_object__for_each_map(map, dp->tc)
	{
		/* What stands in a ring buffer is for its reader alone. */
		if (!strncmp(bpf_map__name(map), "shunt_", 6) &&
		    bpf_map__type(map) != BPF_MAP_TYPE_RINGBUF)
			expect_readable(map);
	}
}
