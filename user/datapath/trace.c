// SPDX-License-Identifier: Apache-2.0
#include "datapath/trace.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "datapath/internal.h"

#define OWN_MAPS "tracing_" /* how the maps are named that both tracing objects share */

struct shunt_trace {
	struct shunt_dp *dp;
	struct bpf_object *tc, *xdp;		 /* the tracing ones */
	struct bpf_object *plain_tc, *plain_xdp; /* what dp had before */
	struct ring_buffer *ring;
	struct shunt_dp_array filter;
	int counts_fd; /* of tc */
	/* of the reading that is under way: */
	unsigned left;
	int (*each)(void *ctx, const struct shunt_trace_event *event);
	void *ctx;
};

static void trace_free(struct shunt_trace *trace)
{
	if (!trace)
		return;
	ring_buffer__free(trace->ring);
	shunt_array_unmap(&trace->filter);
	bpf_object__close(trace->xdp);
	bpf_object__close(trace->tc);
	free(trace);
}

static void trace_freep(struct shunt_trace **trace)
{
	trace_free(*trace);
}

/* ---- the objects -------------------------------------------------------------------------------
 */

/* Makes a not yet loaded object use the maps of a tracing that @first has made. */
static int share_own_maps(struct bpf_object *obj, const struct bpf_object *first)
{
	struct bpf_map *map;
	int r;

	bpf_object__for_each_map(map, obj)
	{
		const char *name = bpf_map__name(map);

		if (strncmp(name, OWN_MAPS, strlen(OWN_MAPS)))
			continue;
		r = bpf_map__reuse_fd(map, bpf_object__find_map_fd_by_name(first, name));
		if (r < 0)
			return r;
	}
	return 0;
}

/* @first: whose maps it shares; NULL: it makes them */
static int load(const struct shunt_dp *dp, enum shunt_object which, const struct bpf_object *first,
		struct bpf_object **ret_obj, struct shunt_err *err)
{
	struct bpf_object *obj;
	int r;

	r = shunt_object_open_on(which, dp->dir, &obj, err);
	if (r < 0)
		return r;
	if (first) {
		r = share_own_maps(obj, first);
		if (r < 0)
			shunt_err_set(err, r, "cannot share the maps of a tracing: %s",
				      strerror(-r));
	}
	if (!r)
		r = shunt_object_load(obj, err);
	if (r < 0) {
		bpf_object__close(obj);
		return r;
	}
	*ret_obj = obj;
	return 0;
}

/* ---- records
 * ---------------------------------------------------------------------------------------- */

/* libbpf has taken the record out when it calls: a negative value only ends the reading. */
static int on_record(void *ctx, void *data, size_t size)
{
	struct shunt_trace *trace = ctx;

	if (size < sizeof(struct shunt_trace_event))
		return 0;
	if (trace->each(trace->ctx, data) || !--trace->left)
		return -ECANCELED;
	return 0;
}

int shunt_trace_fd(const struct shunt_trace *trace)
{
	return ring_buffer__epoll_fd(trace->ring);
}

int shunt_trace_read(struct shunt_trace *trace, unsigned most,
		     int (*each)(void *ctx, const struct shunt_trace_event *event), void *ctx)
{
	int r;

	trace->left = most;
	trace->each = each;
	trace->ctx = ctx;
	r = ring_buffer__consume(trace->ring);
	return r < 0 && r != -ECANCELED ? r : (int)(most - trace->left);
}

struct shunt_trace_sums shunt_trace_sums(const struct shunt_trace *trace)
{
	int n = libbpf_num_possible_cpus();
	CLEANUP(freep) struct shunt_trace_counts *counts = NULL;
	struct shunt_trace_sums sums = { 0 };
	uint32_t zero = 0;

	counts = n > 0 ? calloc((size_t)n, sizeof(*counts)) : NULL;
	if (!counts || bpf_map_lookup_elem(trace->counts_fd, &zero, counts) < 0)
		return sums;
	for (int i = 0; i < n; i++) {
		sums.told += counts[i].told;
		sums.limited += counts[i].limited;
		sums.lost += counts[i].lost;
	}
	return sums;
}

struct shunt_trace_filter *shunt_trace_filter(struct shunt_trace *trace)
{
	return trace->filter.base;
}

/* ---- start and stop
 * ---------------------------------------------------------------------------------- */

static int open_maps(struct shunt_trace *trace, const struct shunt_trace_filter *filter,
		     struct shunt_err *err)
{
	int r;

	trace->counts_fd = bpf_object__find_map_fd_by_name(trace->tc, "tracing_counts");
	trace->filter.fd = bpf_object__find_map_fd_by_name(trace->tc, "tracing_filter");
	r = shunt_array_map(&trace->filter, true);
	if (r < 0)
		return shunt_err_set(err, r, "cannot map a tracing's filter into memory: %s",
				     strerror(-r));
	*shunt_trace_filter(trace) = *filter;
	trace->ring = ring_buffer__new(bpf_object__find_map_fd_by_name(trace->tc, "tracing_events"),
				       on_record, trace, NULL);
	if (!trace->ring)
		return shunt_err_set(err, -errno, "cannot read a tracing's ring: %s",
				     strerror(errno));
	return 0;
}

/* Gives dp the other pair of objects, and every gate its programs. */
static int switch_objects(struct shunt_dp *dp, struct bpf_object *tc, struct bpf_object *xdp,
			  struct shunt_err *err)
{
	dp->tc = tc;
	dp->xdp = xdp;
	return shunt_gates_adopt(dp, err);
}

int shunt_trace_start(struct shunt_dp *dp, const struct shunt_trace_filter *filter,
		      struct shunt_trace **ret_trace, struct shunt_err *err)
{
	CLEANUP(trace_freep) struct shunt_trace *trace = calloc(1, sizeof(*trace));
	struct shunt_err second;
	int r;

	if (!trace)
		return shunt_err_set(err, -ENOMEM, "out of memory");
	trace->dp = dp;
	r = load(dp, SHUNT_OBJ_TC_TRACE, NULL, &trace->tc, err);
	if (!r)
		r = load(dp, dp->has_xdp_frags ? SHUNT_OBJ_XDP_FRAGS_TRACE : SHUNT_OBJ_XDP_TRACE,
			 trace->tc, &trace->xdp, err);
	if (!r)
		r = open_maps(trace, filter, err);
	if (r < 0)
		return r;

	trace->plain_tc = dp->tc;
	trace->plain_xdp = dp->xdp;
	r = switch_objects(dp, trace->tc, trace->xdp, err);
	if (r < 0) {
		/* What this cannot put back the next look at the gates will. */
		switch_objects(dp, trace->plain_tc, trace->plain_xdp, &second);
		return r;
	}
	*ret_trace = TAKE_PTR(trace);
	return 0;
}

int shunt_trace_stop(struct shunt_trace *trace, struct shunt_err *err)
{
	int r;

	shunt_trace_filter(trace)->until_ns = 0;
	r = switch_objects(trace->dp, trace->plain_tc, trace->plain_xdp, err);
	trace_free(trace);
	return r;
}
