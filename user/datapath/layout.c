// SPDX-License-Identifier: Apache-2.0
#include "datapath/layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define MAX_DEPTH 16

struct walk {
	const struct btf *from, *to;
	struct shunt_reshape *out;
	unsigned depth;
};

/* Typedefs and qualifiers do not matter here. */
static const struct btf_type *bare_type(const struct btf *btf, uint32_t id)
{
	const struct btf_type *type = btf__type_by_id(btf, id);

	while (type && (btf_is_mod(type) || btf_is_typedef(type)))
		type = btf__type_by_id(btf, type->type);
	return type;
}

static int add_run(struct shunt_reshape *out, uint32_t from, uint32_t to, uint32_t len)
{
	struct shunt_reshape_run *last = out->n ? &out->runs[out->n - 1] : NULL, *runs;

	if (last && last->from + last->len == from && last->to + last->len == to) {
		last->len += len;
		return 0;
	}
	runs = realloc(out->runs, (out->n + 1) * sizeof(*runs));
	if (!runs)
		return -ENOMEM;
	out->runs = runs;
	runs[out->n++] = (struct shunt_reshape_run){ from, to, len };
	return 0;
}

/* The low bytes count: they come first, or last on big-endian machines. */
static int add_scalar(struct shunt_reshape *out, uint32_t from, uint32_t from_size, uint32_t to,
		      uint32_t to_size)
{
	uint32_t len = from_size < to_size ? from_size : to_size;
	bool big_endian = __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__;

	return add_run(out, from + (big_endian ? from_size - len : 0),
		       to + (big_endian ? to_size - len : 0), len);
}

static int walk_types(struct walk *walk, uint32_t from_id, uint32_t from, uint32_t to_id,
		      uint32_t to);

static int walk_array(struct walk *walk, const struct btf_array *a, uint32_t from,
		      const struct btf_array *b, uint32_t to)
{
	int64_t from_size = btf__resolve_size(walk->from, a->type);
	int64_t to_size = btf__resolve_size(walk->to, b->type);
	uint32_t n = a->nelems < b->nelems ? a->nelems : b->nelems;
	int r = 0;

	if (from_size < 0 || to_size < 0)
		return -ENOTSUP;
	if (b->nelems < a->nelems)
		walk->out->cut = true;
	for (uint32_t i = 0; !r && i < n; i++)
		r = walk_types(walk, a->type, from + i * (uint32_t)from_size, b->type,
			       to + i * (uint32_t)to_size);
	return r;
}

static const struct btf_member *find_member(const struct btf *btf, const struct btf_type *type,
					    const char *name)
{
	const struct btf_member *members = btf_members(type);

	for (unsigned i = 0; i < btf_vlen(type); i++)
		if (!strcmp(btf__name_by_offset(btf, members[i].name_off), name))
			return &members[i];
	return NULL;
}

static int walk_struct(struct walk *walk, const struct btf_type *a, uint32_t from,
		       const struct btf_type *b, uint32_t to)
{
	const struct btf_member *members = btf_members(b), *old;
	int r = 0;

	if (btf_kflag(a) || btf_kflag(b)) /* has bit fields */
		return -ENOTSUP;
	for (unsigned i = 0; !r && i < btf_vlen(b); i++) {
		old = find_member(walk->from, a,
				  btf__name_by_offset(walk->to, members[i].name_off));
		if (old)
			r = walk_types(walk, old->type, from + old->offset / 8, members[i].type,
				       to + members[i].offset / 8);
	}
	return r;
}

static bool is_scalar(const struct btf_type *type)
{
	return btf_is_int(type) || btf_is_any_enum(type);
}

static int walk_types(struct walk *walk, uint32_t from_id, uint32_t from, uint32_t to_id,
		      uint32_t to)
{
	const struct btf_type *a = bare_type(walk->from, from_id);
	const struct btf_type *b = bare_type(walk->to, to_id);
	int r = -ENOTSUP;

	if (!a || !b || ++walk->depth > MAX_DEPTH)
		return -ENOTSUP;
	if (is_scalar(a) && is_scalar(b))
		r = add_scalar(walk->out, from, a->size, to, b->size);
	else if (btf_is_array(a) && btf_is_array(b))
		r = walk_array(walk, btf_array(a), from, btf_array(b), to);
	else if (btf_is_struct(a) && btf_is_struct(b))
		r = walk_struct(walk, a, from, b, to);
	walk->depth--;
	return r;
}

int shunt_reshape_build(const struct btf *from, uint32_t from_type, const struct btf *to,
			uint32_t to_type, struct shunt_reshape *ret_reshape)
{
	struct shunt_reshape out = { 0 };
	struct walk walk = { from, to, &out, 0 };
	int64_t from_size = btf__resolve_size(from, from_type);
	int64_t to_size = btf__resolve_size(to, to_type);
	int r;

	if (from_size <= 0 || to_size <= 0)
		return -ENOTSUP;
	out.from_size = (uint32_t)from_size;
	out.to_size = (uint32_t)to_size;
	r = walk_types(&walk, from_type, 0, to_type, 0);
	if (r < 0) {
		shunt_reshape_free(&out);
		return r;
	}
	*ret_reshape = out;
	return 0;
}

void shunt_reshape_free(struct shunt_reshape *reshape)
{
	free(reshape->runs);
	*reshape = (struct shunt_reshape){ 0 };
}

void shunt_reshape_apply(const struct shunt_reshape *reshape, const void *from, void *to)
{
	for (size_t i = 0; i < reshape->n; i++)
		memcpy((char *)to + reshape->runs[i].to, (const char *)from + reshape->runs[i].from,
		       reshape->runs[i].len);
}

/* __type(value, T) in a map's declaration is a member "T *value". */
static int pointed_type(const struct btf *btf, const struct btf_type *map, const char *member,
			uint32_t *ret_type)
{
	const struct btf_member *found = find_member(btf, map, member);
	const struct btf_type *pointer = found ? bare_type(btf, found->type) : NULL;

	if (!pointer || !btf_is_ptr(pointer))
		return -ENOENT;
	*ret_type = pointer->type;
	return 0;
}

int shunt_layout_types(const struct btf *btf, const char *map, uint32_t *ret_key,
		       uint32_t *ret_value)
{
	int id = btf__find_by_name_kind(btf, map, BTF_KIND_VAR);
	const struct btf_type *type;
	uint32_t key, value;
	int r;

	if (id < 0)
		return -ENOENT;
	type = bare_type(btf, btf__type_by_id(btf, (uint32_t)id)->type);
	if (!type || !btf_is_struct(type))
		return -ENOENT;
	r = pointed_type(btf, type, "key", &key);
	if (!r)
		r = pointed_type(btf, type, "value", &value);
	if (r < 0)
		return r;
	*ret_key = key;
	*ret_value = value;
	return 0;
}
