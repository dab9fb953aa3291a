// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "source/kube/split.h"

#define MAX 64

/* The objects that came, each in angle brackets. */
struct seen {
	char text[1024];
	int fail; /* what the callback returns */
};

static int see(void *context, const char *text, size_t len)
{
	struct seen *seen = context;
	size_t used = strlen(seen->text);

	cr_assert_eq(strlen(text), len);
	snprintf(seen->text + used, sizeof(seen->text) - used, "<%s>", text);
	return seen->fail;
}

static const struct {
	const char *name;
	enum shunt_split_form form;
	const char *body;
	const char *objects;
	const char *envelope; /* of a list */
	int result;	      /* of the feed, or else of the finish */
} bodies[] = {
	{ "a watch without events", SHUNT_SPLIT_WATCH, "", "", NULL, 0 },
	{ "two events", SHUNT_SPLIT_WATCH, "{\"a\":1}\n{\"b\":[{}]}\n", "<{\"a\":1}><{\"b\":[{}]}>",
	  NULL, 0 },
	{ "brackets in strings do not count", SHUNT_SPLIT_WATCH, "{\"a\":\"}]{\"} {}",
	  "<{\"a\":\"}]{\"}><{}>", NULL, 0 },
	{ "an escaped quote does not end a string", SHUNT_SPLIT_WATCH, "{\"a\":\"\\\"}\"}{}",
	  "<{\"a\":\"\\\"}\"}><{}>", NULL, 0 },
	{ "an escaped backslash does not escape the quote", SHUNT_SPLIT_WATCH, "{\"a\":\"\\\\\"}{}",
	  "<{\"a\":\"\\\\\"}><{}>", NULL, 0 },
	{ "a watch that breaks within an event", SHUNT_SPLIT_WATCH, "{}{\"a\":", "<{}>", NULL,
	  -EPIPE },
	{ "a page for people instead of a watch", SHUNT_SPLIT_WATCH, "<html>", "", NULL, -EINVAL },
	{ "a comma between events", SHUNT_SPLIT_WATCH, "{},{}", "<{}>", NULL, -EINVAL },
	{ "a list", SHUNT_SPLIT_LIST, "{\"metadata\":{},\"items\":[{\"a\":1},{}]}\n",
	  "<{\"a\":1}><{}>", "{\"metadata\":{},\"items\":[]}", 0 },
	{ "metadata behind the items", SHUNT_SPLIT_LIST, "{\"items\" : [ {} ],\"m\":[{}]}", "<{}>",
	  "{\"items\" : [],\"m\":[{}]}", 0 },
	{ "items of something inside", SHUNT_SPLIT_LIST, "{\"m\":{\"items\":[{}]}}", "",
	  "{\"m\":{\"items\":[{}]}}", 0 },
	{ "items as a value", SHUNT_SPLIT_LIST, "{\"m\":\"items\",\"n\":[{}]}", "",
	  "{\"m\":\"items\",\"n\":[{}]}", 0 },
	{ "no items", SHUNT_SPLIT_LIST, "{\"items\":null}", "", "{\"items\":null}", 0 },
	{ "items that are no objects", SHUNT_SPLIT_LIST, "{\"items\":[1]}", "", NULL, -EINVAL },
	{ "a list that ends within its items", SHUNT_SPLIT_LIST, "{\"items\":[{}", "<{}>", NULL,
	  -EPIPE },
	{ "an empty answer is no list", SHUNT_SPLIT_LIST, "", "", NULL, -EPIPE },
	{ "two lists", SHUNT_SPLIT_LIST, "{} {}", "", NULL, -EINVAL },
	{ "an array instead of a list", SHUNT_SPLIT_LIST, "[]", "", NULL, -EINVAL },
	{ "an object as large as allowed", SHUNT_SPLIT_WATCH,
	  "{\"a\":\"78901234567890123456789012345678901234567890123456789012\"}",
	  "<{\"a\":\"78901234567890123456789012345678901234567890123456789012\"}>", NULL, 0 },
	{ "an object one byte too large", SHUNT_SPLIT_WATCH,
	  "{\"a\":\"789012345678901234567890123456789012345678901234567890123\"}", "", NULL,
	  -EFBIG },
	{ "an envelope that is too large", SHUNT_SPLIT_LIST,
	  "{\"a\":\"789012345678901234567890123456789012345678901234567890123\"}", "", NULL,
	  -EFBIG },
};

/* Feeds @body in pieces of @piece bytes. Return: the first error of feed and finish. */
static int feed(struct shunt_split *split, const char *body, size_t piece, struct shunt_err *err)
{
	size_t len = strlen(body);

	for (size_t at = 0; at < len; at += piece) {
		int r = shunt_split_feed(split, body + at, len - at < piece ? len - at : piece,
					 err);

		if (r < 0)
			return r;
	}
	return shunt_split_finish(split, err);
}

Test(kube_split, cuts_alike_wherever_the_pieces_end)
{
	for (size_t i = 0; i < ARRAY_LEN(bodies); i++)
		for (size_t piece = 1; piece <= strlen(bodies[i].body) + 1; piece++) {
			struct shunt_split *split;
			struct shunt_err err = { 0 };
			struct seen seen = { 0 };
			size_t len;
			int r;

			cr_assert_eq(shunt_split_open(bodies[i].form, MAX, see, &seen, &split), 0);
			r = feed(split, bodies[i].body, piece, &err);
			cr_expect_eq(r, bodies[i].result, "%s, by %zu: %d", bodies[i].name, piece,
				     r);
			cr_expect_eq(!r, !err.text[0], "%s: %s", bodies[i].name, err.text);
			cr_expect_str_eq(seen.text, bodies[i].objects, "%s, by %zu: %s",
					 bodies[i].name, piece, seen.text);
			if (bodies[i].envelope)
				cr_expect_str_eq(shunt_split_envelope(split, &len),
						 bodies[i].envelope, "%s, by %zu", bodies[i].name,
						 piece);
			shunt_split_close(split);
		}
}

Test(kube_split, ends_where_the_callback_says)
{
	struct seen seen = { .fail = -ECANCELED };
	struct shunt_split *split;

	cr_assert_eq(shunt_split_open(SHUNT_SPLIT_WATCH, MAX, see, &seen, &split), 0);
	cr_expect_eq(shunt_split_feed(split, "{}{}", 4, NULL), -ECANCELED);
	cr_expect_str_eq(seen.text, "<{}>");
	shunt_split_close(split);
}
