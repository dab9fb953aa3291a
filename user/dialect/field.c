// SPDX-License-Identifier: Apache-2.0
#include "dialect/field.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct shunt_node shunt_field_root(const struct shunt_object *object, struct shunt_err *err)
{
	return (struct shunt_node){ .object = object, .json = object->json, .err = err };
}

/* Cuts rather than fails: the path is for people. */
static void child_path(char *buf, size_t size, const char *parent, const char *key)
{
	size_t len = strlen(parent);

	if (len >= size)
		len = size - 1;
	memmove(buf, parent, len);
	snprintf(buf + len, size - len, "%s%s", len ? "." : "", key);
}

int shunt_field_error(const struct shunt_node *node, int code, const char *key, const char *fmt,
		      ...)
{
	const json_t *value = key ? json_object_get(node->json, key) : node->json;
	char path[sizeof(node->path) + 64], text[400];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (key)
		child_path(path, sizeof(path), node->path, key);
	else
		snprintf(path, sizeof(path), "%s", node->path);
	return shunt_object_err(node->err, code, node->object, value ? value : node->json, path,
				"%s", text);
}

int shunt_field_any(const struct shunt_node *node, const char *key, struct shunt_node *ret_node)
{
	const json_t *value = json_object_get(node->json, key);
	struct shunt_node child = *node;

	if (!value || json_is_null(value))
		return 0;
	child.json = value;
	child_path(child.path, sizeof(child.path), node->path, key);
	*ret_node = child;
	return 1;
}

int shunt_field_need(const struct shunt_node *node, const char *key, struct shunt_node *ret_node)
{
	int r = shunt_field_any(node, key, ret_node);

	return r ? r : shunt_field_error(node, -EINVAL, key, "is required");
}

int shunt_field_object(const struct shunt_node *node, const char *key, struct shunt_node *ret_node)
{
	struct shunt_node child;
	int r = shunt_field_any(node, key, &child);

	if (r <= 0)
		return r;
	if (!json_is_object(child.json))
		return shunt_field_error(&child, -EINVAL, NULL, "must be a mapping");
	*ret_node = child;
	return 1;
}

int shunt_field_spec(const struct shunt_object *object, struct shunt_err *err,
		     struct shunt_node *ret_spec)
{
	static const char *const known[] = { "apiVersion", "kind",   "metadata",
					     "spec",	   "status", NULL };
	struct shunt_node root = shunt_field_root(object, err);
	int r = shunt_field_only(&root, known);

	if (!r)
		r = shunt_field_need(&root, "spec", ret_spec);
	if (r > 0)
		r = shunt_field_object(&root, "spec", ret_spec);
	return r < 0 ? r : 0;
}

int shunt_field_list(const struct shunt_node *node, const char *key, struct shunt_node *ret_list)
{
	struct shunt_node child;
	int r = shunt_field_any(node, key, &child);

	if (r <= 0)
		return r;
	if (!json_is_array(child.json))
		return shunt_field_error(&child, -EINVAL, NULL, "must be a list");
	*ret_list = child;
	return 1;
}

int shunt_field_text(const struct shunt_node *node, const char **ret_text)
{
	if (!json_is_string(node->json))
		return shunt_field_error(node, -EINVAL, NULL, "must be a string");
	*ret_text = json_string_value(node->json);
	return 0;
}

/* ::ffff:1.2.3.4 means an IPv4 address, and would pass every guard as another one. */
static bool is_v4_mapped(const struct shunt_ip *ip)
{
	return ip->family == SHUNT_V6 && !ip->addr.word_be[0] && !ip->addr.word_be[1] &&
	       ip->addr.word_be[2] == htonl(0xffff);
}

int shunt_field_ip(const struct shunt_node *node, struct shunt_ip *ret_ip)
{
	const char *text = "";
	int r = shunt_field_text(node, &text);

	if (r < 0)
		return r;
	if (shunt_ip_parse(text, ret_ip) < 0)
		return shunt_field_error(node, -EINVAL, NULL, "\"%.60s\" is not an IP address",
					 text);
	if (is_v4_mapped(ret_ip))
		return shunt_field_error(node, -EINVAL, NULL, "%s: write the IPv4 address", text);
	return 0;
}

int shunt_field_string(const struct shunt_node *node, const char *key, const char **ret_text)
{
	struct shunt_node child;
	int r = shunt_field_any(node, key, &child);

	if (r <= 0)
		return r;
	r = shunt_field_text(&child, ret_text);
	return r < 0 ? r : 1;
}

int shunt_field_bool(const struct shunt_node *node, const char *key, bool *ret_value)
{
	struct shunt_node child;
	int r = shunt_field_any(node, key, &child);

	if (r <= 0)
		return r;
	if (!json_is_boolean(child.json))
		return shunt_field_error(&child, -EINVAL, NULL, "must be true or false");
	*ret_value = json_is_true(child.json);
	return 1;
}

/* A number with a point or an exponent where a whole one is wanted. Return: -EINVAL. */
static int real_error(const struct shunt_node *node, double value, int64_t min, int64_t max)
{
	if (value < (double)min || value > (double)max)
		return shunt_field_error(node, -EINVAL, NULL, "%g is not between %lld and %lld",
					 value, (long long)min, (long long)max);
	if (value == (double)(int64_t)value)
		return shunt_field_error(node, -EINVAL, NULL,
					 "a whole number has no point and no exponent: write %lld",
					 (long long)value);
	return shunt_field_error(node, -EINVAL, NULL,
				 "%g is not a whole number between %lld and %lld", value,
				 (long long)min, (long long)max);
}

int shunt_field_int(const struct shunt_node *node, const char *key, int64_t min, int64_t max,
		    int64_t *ret_value)
{
	struct shunt_node child;
	int r = shunt_field_any(node, key, &child);
	int64_t value;

	if (r <= 0)
		return r;
	if (json_is_real(child.json))
		return real_error(&child, json_real_value(child.json), min, max);
	if (!json_is_integer(child.json))
		return shunt_field_error(&child, -EINVAL, NULL,
					 "must be a whole number between %lld and %lld",
					 (long long)min, (long long)max);
	value = json_integer_value(child.json);
	if (value < min || value > max)
		return shunt_field_error(&child, -EINVAL, NULL, "%lld is not between %lld and %lld",
					 (long long)value, (long long)min, (long long)max);
	*ret_value = value;
	return 1;
}

int shunt_field_port(const struct shunt_node *node, const char *key, uint16_t *ret_port)
{
	int64_t port;
	int r = shunt_field_int(node, key, 1, 65535, &port);

	if (r > 0)
		*ret_port = port;
	return r;
}

int shunt_field_label(const struct shunt_node *node, const char *key, const char **ret_text)
{
	const char *text = "";
	int r = shunt_field_string(node, key, &text);
	size_t len;

	if (r <= 0)
		return r;
	len = strlen(text);
	if (len > 63)
		return shunt_field_error(node, -EINVAL, key, "%zu bytes are more than a name's 63",
					 len);
	if (!len || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") != len ||
	    text[0] == '-' || text[len - 1] == '-')
		return shunt_field_error(node, -EINVAL, key,
					 "\"%s\" is not a name: a-z, 0-9 and '-' only", text);
	*ret_text = text;
	return 1;
}

size_t shunt_field_length(const struct shunt_node *list)
{
	return json_array_size(list->json);
}

struct shunt_node shunt_field_item(const struct shunt_node *list, size_t index)
{
	struct shunt_node item = *list;
	size_t len = strlen(list->path);

	item.json = json_array_get(list->json, index);
	snprintf(item.path + len, sizeof(item.path) - len, "[%zu]", index);
	return item;
}

int shunt_field_item_object(const struct shunt_node *list, size_t index,
			    struct shunt_node *ret_node)
{
	struct shunt_node item = shunt_field_item(list, index);

	if (!json_is_object(item.json))
		return shunt_field_error(&item, -EINVAL, NULL, "must be a mapping");
	*ret_node = item;
	return 0;
}

int shunt_field_only(const struct shunt_node *node, const char *const *known)
{
	const char *key;
	json_t *value;

	json_object_foreach ((json_t *)node->json, key, value) {
		const char *const *name = known;

		while (*name && strcmp(*name, key))
			name++;
		if (!*name && !json_is_null(value) &&
		    !(json_is_array(value) && !json_array_size(value)))
			return shunt_field_error(node, -EOPNOTSUPP, key,
						 "Shunt does not support this field");
	}
	return 0;
}
