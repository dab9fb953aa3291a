/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_SOURCE_YAML_PARSE_H
#define SHUNT_SOURCE_YAML_PARSE_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"
#include "source/yaml/positions.h"

/* YAML text -> one JSON tree per document, with positions. Knows nothing of Kubernetes. */
struct shunt_yaml_parser;

struct shunt_yaml_document {
	json_t *json;			   /* owned */
	struct shunt_positions *positions; /* owned reference */
	unsigned line;			   /* of its first line */
};

/**
 * shunt_yaml_parser_open - start on one text
 * @file: for messages; @text, @len: all borrowed until the close
 * @err:  filled by every later error of this parser
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_yaml_parser_open(const char *file, const char *text, size_t len, struct shunt_err *err,
			   struct shunt_yaml_parser **ret_parser);
void shunt_yaml_parser_close(struct shunt_yaml_parser *parser); /* NULL is fine */

/* Return: 1 with @ret_document filled, 0 at the end, or -EINVAL, -EFBIG, -ENOMEM. */
int shunt_yaml_parser_next(struct shunt_yaml_parser *parser,
			   struct shunt_yaml_document *ret_document);

/* Drops what @document owns. */
void shunt_yaml_document_clear(struct shunt_yaml_document *document);

#endif
