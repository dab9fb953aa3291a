// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "source/yaml/yaml.h"

#define OBJECT "apiVersion: v1\nkind: Thing\nmetadata: {name: a}\n"

/* The objects of @yaml; fails the test if it has an error. */
static struct shunt_objects parse(const char *yaml)
{
	struct shunt_objects objects = { 0 };
	struct shunt_err err = { 0 };
	char text[1024];
	int r = shunt_yaml_parse("f.yaml", yaml, strlen(yaml), &objects, &err);

	cr_assert_eq(r, 0, "%s\n%s", shunt_err_str(&err, text, sizeof(text)), yaml);
	return objects;
}

static const struct {
	const char *name;
	const char *scalar;
	const char *json;
} scalars[] = {
	{ "true is a boolean", "true", "true" },
	{ "False is a boolean", "False", "false" },
	{ "yes is a string, as YAML 1.2 has it", "yes", "\"yes\"" },
	{ "on is a string", "on", "\"on\"" },
	{ "nothing is null", "", "null" },
	{ "a tilde is null", "~", "null" },
	{ "an integer is one", "80", "80" },
	{ "a negative integer is one", "-7", "-7" },
	{ "a plus sign is allowed", "+7", "7" },
	{ "a leading zero is decimal", "010", "10" },
	{ "octal begins with 0o", "0o17", "15" },
	{ "hexadecimal begins with 0x", "0x1F", "31" },
	{ "the largest integer fits", "9223372036854775807", "9223372036854775807" },
	{ "an integer beyond 64 bits becomes a float", "9223372036854775808",
	  "9.2233720368547758e18" },
	{ "a float is one", "0.5", "0.5" },
	{ "a float may begin with a point", ".5", "0.5" },
	{ "an exponent makes a float", "1e3", "1000.0" },
	{ "an address is a string", "10.0.0.1", "\"10.0.0.1\"" },
	{ "an IPv6 address is a string", "fd00::1", "\"fd00::1\"" },
	{ "a version is a string", "1.2.3", "\"1.2.3\"" },
	{ "a time is a string", "12:30:45", "\"12:30:45\"" },
	{ "a lone minus is a string", "-x", "\"-x\"" },
	{ "a lone point is a string", "a.", "\"a.\"" },
	{ "quotes make a string", "'80'", "\"80\"" },
	{ "double quotes make a string", "\"true\"", "\"true\"" },
	{ "a string tag makes a string", "!!str 80", "\"80\"" },
	{ "a block keeps its lines", "|\n  x\n  y\n", "\"x\\ny\\n\"" },
};

Test(yaml, scalars_have_the_types_of_the_core_schema)
{
	for (size_t i = 0; i < ARRAY_LEN(scalars); i++) {
		CLEANUP(freep) char *yaml = NULL;
		struct shunt_objects objects;
		json_t *expect = json_loads(scalars[i].json, JSON_DECODE_ANY, NULL);

		cr_assert(asprintf(&yaml, OBJECT "v: %s\n", scalars[i].scalar) > 0);
		objects = parse(yaml);
		cr_expect(json_equal(json_object_get(objects.items[0]->json, "v"), expect), "%s",
			  scalars[i].name);
		json_decref(expect);
		shunt_objects_free(&objects);
	}
}

static const struct {
	const char *name;
	const char *yaml;
	const char *expect; /* the whole message */
} errors[] = {
	{ "a key twice", "apiVersion: v1\nkind: A\nkind: B\n",
	  "f.yaml:3:1: the key \"kind\" is there twice: remove one" },
	{ "a bracket that stays open", "apiVersion: v1\nkind: [A\nx: y\n",
	  "f.yaml:3:2: this is not YAML: did not find expected ',' or ']', while parsing a flow "
	  "sequence" },
	{ "a tab as indentation", "a:\n\tb: 1\n",
	  "f.yaml:2:1: this is not YAML: found character that cannot start any token, while "
	  "scanning for the next token" },
	{ "an object twice", OBJECT "---\n" OBJECT,
	  "f.yaml:5:1: Thing default/a is already in f.yaml line 1: remove one" },
	{ "two versions of one object",
	  "apiVersion: x.io/v1\nkind: A\nmetadata: {name: a}\n---\n"
	  "apiVersion: x.io/v2\nkind: A\nmetadata: {name: a}\n",
	  "f.yaml:5:1: A default/a is already in f.yaml line 1: remove one" },
	{ "an alias without an anchor", OBJECT "x: *nope\n",
	  "f.yaml:4:4: there is no anchor &nope before this alias" },
	{ "an anchor that contains itself", OBJECT "x: &a [*a]\n",
	  "f.yaml:4:8: there is no anchor &a before this alias" },
	{ "a merge key", OBJECT "x: &a {b: 1}\ny: {<<: *a}\n",
	  "f.yaml:5:5: merge keys (<<) are not supported: write the fields out" },
	{ "a mapping as key", OBJECT "? {a: b}\n: c\n",
	  "f.yaml:4:3: a key must be a plain word or string" },
	{ "a tag of a program", OBJECT "x: !ruby/object y\n",
	  "f.yaml:4:4: the tag !ruby/object is not supported" },
	{ "infinity", OBJECT "x: .inf\n", "f.yaml:4:4: \".inf\" is no value that JSON has" },
	{ "a float too large", OBJECT "x: 1e999\n",
	  "f.yaml:4:4: \"1e999\" is no value that JSON has" },
	{ "a NUL in a string", OBJECT "x: \"a\\0b\"\n",
	  "f.yaml:4:4: a string must not contain NUL" },
	{ "a NUL in a key", OBJECT "\"a\\0b\": 1\n", "f.yaml:4:1: a key must not contain NUL" },
};

Test(yaml, errors_name_line_and_column)
{
	for (size_t i = 0; i < ARRAY_LEN(errors); i++) {
		struct shunt_objects objects = { 0 };
		struct shunt_err err = { 0 };
		char text[1024];
		int r = shunt_yaml_parse("f.yaml", errors[i].yaml, strlen(errors[i].yaml), &objects,
					 &err);

		cr_expect_eq(r, -EINVAL, "%s: %d", errors[i].name, r);
		cr_expect_str_eq(shunt_err_str(&err, text, sizeof(text)), errors[i].expect, "%s",
				 errors[i].name);
		cr_expect_eq(objects.n, 0, "%s: leaves no object behind", errors[i].name);
		shunt_objects_free(&objects);
	}
}

#define BAD_METADATA(yaml) "--- {apiVersion: v1,\n  kind: A,\nmetadata: " yaml "}\n"

/* Each behind a good object, which must be there all the same. */
static const struct {
	const char *name;
	const char *yaml;
	const char *expect;
} nameless[] = {
	{ "a name that is a number", BAD_METADATA("{name: 5}"),
	  "f.yaml:6:18: metadata.name: must be a string" },
	{ "a namespace that is a list", BAD_METADATA("{name: b, namespace: [a]}"),
	  "f.yaml:6:32: metadata.namespace: must be a string" },
	{ "metadata that is a list", BAD_METADATA("[]"),
	  "f.yaml:6:11: metadata: must be a mapping" },
	{ "a list at the top", "---\n- a\n",
	  "f.yaml:5:1: must be a mapping with apiVersion and kind" },
	{ "a word at the top", "---\nhello\n",
	  "f.yaml:5:1: must be a mapping with apiVersion and kind" },
	{ "a truth at the top", "---\ntrue\n",
	  "f.yaml:5: must be a mapping with apiVersion and kind" },
	{ "no apiVersion", "---\nkind: A\n",
	  "f.yaml:5:1: apiVersion: is required and must be a string" },
	{ "an apiVersion that is a number", "---\napiVersion: 1\nkind: A\n",
	  "f.yaml:5:13: apiVersion: is required and must be a string" },
	{ "no kind", "---\n\napiVersion: v1\n",
	  "f.yaml:6:1: kind: is required and must be a string" },
	{ "an empty kind", "---\napiVersion: v1\nkind: ''\n",
	  "f.yaml:6:7: kind: is required and must be a string" },
	{ "items that are no list", "---\napiVersion: v1\nkind: List\nitems: 3\n",
	  "f.yaml:7:8: items: must be a list" },
	{ "an item that is no object", "---\napiVersion: v1\nkind: List\nitems: [3]\n",
	  "f.yaml:7:9: must be a mapping with apiVersion and kind" },
	{ "an item that is null", "---\napiVersion: v1\nkind: List\nitems:\n- null\n",
	  "f.yaml:8: must be a mapping with apiVersion and kind" },
};

/* The object of @objects that is not the good one, a. */
static const struct shunt_object *other_than_a(const struct shunt_objects *objects)
{
	cr_assert_eq(objects->n, 2);
	cr_assert_neq(strcmp(objects->items[0]->name, "a") == 0,
		      strcmp(objects->items[1]->name, "a") == 0);
	return objects->items[!strcmp(objects->items[0]->name, "a")];
}

Test(yaml, what_is_no_proper_object_concerns_itself_alone)
{
	for (size_t i = 0; i < ARRAY_LEN(nameless); i++) {
		struct shunt_objects objects = { 0 };
		struct shunt_err err = { 0 };
		char yaml[256], text[1024];

		snprintf(yaml, sizeof(yaml), OBJECT "%s", nameless[i].yaml);
		cr_assert_eq(shunt_yaml_parse("f.yaml", yaml, strlen(yaml), &objects, &err), 0,
			     "%s: %s", nameless[i].name, err.text);
		cr_expect_eq(shunt_object_check_names(other_than_a(&objects), &err), -EINVAL);
		cr_expect_str_eq(shunt_err_str(&err, text, sizeof(text)), nameless[i].expect, "%s",
				 nameless[i].name);
		shunt_objects_free(&objects);
	}
}

Test(yaml, bytes_that_are_no_utf8_are_an_error)
{
	struct shunt_objects objects = { 0 };
	struct shunt_err err = { 0 };

	cr_expect_eq(shunt_yaml_parse("f", "a: \xff\xfe\n", 6, &objects, &err), -EINVAL);
	cr_expect(strstr(err.text, "this is not YAML"), "%s", err.text);
}

Test(yaml, documents_and_lists_become_sorted_objects)
{
	struct shunt_objects objects =
		parse("# nothing\n---\n---\napiVersion: v1\nkind: B\nmetadata: {name: z}\n---\n"
		      "apiVersion: v1\nkind: List\nitems:\n"
		      "- {apiVersion: v1, kind: A, metadata: {name: y, namespace: n}}\n"
		      "- {apiVersion: apps/v1, kind: A, metadata: {name: x}}\n...\n");

	cr_assert_eq(objects.n, 3);
	cr_expect_str_eq(objects.items[0]->name, "x");
	cr_expect_str_eq(objects.items[0]->api_version, "apps/v1");
	cr_expect_str_eq(objects.items[0]->namespace_, "default");
	cr_expect_eq(objects.items[0]->line, 12);
	cr_expect_str_eq(objects.items[1]->name, "y");
	cr_expect_str_eq(objects.items[1]->namespace_, "n");
	cr_expect_str_eq(objects.items[2]->name, "z");
	cr_expect_eq(objects.items[2]->line, 4);
	shunt_objects_free(&objects);
}

Test(yaml, json_is_read_too)
{
	struct shunt_objects objects =
		parse("{\"apiVersion\":\"v1\",\n\t\"kind\":\"A\",\"n\":[1,true,null]}");

	cr_assert_eq(objects.n, 1);
	cr_expect_eq(json_array_size(json_object_get(objects.items[0]->json, "n")), 3);
	shunt_objects_free(&objects);
}

Test(yaml, empty_text_has_no_objects)
{
	struct shunt_objects objects = parse("");

	cr_expect_eq(objects.n, 0);
	objects = parse("# only a comment\n");
	cr_expect_eq(objects.n, 0);
}

Test(yaml, aliases_repeat_their_anchor)
{
	struct shunt_objects objects = parse(OBJECT "x: &a {b: [1, 2]}\ny: *a\nz: [*a, *a]\n");
	json_t *json = objects.items[0]->json;

	cr_expect(json_equal(json_object_get(json, "x"), json_object_get(json, "y")));
	cr_expect(json_equal(json_object_get(json, "x"),
			     json_array_get(json_object_get(json, "z"), 1)));
	shunt_objects_free(&objects);
}

Test(yaml, values_know_where_they_stand)
{
	struct shunt_objects objects =
		parse(OBJECT "spec:\n  on: true\n  list:\n  - {w: 1}\n  - {w: null, x: 2}\n");
	const struct shunt_object *object = objects.items[0];
	static const struct {
		const char *field;
		unsigned line, column;
	} places[] = {
		{ "spec", 5, 3 },
		{ "spec.on", 5, 3 },
		{ "spec.list[0].w", 7, 9 },
		{ "spec.list[1].w", 8, 6 },
		{ "spec.list[1].x", 8, 18 },
		{ "spec.list[1].missing", 8, 5 },
		{ "spec.list[9].x", 7, 3 },
		{ "nothing.at.all", 1, 1 },
		{ "spec.list[", 7, 5 },
	};

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		struct shunt_err err;

		cr_expect_eq(shunt_object_err(&err, -5, object, NULL, places[i].field, "x"), -5);
		cr_expect_eq(err.line, places[i].line, "%s: line %u", places[i].field, err.line);
		cr_expect_eq(err.column, places[i].column, "%s: column %u", places[i].field,
			     err.column);
	}
	shunt_objects_free(&objects);
}

Test(yaml, a_shared_object_outlives_the_first)
{
	struct shunt_objects objects = parse(OBJECT "x: 5\n");
	struct shunt_object *object = shunt_object_share(objects.items[0]);
	struct shunt_err err;

	shunt_objects_free(&objects);
	shunt_object_err(&err, 0, object, json_object_get(object->json, "x"), "x", "y");
	cr_expect_eq(err.line, 4);
	cr_expect_eq(err.column, 4);
	cr_expect_str_eq(object->name, "a");
	shunt_object_free(object);
}

static int parse_repeated(const char *before, const char *piece, size_t n, const char *after,
			  struct shunt_err *err)
{
	struct shunt_objects objects = { 0 };
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);
	int r;

	fputs(before, out);
	while (n--)
		fputs(piece, out);
	fputs(after, out);
	fclose(out);
	r = shunt_yaml_parse("f.yaml", text, len, &objects, err);
	shunt_objects_free(&objects);
	free(text);
	return r;
}

Test(yaml, nesting_is_bounded)
{
	struct shunt_err err;

	cr_expect_eq(parse_repeated(OBJECT "x: ", "[", 63, "", &err), -EINVAL);
	cr_expect(strstr(err.text, "not YAML"), "63 lists inside are fine: %s", err.text);
	cr_expect_eq(parse_repeated(OBJECT "x: ", "[", 64, "", &err), -EINVAL);
	cr_expect_str_eq(err.text, "nested deeper than 64 levels");
	cr_expect_eq(parse_repeated(OBJECT "x: ", "[", 100000, "", &err), -EINVAL);
	cr_expect_str_eq(err.text, "nested deeper than 64 levels");
}

Test(yaml, nesting_by_aliases_is_bounded)
{
	struct shunt_objects objects = { 0 };
	struct shunt_err err;
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs(OBJECT "a0: &a0 [x]\n", out);
	for (int i = 1; i < 100; i++)
		fprintf(out, "a%d: &a%d [*a%d]\n", i, i, i - 1);
	fclose(out);
	cr_expect_eq(shunt_yaml_parse("f.yaml", text, len, &objects, &err), -EINVAL);
	cr_expect(strstr(err.text, "nests deeper than 64 levels"), "%s", err.text);
	free(text);
}

Test(yaml, a_billion_laughs_are_refused)
{
	struct shunt_objects objects = { 0 };
	struct shunt_err err;
	char *text;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	fputs(OBJECT "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n", out);
	for (int i = 1; i < 10; i++)
		fprintf(out, "a%d: &a%d [*a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d, *a%d]\n", i, i,
			i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1, i - 1);
	fclose(out);
	cr_expect_eq(shunt_yaml_parse("f.yaml", text, len, &objects, &err), -EFBIG);
	cr_expect(strstr(err.text, "more than 4000000 values"), "%s", err.text);
	free(text);
}

Test(yaml, a_text_of_more_than_16_mib_is_refused)
{
	struct shunt_err err;

	cr_expect_eq(parse_repeated(OBJECT, "# 0123456789\n", (16 << 20) / 13 + 1, "", &err),
		     -EFBIG);
	cr_expect_str_eq(err.text, "is larger than 16 MiB");
}

Test(yaml, a_path_that_is_not_there_is_named)
{
	struct shunt_objects objects = { 0 };
	struct shunt_err err;
	char text[1024];

	cr_expect_eq(shunt_yaml_load("/nowhere/x.yaml", &objects, &err), -ENOENT);
	cr_expect_str_eq(shunt_err_str(&err, text, sizeof(text)),
			 "/nowhere/x.yaml: cannot be read: No such file or directory");
}

Test(yaml, load_takes_one_file_by_any_name)
{
	char path[] = "/tmp/shunt-yaml-XXXXXX";
	struct shunt_objects objects = { 0 };
	struct shunt_err err;
	int fd = mkstemp(path);

	cr_assert_eq(write(fd, OBJECT, strlen(OBJECT)), (ssize_t)strlen(OBJECT));
	close(fd);
	cr_expect_eq(shunt_yaml_load(path, &objects, &err), 0);
	cr_expect_eq(objects.n, 1);
	cr_expect_str_eq(objects.items[0]->file, path);
	shunt_objects_free(&objects);
	unlink(path);
}
