// SPDX-License-Identifier: Apache-2.0
#include "cli/signals.h"

#include <stdio.h>

#include "cli/cli.h"

static void read_times(const json_t *pairs, struct shunt_response_time *times)
{
	const json_t *pair;
	size_t i;

	json_array_foreach (pairs, i, pair) {
		json_int_t bucket = json_integer_value(json_array_get(pair, 0));

		if (bucket >= 0 && bucket < SHUNT_TIME_BUCKETS)
			times[bucket].responses =
				(uint64_t)json_integer_value(json_array_get(pair, 1));
	}
}

struct shunt_golden cli_signals_read(const json_t *http)
{
	const json_t *responses = json_object_get(http, "responses");
	struct shunt_golden signals = { .requests = (uint64_t)cli_int(http, "requests") };

	for (int c = 0; c < SHUNT_N_CODE_CLASSES; c++)
		signals.responses[c] = (uint64_t)cli_int(responses, shunt_code_classes[c]);
	read_times(json_object_get(http, "times"), signals.times);
	return signals;
}

struct shunt_golden cli_connections_read(const json_t *tcp)
{
	uint64_t established = (uint64_t)cli_int(tcp, "established");
	uint64_t failed = (uint64_t)cli_int(tcp, "refused") + (uint64_t)cli_int(tcp, "unanswered");
	struct shunt_golden signals = { .requests = established + failed };

	signals.responses[2] = established;
	signals.responses[5] = failed;
	read_times(json_object_get(tcp, "times"), signals.times);
	return signals;
}

const char *cli_ms_str(double ms, char *buf)
{
	if (ms < 1000)
		snprintf(buf, SHUNT_UNIT_STR_LEN, "%.*f ms", ms < 10 ? 2 : 0, ms);
	else
		snprintf(buf, SHUNT_UNIT_STR_LEN, "%.*f s", ms < 10000 ? 2 : 0, ms / 1000);
	return buf;
}
