// SPDX-License-Identifier: Apache-2.0
#include "metrics/decisions.h"

#include <inttypes.h>
#include <netinet/in.h>

#include "base/cleanup.h"
#include "metrics/exposition.h"

static void breaker_line(FILE *out, const char *metric, const struct shunt_metrics_breaker *breaker,
			 uint64_t value)
{
	static const char *const scopes[] = { "service", "variant", "backend" };
	const struct shunt_breaker_name *name = breaker->name;
	char port[16];

	fputs(metric, out);
	variant_labels(out, name->namespace_, name->service, name->variant);
	snprintf(port, sizeof(port), "%u%s", ntohs(name->port_be),
		 name->proto == IPPROTO_UDP ? "/udp" : "");
	label(out, ',', "port", port);
	label(out, ',', "backend", breaker->backend);
	label(out, ',', "scope", name->scope < ARRAY_LEN(scopes) ? scopes[name->scope] : "?");
	fprintf(out, "} %" PRIu64 "\n", value);
}

void shunt_decisions_write(const struct shunt_metrics *metrics, FILE *out)
{
	head(out, "shunt_breaker_state", "gauge",
	     "State of a circuit breaker: 0 closed, 1 open, 2 recovering, 3 forced open, 4 forced "
	     "closed.");
	for (size_t i = 0; i < metrics->n_breakers; i++)
		breaker_line(out, "shunt_breaker_state", &metrics->breakers[i],
			     metrics->breakers[i].phase);
	head(out, "shunt_breaker_opened_total", "counter",
	     "How often a circuit breaker has opened by itself.");
	for (size_t i = 0; i < metrics->n_breakers; i++)
		breaker_line(out, "shunt_breaker_opened_total", &metrics->breakers[i],
			     metrics->breakers[i].opened);
	head(out, "shunt_decisions_total", "counter",
	     "Decisions of the kernel that the agent was told of, by the reason of their event.");
	for (size_t i = 0; i < metrics->n_decisions; i++) {
		fputs("shunt_decisions_total", out);
		label(out, '{', "reason", metrics->decisions[i].reason);
		fprintf(out, "} %" PRIu64 "\n", metrics->decisions[i].n);
	}
	head(out, "shunt_decisions_lost_total", "counter",
	     "Decisions of the kernel that it could not tell.");
	fprintf(out, "shunt_decisions_lost_total %" PRIu64 "\n", metrics->decisions_lost);
}
