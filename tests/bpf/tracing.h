/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BPF_TRACING_H
#define SHUNT_TESTS_BPF_TRACING_H

#include "lab.h"
#include "shunt/trace.h"

/* The tracing programs in the lab: what they are to tell, and what they told. */

/* From now on labs have the tracing programs; a suite's .init. */
void tracing_programs(void);

/* A descriptor of one of their own maps. */
int tracing_map(const struct lab *lab, const char *name);

void tracing_set_filter(const struct lab *lab, const struct shunt_trace_filter *filter);

/* A filter that every packet passes. */
struct shunt_trace_filter tracing_everything(void);

struct tracing_records {
	uint32_t n;
	struct shunt_trace_event last;
};

/* The records since the last reading: how many, and the last of them. */
struct tracing_records tracing_read(const struct lab *lab);

#endif
