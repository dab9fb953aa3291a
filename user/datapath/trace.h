/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_TRACE_H
#define SHUNT_DATAPATH_TRACE_H

#include "datapath/datapath.h"
#include "shunt/trace.h"

/*
 * A tracing: the programs of all gates are replaced, in place and on the same maps, by a build
 * that tells what each stage does (bpf/trace.h), and put back at the end. Without one nothing
 * of this runs. Should the agent die meanwhile, the tracing programs go on splitting and, after
 * until_ns of the filter, tell nothing more; the next agent replaces them as it adopts the gates.
 */
struct shunt_trace;

/* What a tracing has told, and what it could not. */
struct shunt_trace_sums {
	uint64_t told;
	uint64_t limited; /* over the filter's rate */
	uint64_t lost;	  /* the ring was full */
};

/**
 * shunt_trace_start - load the tracing programs and put them on every gate
 * @filter: copied
 * @ret_trace: written on 0 only; ended with shunt_trace_stop(), before @dp is closed
 *
 * Until then shunt_dp_attach() attaches the tracing programs, too. One tracing at a time.
 *
 * Return: 0 or -errno with @err; the gates then have the plain programs.
 */
int shunt_trace_start(struct shunt_dp *dp, const struct shunt_trace_filter *filter,
		      struct shunt_trace **ret_trace, struct shunt_err *err);

/**
 * shunt_trace_stop - put the plain programs back and free the tracing
 *
 * Return: 0, or -errno with @err: some gate keeps a tracing program, which tells nothing, until
 * shunt_dp_attach() repairs it.
 */
int shunt_trace_stop(struct shunt_trace *trace, struct shunt_err *err);

/* A descriptor that is readable when there are records. Borrowed. */
int shunt_trace_fd(const struct shunt_trace *trace);

/**
 * shunt_trace_read - hand over the records that are there
 * @most: how many at most; the descriptor stays readable while there are more
 * @each: @event is good for the call only; returns 0, or another value to stop
 *
 * Return: how many were handed over, or -errno.
 */
int shunt_trace_read(struct shunt_trace *trace, unsigned most,
		     int (*each)(void *ctx, const struct shunt_trace_event *event), void *ctx);

struct shunt_trace_sums shunt_trace_sums(const struct shunt_trace *trace);

/* The filter that the programs read: single words of it may be stored at any time. */
struct shunt_trace_filter *shunt_trace_filter(struct shunt_trace *trace);

#endif
