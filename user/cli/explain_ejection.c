// SPDX-License-Identifier: Apache-2.0
#include "cli/explain.h"

#include <netinet/in.h>

#include "base/mono.h"
#include "base/units.h"
#include "cli/print.h"
#include "datapath/ejections.h"

/* Which backends get nothing new for their errors. */

/* One backend that is out. */
struct out {
	const struct shunt_backend *backend;
	const char *variant;
	uint64_t left_ms;
	char address[SHUNT_ADDR_PORT_LEN];
};

static bool is_of_split(const struct explain *e, const struct shunt_backend *backend)
{
	const struct shunt_split *split = &e->choice.record;

	if (backend->family != e->tuple.family || !backend->variant)
		return false;
	for (uint32_t i = 0; i < split->n_variants && i < SHUNT_MAX_VARIANTS; i++)
		if (split->variant[i].variant == backend->variant)
			return backend->variant < e->maps->variant_names.n;
	return false;
}

/* The next one behind @id that is out. Return: its id, or 0. */
static uint32_t next_out(const struct explain *e, uint32_t id, struct out *out)
{
	uint64_t now_ns = shunt_mono_ns();

	while (++id < e->maps->backends.n) {
		const struct shunt_backend *b =
			SHUNT_DP_AT(e->maps->backends, struct shunt_backend, id);
		struct shunt_ip ip = { .addr = b->addr, .family = b->family };
		struct shunt_ejected ejected;

		if (!is_of_split(e, b))
			continue;
		ejected = shunt_ejection_read(e->maps, id, now_ns);
		if (!ejected.is_out)
			continue;
		out->backend = b;
		out->variant =
			SHUNT_DP_AT(e->maps->variant_names, struct shunt_variant_name, b->variant)
				->variant;
		out->left_ms = ejected.left_ns / 1000000;
		shunt_addr_port_str(&ip, ntohs(b->port_be), out->address);
		return id;
	}
	return 0;
}

void explain_print_ejected(const struct explain *e)
{
	char left[SHUNT_UNIT_STR_LEN];
	const char *label = "ejected";
	struct out out;

	for (uint32_t id = next_out(e, 0, &out); id; id = next_out(e, id, &out)) {
		print_text(e->cli, PRINT_DIM, "  %-9s ", label);
		print_text(e->cli, PRINT_WARN, "%s of %s", out.address, out.variant);
		if (out.left_ms)
			print_text(e->cli, PRINT_PLAIN,
				   " for another %s: others of its variant take its connections",
				   shunt_duration_str(out.left_ms, left));
		else
			print_text(e->cli, PRINT_PLAIN, ", and a few new connections try it");
		fputc('\n', e->cli->out);
		label = "";
	}
}

json_t *explain_ejected_json(const struct explain *e)
{
	json_t *array = json_array();
	struct out out;

	for (uint32_t id = next_out(e, 0, &out); id; id = next_out(e, id, &out))
		json_array_append_new(array, json_pack("{s:s, s:s, s:I}", "backend", out.address,
						       "variant", out.variant, "left_ms",
						       (json_int_t)out.left_ms));
	return array;
}
