// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "dialect/values.h"

/* One field "x" with a value of JSON, as node. */
struct field {
	struct shunt_object object;
	struct shunt_err err;
	struct shunt_node node;
};

static void make(struct field *f, const char *value)
{
	json_t *json = json_loads(value, JSON_DECODE_ANY, NULL);

	cr_assert_not_null(json, "%s", value);
	*f = (struct field){ .object = { .file = (char *)"" } };
	f->object.json = json_pack("{s:o}", "x", json);
	f->node = shunt_field_root(&f->object, &f->err);
}

static int read_time(const char *value, enum shunt_duration_style style, uint64_t *ret_ms,
		     struct shunt_err *ret_err)
{
	struct field f;
	int r;

	make(&f, value);
	r = shunt_field_duration(&f.node, "x", style, 1, 100ull * 3600 * 1000, ret_ms);
	*ret_err = f.err;
	json_decref(f.object.json);
	return r;
}

#define NO UINT64_MAX

static const struct {
	const char *value;
	uint64_t gateway, go, traefik; /* ms; NO: refused */
} times[] = {
	{ "\"10s\"", 10000, 10000, 10000 },
	{ "\"500ms\"", 500, 500, 500 },
	{ "\"1h30m\"", 5400000, 5400000, 5400000 },
	{ "\"1h2m3s4ms\"", 3723004, 3723004, 3723004 },
	{ "\"1h2m3s4ms5ms\"", NO, 3723009, 3723009 },
	{ "\"99999s\"", 99999000, 99999000, 99999000 },
	{ "\"100000s\"", NO, 100000000, 100000000 },
	{ "\"1.5s\"", NO, 1500, 1500 },
	{ "\".5s\"", NO, 500, 500 },
	{ "\"1.s\"", NO, 1000, 1000 },
	{ "\".s\"", NO, NO, NO },
	{ "\"2000us\"", NO, 2, 2 },
	{ "\"3000\u00b5s\"", NO, 3, 3 },
	{ "\"4000000ns\"", NO, 4, 4 },
	{ "\"1500us\"", NO, NO, NO }, /* not whole milliseconds */
	{ "\"0.0015s\"", NO, NO, NO },
	{ "\"0.0000000001s\"", NO, NO, NO }, /* below the least */
	{ "\"10\"", NO, NO, 10000 },
	{ "10", NO, NO, 10000 },
	{ "1.5", NO, NO, NO },
	{ "0", NO, NO, NO },
	{ "\"0s\"", NO, NO, NO },
	{ "\"-1s\"", NO, NO, NO },
	{ "-1", NO, NO, NO },
	{ "\"+1s\"", NO, NO, NO },
	{ "\"\"", NO, NO, NO },
	{ "\"s\"", NO, NO, NO },
	{ "\"1 s\"", NO, NO, NO },
	{ "\"1S\"", NO, NO, NO },
	{ "\"1d\"", NO, NO, NO },
	{ "\"100h1ms\"", NO, NO, NO }, /* above the highest */
	{ "\"99999999999999999999999999999h\"", NO, NO, NO },
	{ "\"9223372036854775807ns\"", NO, NO, NO },
	{ "\"1h99999999999999999999s\"", NO, NO, NO },
	{ "9223372036854775807", NO, NO, NO },
	{ "true", NO, NO, NO },
	{ "[]", NO, NO, NO },
};

Test(values, times_are_what_each_style_makes_of_them)
{
	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		const uint64_t want[] = { times[i].gateway, times[i].go, times[i].traefik };

		for (int style = 0; style < 3; style++) {
			struct shunt_err err;
			uint64_t ms = NO;
			int r;

			r = read_time(times[i].value, style, &ms, &err);
			cr_expect_eq(r, want[style] == NO ? -EINVAL : 1, "%s, style %d: %d %s",
				     times[i].value, style, r, err.text);
			cr_expect_eq(ms, want[style], "%s, style %d: %llu", times[i].value, style,
				     (unsigned long long)ms);
			cr_expect(r > 0 || err.text[0]);
		}
	}
}

Test(values, an_absent_time_leaves_its_default)
{
	struct shunt_err err;
	uint64_t ms = 7;

	cr_expect_eq(read_time("null", SHUNT_DURATION_GO, &ms, &err), 0);
	cr_expect_eq(ms, 7);
}

Test(values, a_word_that_is_none_is_told_the_others)
{
	static const char *const words[] = { "red", "green", "blue" };
	struct field f;
	unsigned index = 9;

	make(&f, "\"green\"");
	cr_expect_eq(shunt_field_word(&f.node, "x", words, 3, &index), 1);
	cr_expect_eq(index, 1);
	json_decref(f.object.json);
	make(&f, "\"Green\"");
	cr_expect_eq(shunt_field_word(&f.node, "x", words, 3, &index), -EINVAL);
	cr_expect_str_eq(f.err.text, "\"Green\" is not red, green or blue");
	json_decref(f.object.json);
}

Test(values, a_list_of_addresses_has_an_end)
{
	json_t *list = json_array();
	struct field f = { .object = { .file = (char *)"" } };
	struct shunt_cidrs cidrs = { 0 };

	for (int i = 0; i < SHUNT_MAX_SOURCE_RANGES; i++)
		json_array_append_new(list, json_string("10.0.0.0/8"));
	f.object.json = json_pack("{s:o}", "x", list);
	f.node = shunt_field_root(&f.object, &f.err);
	cr_expect_eq(shunt_field_cidrs(&f.node, "x", &cidrs), 1);
	cr_expect_eq(cidrs.n, SHUNT_MAX_SOURCE_RANGES);
	json_array_append_new(list, json_string("10.0.0.0/8"));
	cr_expect_eq(shunt_field_cidrs(&f.node, "x", &cidrs), -EINVAL);
	free(cidrs.items);
	json_decref(f.object.json);
}
