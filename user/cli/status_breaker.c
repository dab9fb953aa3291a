// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "base/units.h"
#include "cli/print.h"
#include "cli/status.h"

/* The state of circuit breakers, in `shunt status` and `shunt breaker`. */

#define MAX_SHOWN 4 /* breakers of backends in one line; JSON has all */

static bool is_phase(const json_t *instance, const char *phase)
{
	return !strcmp(cli_str(instance, "phase"), phase);
}

enum print_style status_phase_style(const json_t *instance)
{
	if (is_phase(instance, "open") || is_phase(instance, "forced open"))
		return PRINT_BAD;
	return is_phase(instance, "closed") ? PRINT_GOOD : PRINT_WARN;
}

/* How much a state matters to who reads one word about several breakers. */
static int rank(const json_t *instance)
{
	static const char *const phases[] = { "closed", "forced closed", "recovering", "open",
					      "forced open" };

	for (int i = 0; i < (int)(sizeof(phases) / sizeof(phases[0])); i++)
		if (is_phase(instance, phases[i]))
			return i;
	return 0;
}

const char *status_breaker_remark(const json_t *service, const char *variant, char *buf,
				  size_t size)
{
	const json_t *instance, *worst = NULL;
	size_t i;

	buf[0] = '\0';
	json_array_foreach (json_object_get(service, "breakers"), i, instance)
		if (!strcmp(cli_str(instance, "variant"), variant) && rank(instance) &&
		    (!worst || rank(instance) > rank(worst)))
			worst = instance;
	if (worst)
		snprintf(buf, size, "breaker %s%s", cli_str(worst, "phase"),
			 *cli_str(worst, "backend") ? " at a backend" : "");
	return buf;
}

/* "green open for another 7.3 s" */
static void print_instance(const struct cli *cli, const json_t *instance)
{
	const char *backend = cli_str(instance, "backend"), *variant = cli_str(instance, "variant");
	const json_t *left = json_object_get(instance, "left_ms");
	char text[SHUNT_UNIT_STR_LEN];

	print_text(cli, PRINT_PLAIN, "%s%s", *backend ? backend : variant,
		   *backend || *variant ? " " : "");
	print_text(cli, status_phase_style(instance), "%s", cli_str(instance, "phase"));
	if (json_is_integer(left))
		print_text(cli, PRINT_PLAIN, " for another %s",
			   shunt_duration_str((uint64_t)json_integer_value(left), text));
}

void status_print_breakers(const struct cli *cli, const json_t *service)
{
	const json_t *instance, *instances = json_object_get(service, "breakers");
	size_t i, shown = 0, closed = 0;

	if (!json_array_size(instances))
		return;
	print_text(cli, PRINT_DIM, "  %-10s  ", "breaker");
	json_array_foreach (instances, i, instance) {
		bool is_backend = *cli_str(instance, "backend");

		if (is_backend && (!rank(instance) || shown == MAX_SHOWN)) {
			closed += !rank(instance);
			continue;
		}
		fputs(shown++ ? ", " : "", cli->out);
		print_instance(cli, instance);
	}
	if (closed)
		print_text(cli, PRINT_PLAIN, "%s%zu backend%s closed", shown ? ", " : "", closed,
			   closed == 1 ? "" : "s");
	if (shown + closed < json_array_size(instances))
		print_text(cli, PRINT_PLAIN, " and %zu more",
			   json_array_size(instances) - shown - closed);
	fputc('\n', cli->out);
}
