/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_SOURCE_YAML_SCALAR_H
#define SHUNT_SOURCE_YAML_SCALAR_H

#include <jansson.h>
#include <stddef.h>

/**
 * shunt_yaml_plain - the value of a plain scalar by the YAML 1.2 core schema
 * @text: NUL-terminated, @len bytes without a NUL among them
 *
 * null, booleans, integers (decimal, 0o, 0x) and floats; the rest is a string. An integer
 * that does not fit 64 bits becomes a float.
 *
 * Return: a new reference, or NULL when memory is out or JSON has no such number (infinity).
 */
json_t *shunt_yaml_plain(const char *text, size_t len);

#endif
