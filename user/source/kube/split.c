// SPDX-License-Identifier: Apache-2.0
#include "source/kube/split.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

struct text {
	char *bytes; /* NUL-terminated; NULL: nothing was added yet */
	size_t len;
	size_t size;
};

/* Where in a JSON text we are. */
struct place {
	unsigned depth; /* brackets that are open */
	bool in_string;
	bool escaped; /* the next byte of the string */
};

struct shunt_split {
	enum shunt_split_form form;
	size_t max;
	shunt_split_fn fn;
	void *context;
	struct text object; /* that is being read; kept for the next one */
	struct place in_object;
	struct text envelope;
	struct place in_envelope;
	size_t string_at; /* where the envelope's last string began */
	bool in_items;
};

int shunt_split_open(enum shunt_split_form form, size_t max, shunt_split_fn fn, void *context,
		     struct shunt_split **ret_split)
{
	struct shunt_split *split = calloc(1, sizeof(*split));

	if (!split)
		return -ENOMEM;
	split->form = form;
	split->max = max;
	split->fn = fn;
	split->context = context;
	*ret_split = split;
	return 0;
}

void shunt_split_close(struct shunt_split *split)
{
	if (!split)
		return;
	free(split->object.bytes);
	free(split->envelope.bytes);
	free(split);
}

static int text_add(struct text *text, size_t max, const char *bytes, size_t len,
		    struct shunt_err *err)
{
	if (len > max - text->len)
		return shunt_err_set(err, -EFBIG,
				     "the API server sent an object of more than %zu bytes: make "
				     "it smaller",
				     max);
	if (text->len + len >= text->size) {
		size_t size = 2 * text->size + len + 1;
		char *grown = realloc(text->bytes, size);

		if (!grown)
			return shunt_err_set(err, -ENOMEM,
					     "not enough memory for what the API server sent");
		text->bytes = grown;
		text->size = size;
	}
	memcpy(text->bytes + text->len, bytes, len);
	text->len += len;
	text->bytes[text->len] = '\0';
	return 0;
}

static void step(struct place *place, char c)
{
	if (place->escaped) {
		place->escaped = false;
		return;
	}
	if (place->in_string) {
		place->escaped = c == '\\';
		place->in_string = c != '"';
		return;
	}
	if (c == '"')
		place->in_string = true;
	else if (c == '{' || c == '[')
		place->depth++;
	else if (c == '}' || c == ']')
		place->depth--;
}

static bool is_space(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static int unexpected(const struct shunt_split *split, char c, struct shunt_err *err)
{
	return shunt_err_set(err, -EINVAL,
			     "the API server's answer is no %s: byte 0x%02x where an object "
			     "should begin; is the server's address right?",
			     split->form == SHUNT_SPLIT_LIST ? "list of objects" : "watch",
			     (unsigned char)c);
}

/* Return: bytes taken, the object's last one or all; -errno. */
static ssize_t feed_object(struct shunt_split *split, const char *bytes, size_t len,
			   struct shunt_err *err)
{
	size_t n = 0;
	int r;

	do
		step(&split->in_object, bytes[n++]);
	while (n < len && split->in_object.depth);
	r = text_add(&split->object, split->max, bytes, n, err);
	if (r < 0 || split->in_object.depth)
		return r < 0 ? r : (ssize_t)n;
	r = split->fn(split->context, split->object.bytes, split->object.len);
	split->object.len = 0;
	return r < 0 ? r : (ssize_t)n;
}

/* Is the bracket that ends @text the one of "items": [? */
static bool opens_items(const char *text)
{
	static const char key[] = "\"items\"";

	if (strncmp(text, key, strlen(key)))
		return false;
	text += strlen(key);
	text += strspn(text, " \t\r\n:");
	return !strcmp(text, "[");
}

static int feed_envelope(struct shunt_split *split, char c, struct shunt_err *err)
{
	struct place *place = &split->in_envelope;
	bool was_string = place->in_string;
	int r;

	if (!place->depth && is_space(c))
		return 0;
	if (!place->depth && (c != '{' || split->envelope.len))
		return unexpected(split, c, err);
	r = text_add(&split->envelope, split->max, &c, 1, err);
	if (r < 0)
		return r;
	step(place, c);
	if (!was_string && place->in_string)
		split->string_at = split->envelope.len - 1;
	split->in_items = place->depth == 2 && !was_string && c == '[' &&
			  opens_items(split->envelope.bytes + split->string_at);
	return 0;
}

/* A byte that is not within an object. */
static int feed_between(struct shunt_split *split, char c, struct shunt_err *err)
{
	if (split->form == SHUNT_SPLIT_LIST && (!split->in_items || c == ']'))
		return feed_envelope(split, c, err);
	if (is_space(c) || (split->in_items && c == ','))
		return 0;
	return unexpected(split, c, err);
}

int shunt_split_feed(struct shunt_split *split, const char *bytes, size_t len,
		     struct shunt_err *err)
{
	while (len) {
		bool objects = split->form == SHUNT_SPLIT_WATCH || split->in_items;
		ssize_t n;

		if (split->in_object.depth || (objects && *bytes == '{'))
			n = feed_object(split, bytes, len, err);
		else
			n = feed_between(split, *bytes, err);
		if (n < 0)
			return n;
		n += !n; /* between objects it is one byte at a time */
		bytes += n;
		len -= n;
	}
	return 0;
}

int shunt_split_finish(const struct shunt_split *split, struct shunt_err *err)
{
	bool no_list = split->form == SHUNT_SPLIT_LIST && !split->envelope.len;

	if (split->in_object.depth || split->in_envelope.depth || no_list)
		return shunt_err_set(err, -EPIPE,
				     "the API server's answer ends too early: the connection "
				     "broke");
	return 0;
}

const char *shunt_split_envelope(const struct shunt_split *split, size_t *ret_len)
{
	*ret_len = split->envelope.len;
	return split->envelope.bytes;
}
