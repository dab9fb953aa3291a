// SPDX-License-Identifier: Apache-2.0
#include "metrics/probes.h"

#include <inttypes.h>
#include <netinet/in.h>

#include "metrics/exposition.h"
#include "metrics/signals.h"

void shunt_probes_write(const struct shunt_metrics_probe *probes, size_t n, FILE *out)
{
	char port[16];

	if (!n)
		return;
	head(out, "shunt_probe_requests_total", "counter",
	     "Requests that the agent itself sent to the backend, by the class of the answer.");
	for (size_t i = 0; i < n; i++) {
		const struct shunt_variant_name *name = probes[i].variant;

		snprintf(port, sizeof(port), "%u", ntohs(name->port_be));
		for (int c = 0; c < SHUNT_N_CODE_CLASSES; c++) {
			fputs("shunt_probe_requests_total", out);
			variant_labels(out, name->namespace_, name->service, name->variant);
			label(out, ',', "port", port);
			label(out, ',', "backend", probes[i].backend);
			label(out, ',', "code", c ? shunt_code_classes[c] : "none");
			fprintf(out, "} %" PRIu64 "\n", probes[i].answers[c]);
		}
	}
}
