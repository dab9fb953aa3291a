// SPDX-License-Identifier: Apache-2.0
#include "tracing.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "skel/tc.skel.h"

void tracing_programs(void)
{
	lab_traced = true;
}

int tracing_map(const struct lab *lab, const char *name)
{
	int fd = bpf_object__find_map_fd_by_name(lab->tc->obj, name);

	cr_assert_geq(fd, 0, "no map %s", name);
	return fd;
}

void tracing_set_filter(const struct lab *lab, const struct shunt_trace_filter *filter)
{
	uint32_t zero = 0;

	cr_assert_eq(bpf_map_update_elem(tracing_map(lab, "tracing_filter"), &zero, filter, 0), 0);
}

struct shunt_trace_filter tracing_everything(void)
{
	return (struct shunt_trace_filter){ .until_ns = UINT64_MAX, .rate = 1000000 };
}

static int keep(void *ctx, void *data, size_t size)
{
	struct tracing_records *records = ctx;

	cr_assert_eq(size, sizeof(records->last));
	memcpy(&records->last, data, size);
	records->n++;
	return 0;
}

struct tracing_records tracing_read(const struct lab *lab)
{
	struct tracing_records records = { 0 };
	struct ring_buffer *ring =
		ring_buffer__new(tracing_map(lab, "tracing_events"), keep, &records, NULL);

	cr_assert_not_null(ring);
	cr_assert_geq(ring_buffer__consume(ring), 0);
	ring_buffer__free(ring);
	return records;
}
