// SPDX-License-Identifier: Apache-2.0
#include "base/units.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"

#define MAX_DURATION_MS (7ull * 24 * 3600 * 1000)

int shunt_number_parse(const char *text, uint64_t max, uint64_t *ret_value)
{
	uint64_t value;
	char *end;

	if (!isdigit((unsigned char)*text))
		return -EINVAL;
	errno = 0;
	value = strtoull(text, &end, 10);
	if (*end)
		return -EINVAL;
	if (errno == ERANGE || value > max)
		return -ERANGE;
	*ret_value = value;
	return 0;
}

int shunt_duration_parse(const char *text, uint64_t *ret_ms)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = { { "", 1000 }, { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	char digits[24];
	size_t n = strspn(text, "0123456789");
	uint64_t value;
	int r;

	if (n >= sizeof(digits))
		return -ERANGE;
	memcpy(digits, text, n);
	digits[n] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(units); i++) {
		if (strcmp(text + n, units[i].name))
			continue;
		r = shunt_number_parse(digits, MAX_DURATION_MS / units[i].ms, &value);
		if (r == 0)
			*ret_ms = value * units[i].ms;
		return r;
	}
	return -EINVAL;
}

static const char *scaled(uint64_t value, const char *const units[], char *buf)
{
	double scaled_value = (double)value;
	unsigned i = 0;

	while (scaled_value >= 999.95 && units[i + 1]) {
		scaled_value /= 1000;
		i++;
	}
	snprintf(buf, SHUNT_UNIT_STR_LEN, "%.*f%s%s", i ? 1 : 0, scaled_value, *units[i] ? " " : "",
		 units[i]);
	return buf;
}

const char *shunt_count_str(uint64_t count, char *buf)
{
	static const char *const units[] = { "", "k", "M", "G", "T", NULL };

	if (count >= 10000)
		return scaled(count, units, buf);
	snprintf(buf, SHUNT_UNIT_STR_LEN, "%llu", (unsigned long long)count);
	return buf;
}

const char *shunt_bytes_str(uint64_t bytes, char *buf)
{
	static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB", NULL };

	return scaled(bytes, units, buf);
}

const char *shunt_duration_str(uint64_t ms, char *buf)
{
	unsigned long long s = ms / 1000;

	if (ms < 1000)
		snprintf(buf, SHUNT_UNIT_STR_LEN, "%llu ms", (unsigned long long)ms);
	else if (ms < 10000)
		snprintf(buf, SHUNT_UNIT_STR_LEN, "%llu.%llu s", s,
			 (unsigned long long)ms / 100 % 10);
	else if (s < 100)
		snprintf(buf, SHUNT_UNIT_STR_LEN, "%llu s", s);
	else if (s < 3600)
		snprintf(buf, SHUNT_UNIT_STR_LEN, "%llu min", s / 60);
	else if (s < 48 * 3600)
		snprintf(buf, SHUNT_UNIT_STR_LEN, "%llu h %llu min", s / 3600, s / 60 % 60);
	else
		snprintf(buf, SHUNT_UNIT_STR_LEN, "%llu d %llu h", s / 86400, s / 3600 % 24);
	return buf;
}

const char *shunt_share_str(double share, char *buf)
{
	double percent = share * 100;

	/* A share that is there but small must not read as nothing. */
	if (percent > 0 && percent < 0.05)
		snprintf(buf, SHUNT_UNIT_STR_LEN, "%.4f %%", percent);
	else
		snprintf(buf, SHUNT_UNIT_STR_LEN, "%.1f %%", percent);
	return buf;
}

const char *shunt_time_str(int64_t realtime_ms, char *buf)
{
	time_t s = realtime_ms / 1000;
	char stamp[24];
	struct tm utc;

	gmtime_r(&s, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	snprintf(buf, SHUNT_UNIT_STR_LEN, "%s.%03uZ", stamp, (unsigned)(realtime_ms % 1000));
	return buf;
}
