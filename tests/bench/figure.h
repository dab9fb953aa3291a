/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BENCH_FIGURE_H
#define SHUNT_TESTS_BENCH_FIGURE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#define FIGURE_ROUNDS 64

/* What one case measured: nanoseconds per packet, a round each. */
struct figure {
	char name[40];
	uint32_t flows, repeat;
	unsigned rounds;
	double gross[FIGURE_ROUNDS]; /* in the wrapper */
	double empty[FIGURE_ROUNDS]; /* the empty program in the same wrapper */
	uint64_t wrong;		     /* verdicts that were not the expected one */
};

/* Notes a round, unless it only warmed up. */
void figure_add(struct figure *f, double gross, double empty, bool record);

/* The median of the rounds less that of the empty program. */
double figure_net(const struct figure *f);

/* A line of the table. @floor_ns: what the floor costs for as many flows. */
void figure_print(const struct figure *f, const char *name, double floor_ns);

/* An element of the list in BENCH_JSON, under the name @name. */
json_t *figure_json(const struct figure *f, const char *name);

#endif
