// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>

#include "base/cleanup.h"
#include "base/units.h"

static const struct {
	const char *text;
	int r;
	uint64_t ms;
} durations[] = {
	{ "60s", 0, 60000 },
	{ "500ms", 0, 500 },
	{ "5m", 0, 300000 },
	{ "2h", 0, 7200000 },
	{ "7", 0, 7000 },
	{ "0", 0, 0 },
	{ "168h", 0, 604800000 },
	{ "169h", -ERANGE, 0 },
	{ "", -EINVAL, 0 },
	{ "s", -EINVAL, 0 },
	{ "-1s", -EINVAL, 0 },
	{ "1.5s", -EINVAL, 0 },
	{ "1d", -EINVAL, 0 },
	{ "1 s", -EINVAL, 0 },
	{ "99999999999999999999", -ERANGE, 0 },
	{ "999999999999999999999999999999s", -ERANGE, 0 },
};

Test(units, times_are_read_with_their_unit)
{
	for (size_t i = 0; i < ARRAY_LEN(durations); i++) {
		uint64_t ms = 4242;

		cr_expect_eq(shunt_duration_parse(durations[i].text, &ms), durations[i].r, "%s",
			     durations[i].text);
		cr_expect_eq(ms, durations[i].r ? 4242 : durations[i].ms, "%s", durations[i].text);
	}
}

Test(units, numbers_have_a_bound)
{
	uint64_t value = 0;

	cr_expect_eq(shunt_number_parse("65535", 65535, &value), 0);
	cr_expect_eq(value, 65535);
	cr_expect_eq(shunt_number_parse("65536", 65535, &value), -ERANGE);
	cr_expect_eq(shunt_number_parse("18446744073709551616", UINT64_MAX, &value), -ERANGE);
	cr_expect_eq(shunt_number_parse("+1", 9, &value), -EINVAL);
	cr_expect_eq(shunt_number_parse(" 1", 9, &value), -EINVAL);
	cr_expect_eq(shunt_number_parse("0x1", 9, &value), -EINVAL);
	cr_expect_eq(value, 65535);
}

Test(units, people_read_short_numbers)
{
	char buf[SHUNT_UNIT_STR_LEN];

	cr_expect_str_eq(shunt_count_str(9999, buf), "9999");
	cr_expect_str_eq(shunt_count_str(12345, buf), "12.3 k");
	cr_expect_str_eq(shunt_count_str(999949, buf), "999.9 k");
	cr_expect_str_eq(shunt_count_str(999950, buf), "1.0 M");
	cr_expect_str_eq(shunt_count_str(UINT64_MAX, buf), "18446744.1 T");
	cr_expect_str_eq(shunt_bytes_str(0, buf), "0 B");
	cr_expect_str_eq(shunt_bytes_str(1500, buf), "1.5 kB");
	cr_expect_str_eq(shunt_duration_str(999, buf), "999 ms");
	cr_expect_str_eq(shunt_duration_str(1834, buf), "1.8 s");
	cr_expect_str_eq(shunt_duration_str(60000, buf), "60 s");
	cr_expect_str_eq(shunt_duration_str(8040000, buf), "2 h 14 min");
	cr_expect_str_eq(shunt_duration_str(200000000, buf), "2 d 7 h");
	cr_expect_str_eq(shunt_share_str(0.05, buf), "5.0 %");
	cr_expect_str_eq(shunt_share_str(0.000001, buf), "0.0001 %");
	cr_expect_str_eq(shunt_share_str(0, buf), "0.0 %");
	cr_expect_str_eq(shunt_time_str(1795419167123, buf), "2026-11-23T07:32:47.123Z");
}
