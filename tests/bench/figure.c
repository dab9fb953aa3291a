// SPDX-License-Identifier: Apache-2.0
#include "figure.h"

#include <stdio.h>

#include "lab.h"

void figure_add(struct figure *f, double gross, double empty, bool record)
{
	if (!record || f->rounds == FIGURE_ROUNDS)
		return;
	f->gross[f->rounds] = gross;
	f->empty[f->rounds++] = empty;
}

/* The q-quantile of the rounds, net of the median empty one. */
static double net_quantile(const struct figure *f, double q)
{
	struct figure sorted = *f;

	return bench_quantile(sorted.gross, f->rounds, q) -
	       bench_quantile(sorted.empty, f->rounds, 0.5);
}

double figure_net(const struct figure *f)
{
	return net_quantile(f, 0.5);
}

void figure_print(const struct figure *f, const char *name, double floor_ns)
{
	double net = figure_net(f);

	printf("%-26s %7u %8.1f %8.1f %8.1f %8.2f  %s\n", name, f->flows, net, net_quantile(f, 0),
	       net_quantile(f, 1), net / floor_ns, f->wrong ? "WRONG" : "ok");
}

json_t *figure_json(const struct figure *f, const char *name)
{
	return json_pack("{s:s,s:i,s:f,s:f,s:f,s:i,s:i}", "name", name, "flows", (int)f->flows,
			 "net_ns_median", figure_net(f), "net_ns_min", net_quantile(f, 0),
			 "net_ns_max", net_quantile(f, 1), "rounds", (int)f->rounds, "repeat",
			 (int)f->repeat);
}
