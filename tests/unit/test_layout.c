// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#include "datapath/layout.h"

/* Two layouts of the "same" struct; the BTF made below says what these declarations say. */
struct old_inner {
	uint16_t a;
	uint16_t gone;
};

struct old_layout {
	uint32_t first;
	uint32_t narrow;
	struct old_inner inner[3];
	uint32_t pad;
	uint64_t last;
};

struct new_inner {
	uint16_t a;
};

struct new_layout {
	uint64_t last;
	uint64_t narrow;
	struct new_inner inner[2];
	uint32_t added;
	uint32_t first;
	uint32_t pad2;
};

static struct btf *btf;
static int u16, u32, u64, old_type, new_type;

static void add_field(const char *name, int type, size_t offset)
{
	cr_assert_eq(btf__add_field(btf, name, type, (uint32_t)offset * 8, 0), 0);
}

static void setup(void)
{
	int inner, array;

	btf = btf__new_empty();
	u16 = btf__add_int(btf, "u16", 2, 0);
	u32 = btf__add_int(btf, "u32", 4, 0);
	u64 = btf__add_int(btf, "u64", 8, 0);

	inner = btf__add_struct(btf, "inner", sizeof(struct old_inner));
	add_field("a", u16, offsetof(struct old_inner, a));
	add_field("gone", u16, offsetof(struct old_inner, gone));
	array = btf__add_array(btf, u32, inner, 3);
	old_type = btf__add_struct(btf, "layout", sizeof(struct old_layout));
	add_field("first", u32, offsetof(struct old_layout, first));
	add_field("narrow", u32, offsetof(struct old_layout, narrow));
	add_field("inner", array, offsetof(struct old_layout, inner));
	add_field("last", u64, offsetof(struct old_layout, last));

	inner = btf__add_struct(btf, "inner", sizeof(struct new_inner));
	add_field("a", u16, offsetof(struct new_inner, a));
	array = btf__add_array(btf, u32, inner, 2);
	new_type = btf__add_struct(btf, "layout", sizeof(struct new_layout));
	add_field("last", u64, offsetof(struct new_layout, last));
	add_field("narrow", u64, offsetof(struct new_layout, narrow));
	add_field("inner", array, offsetof(struct new_layout, inner));
	add_field("added", u32, offsetof(struct new_layout, added));
	add_field("first", u32, offsetof(struct new_layout, first));
}

static void teardown(void)
{
	btf__free(btf);
}

TestSuite(layout, .init = setup, .fini = teardown);

Test(layout, fields_find_their_place_by_name)
{
	struct old_layout from = { .first = 1,
				   .narrow = 0xfffffff2,
				   .inner = { { 3, 99 }, { 4, 99 }, { 5, 99 } },
				   .last = 6 };
	struct new_layout to = { .added = 77 };
	struct shunt_reshape reshape;

	cr_assert_eq(shunt_reshape_build(btf, old_type, btf, new_type, &reshape), 0);
	cr_expect(reshape.cut, "an array lost an entry");
	shunt_reshape_apply(&reshape, &from, &to);
	cr_expect_eq(to.first, 1);
	cr_expect_eq(to.narrow, 0xfffffff2ull, "widened without a sign");
	cr_expect_eq(to.inner[0].a, 3);
	cr_expect_eq(to.inner[1].a, 4);
	cr_expect_eq(to.last, 6);
	cr_expect_eq(to.added, 77, "what the old one lacks is left alone");
	shunt_reshape_free(&reshape);
}

Test(layout, the_way_back_finds_them_too)
{
	struct new_layout from = { .first = 1, .narrow = 2, .inner = { { 3 }, { 4 } }, .last = 6 };
	struct old_layout to = { 0 };
	struct shunt_reshape reshape;

	cr_assert_eq(shunt_reshape_build(btf, new_type, btf, old_type, &reshape), 0);
	cr_expect_not(reshape.cut);
	shunt_reshape_apply(&reshape, &from, &to);
	cr_expect_eq(to.first, 1);
	cr_expect_eq(to.narrow, 2);
	cr_expect_eq(to.inner[1].a, 4);
	cr_expect_eq(to.inner[2].a, 0);
	cr_expect_eq(to.last, 6);
	shunt_reshape_free(&reshape);
}

Test(layout, an_unchanged_layout_is_one_copy)
{
	struct shunt_reshape reshape;

	cr_assert_eq(shunt_reshape_build(btf, old_type, btf, old_type, &reshape), 0);
	cr_expect_leq(reshape.n, 2, "%zu: all before the hole, all behind it", reshape.n);
	shunt_reshape_free(&reshape);
}

Test(layout, pointers_and_changes_of_kind_are_refused)
{
	struct shunt_reshape reshape = { .n = 77 };
	int pointer = btf__add_ptr(btf, u32);

	cr_expect_eq(shunt_reshape_build(btf, pointer, btf, pointer, &reshape), -ENOTSUP);
	cr_expect_eq(shunt_reshape_build(btf, old_type, btf, u32, &reshape), -ENOTSUP);
	cr_expect_eq(shunt_reshape_build(btf, 4000, btf, u32, &reshape), -ENOTSUP);
	cr_expect_eq(reshape.n, 77, "untouched");
}

Test(layout, a_map_that_was_not_declared_is_not_found)
{
	uint32_t key, value;

	cr_expect_eq(shunt_layout_types(btf, "shunt_flows", &key, &value), -ENOENT);
}
