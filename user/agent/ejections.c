// SPDX-License-Identifier: Apache-2.0
#include "agent/ejections.h"

#include <stdio.h>

#include "agent/owner.h"
#include "base/units.h"

json_t *agent_ejection_json(const struct shunt_ejected *ejected)
{
	if (!ejected->has_rule)
		return json_null();
	return json_pack("{s:b, s:o, s:I, s:I}", "ejected", ejected->is_out, "left_ms",
			 ejected->is_out ? json_integer((json_int_t)(ejected->left_ns / 1000000))
					 : json_null(),
			 "times", (json_int_t)ejected->times, "in_row",
			 (json_int_t)ejected->in_row);
}

const char *agent_backend_whose(const struct agent *agent, uint32_t backend, const char *variant,
				char *buf)
{
	char address[SHUNT_ADDR_PORT_LEN];

	agent_backend_text(shunt_dp_maps(agent->dp), backend, address);
	snprintf(buf, AGENT_BACKEND_LEN, "backend %s of %.63s", *address ? address : "?", variant);
	return buf;
}

static size_t say_first(const struct agent *agent, uint32_t backend,
			const struct shunt_ejected *ejected, char *buf, size_t size)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(agent->dp);
	uint32_t variant = SHUNT_DP_AT(maps->backends, struct shunt_backend, backend)->variant;
	const struct shunt_variant_name *of =
		SHUNT_DP_AT(maps->variant_names, struct shunt_variant_name, variant);
	char object[SHUNT_LABEL_LEN], whose[AGENT_BACKEND_LEN], left[SHUNT_UNIT_STR_LEN];
	int len = snprintf(buf, size, "%s: %s is ejected",
			   agent_owner_label(agent, AGENT_OWNER(of), object),
			   agent_backend_whose(agent, backend, of->variant, whose));

	if (ejected->left_ns)
		len += snprintf(buf + len, size - len, " for another %s",
				shunt_duration_str(ejected->left_ns / 1000000, left));
	else
		len += snprintf(buf + len, size - len,
				" until a connection that tries it does well");
	return (size_t)len;
}

const char *agent_ejections_problem(const struct agent *agent, char *buf, size_t size)
{
	const struct shunt_dp_maps *maps = agent->dp ? shunt_dp_maps(agent->dp) : NULL;
	uint64_t now_ns = shunt_mono_ns();
	size_t n = 0, len = 0;

	buf[0] = '\0';
	for (uint32_t id = 1; maps && id < maps->backends.n; id++) {
		struct shunt_ejected ejected = shunt_ejection_read(maps, id, now_ns);

		if (ejected.is_out && !n++)
			len = say_first(agent, id, &ejected, buf, size);
	}
	if (n > 1 && len < size)
		snprintf(buf + len, size - len, "; %zu more are", n - 1);
	return buf;
}
