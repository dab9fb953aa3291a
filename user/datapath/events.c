// SPDX-License-Identifier: Apache-2.0
#include "datapath/events.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"

struct shunt_events {
	struct ring_buffer *ring;
	/* of the reading that is under way: */
	unsigned left;
	void (*each)(void *ctx, const struct shunt_event *event);
	void *ctx;
};

/* libbpf has taken the record out when it calls: a negative value only ends the reading. */
static int on_record(void *ctx, void *data, size_t size)
{
	struct shunt_events *events = ctx;

	if (size < sizeof(struct shunt_event))
		return 0;
	events->each(events->ctx, data);
	return --events->left ? 0 : -ECANCELED;
}

int shunt_events_open(const struct shunt_dp_maps *maps, struct shunt_events **ret_events)
{
	CLEANUP(freep) struct shunt_events *events = calloc(1, sizeof(*events));

	if (!events)
		return -ENOMEM;
	events->ring = ring_buffer__new(maps->events_fd, on_record, events, NULL);
	if (!events->ring)
		return -errno;
	*ret_events = TAKE_PTR(events);
	return 0;
}

void shunt_events_close(struct shunt_events *events)
{
	if (!events)
		return;
	ring_buffer__free(events->ring);
	free(events);
}

int shunt_events_fd(const struct shunt_events *events)
{
	return ring_buffer__epoll_fd(events->ring);
}

int shunt_events_read(struct shunt_events *events, unsigned most,
		      void (*each)(void *ctx, const struct shunt_event *event), void *ctx)
{
	int r;

	events->left = most;
	events->each = each;
	events->ctx = ctx;
	r = ring_buffer__consume(events->ring);
	return r < 0 && r != -ECANCELED ? r : (int)(most - events->left);
}

int shunt_events_counters(const struct shunt_dp_maps *maps,
			  struct shunt_event_counters *ret_counters)
{
	CLEANUP(freep) struct shunt_event_counters *of_cpu = NULL;
	struct shunt_event_counters sum = { 0 };
	int cpus = libbpf_num_possible_cpus();
	__u32 zero = 0;

	if (cpus < 0)
		return cpus;
	of_cpu = calloc((size_t)cpus, sizeof(*of_cpu));
	if (!of_cpu)
		return -ENOMEM;
	if (bpf_map_lookup_elem(maps->event_counters_fd, &zero, of_cpu) < 0)
		return -errno;
	for (int cpu = 0; cpu < cpus; cpu++) {
		sum.told += of_cpu[cpu].told;
		sum.lost += of_cpu[cpu].lost;
	}
	*ret_counters = sum;
	return 0;
}
