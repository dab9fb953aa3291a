/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_BASE_UNITS_H
#define SHUNT_BASE_UNITS_H

#include <stdint.h>

#define SHUNT_UNIT_STR_LEN 32

/**
 * shunt_duration_parse - "60s", "500ms", "5m", "2h" or a bare number of seconds
 * @ret_ms: milliseconds
 *
 * Return: 0, -EINVAL, or -ERANGE above seven days.
 */
int shunt_duration_parse(const char *text, uint64_t *ret_ms);

/* Decimal digits only. Return: 0, -EINVAL, or -ERANGE above @max. */
int shunt_number_parse(const char *text, uint64_t max, uint64_t *ret_value);

/* For people; @buf has SHUNT_UNIT_STR_LEN bytes. Return: @buf. */
const char *shunt_count_str(uint64_t count, char *buf); /* "812", "12.3 k", "4.5 M" */
const char *shunt_bytes_str(uint64_t bytes, char *buf); /* "812 B", "12.3 kB" */
const char *shunt_duration_str(uint64_t ms, char *buf); /* "3 ms", "1.8 s", "42 s", "2 h 14 min" */
const char *shunt_share_str(double share, char *buf);	/* 0.05: "5.0 %" */
const char *shunt_time_str(int64_t realtime_ms, char *buf); /* RFC 3339, UTC, milliseconds */

#endif
