// SPDX-License-Identifier: Apache-2.0
#include <netinet/in.h>

#include "compile/policy.h"
#include "model/policy.h"

/* Envoy's max_ejection_time: however often a backend was ejected, but for a longer base time. */
#define LONGEST_MS 300000

static uint32_t least(uint64_t a, uint64_t b)
{
	return (uint32_t)(a < b ? a : b);
}

/* Rounded up: 0 would stand for "never" or "always", and people read 30 s as "29 s" otherwise. */
static uint32_t units(uint64_t ms)
{
	return least(SHUNT_EJECT_TIME(ms * 1000000 + (1 << SHUNT_EJECT_UNIT_SHIFT) - 1),
		     UINT32_MAX);
}

/*
 * Backends of variant @v: those of the port that has the fewest. Its ports share the places of
 * those that are out, and none of them is to lose all of its backends.
 */
static uint32_t members_of(const struct shunt_image_service *image, size_t v, int family)
{
	uint32_t members = 0;

	for (size_t p = 0; p < image->n_ports; p++) {
		uint32_t n = image->ports[p].variants[v].ring[family].n_members;

		if (image->ports[p].proto == IPPROTO_TCP && n && (!members || n < members))
			members = n;
	}
	return members;
}

/* One may go whatever the share, or small variants had no use of it; and one stays. */
static uint32_t most_of(uint32_t members, uint32_t percent)
{
	uint32_t most = (uint32_t)((uint64_t)members * percent / 100);

	if (!percent || members < 2)
		return 0;
	if (!most)
		most = 1;
	return least(least(most, members - 1), SHUNT_EJECT_PLACES);
}

/* With how many out are fewer than @percent in? 0: with no number that can be out. */
static uint32_t panic_of(uint32_t members, uint32_t most, uint32_t percent)
{
	for (uint32_t out = 1; out <= most; out++)
		if ((uint64_t)(members - out) * 100 < (uint64_t)members * percent)
			return out;
	return 0;
}

static void fill(const struct shunt_ejection *from, const struct shunt_image_service *image,
		 size_t v, struct shunt_eject_rule *rule)
{
	*rule = (struct shunt_eject_rule){
		.consecutive_5xx = (uint16_t)least(from->consecutive_5xx, UINT16_MAX),
		.consecutive_gateway = (uint16_t)least(from->consecutive_gateway, UINT16_MAX),
		.base = units(from->base_ms),
		.longest = units(from->base_ms > LONGEST_MS ? from->base_ms : LONGEST_MS),
		.interval = units(from->interval_ms),
	};
	for (int family = 0; family < SHUNT_N_FAMILIES; family++) {
		uint32_t members = members_of(image, v, family);
		uint32_t most = most_of(members, from->max_percent);

		rule->members[family] = (uint16_t)least(members, UINT16_MAX);
		rule->most[family] = (uint8_t)most;
		rule->panic_at[family] = (uint8_t)panic_of(members, most, from->panic_percent);
	}
}

void shunt_compile_ejection(const struct shunt_model_service *service,
			    struct shunt_image_service *image)
{
	if (!shunt_policy_ejects(service->policy))
		return;
	for (size_t p = 0; p < image->n_ports; p++)
		for (size_t v = 0; v < image->ports[p].n_variants; v++)
			fill(&service->policy->ejection, image, v,
			     &image->ports[p].variants[v].eject);
}

uint32_t shunt_eject_flag(const struct shunt_model_service *service, const struct shunt_port *port)
{
	return shunt_policy_ejects(service->policy) && port->proto == IPPROTO_TCP ? SHUNT_SVC_EJECT
										  : 0;
}
