/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BPF_HEARD_H
#define SHUNT_TESTS_BPF_HEARD_H

#include <bpf/libbpf.h>
#include <string.h>

#include "lab.h"

/* Events that the programs told. */
struct heard {
	uint32_t n;
	struct shunt_event last;
};

static inline int hear(void *ctx, void *data, size_t size)
{
	struct heard *heard = ctx;

	cr_assert_eq(size, sizeof(heard->last));
	heard->n++;
	memcpy(&heard->last, data, size);
	return 0;
}

/* What was told since it was asked last. */
static inline struct heard events(struct lab *lab)
{
	struct heard heard = { 0 };
	struct ring_buffer *ring = ring_buffer__new(lab->maps.events_fd, hear, &heard, NULL);

	cr_assert_not_null(ring);
	cr_assert_geq(ring_buffer__consume(ring), 0);
	ring_buffer__free(ring);
	return heard;
}

#endif
