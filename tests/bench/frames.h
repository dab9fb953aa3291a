/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BENCH_FRAMES_H
#define SHUNT_TESTS_BENCH_FRAMES_H

#include <stdbool.h>
#include <stdint.h>

#include "shunt/tuple.h"

/* The frames of the benchmark: as long as what the wrapper writes back, 56 or 80 bytes. */
#define FRAME_LEN 80

struct frame {
	uint8_t data[FRAME_LEN];
	uint32_t len;
	uint32_t padding; /* behind the IP packet */
	uint8_t proto;
	bool v6;
};

/* The first flow's frame from the bench's client to @dst. @flags: TCP's, 0 for UDP. */
void frame_build(struct frame *f, const char *dst, uint8_t proto, uint16_t dport, uint8_t flags);

/* Takes the payload away: the frame stays as long as it was. */
void frame_bare(struct frame *f);

/* @f's frame of flow @flow, as the wrapper stamps it, with good checksums, into @ret. */
void frame_stamp(const struct frame *f, uint32_t flow, uint8_t flags, struct frame *ret);

/* What the receiver of @request answers, with good checksums, into @ret. */
void frame_answer(const struct frame *request, uint8_t flags, uint32_t seq, uint32_t ack,
		  struct frame *ret);

/* Sets the acknowledgement number of a TCP frame, and its checksum. */
void frame_acknowledge(struct frame *f, uint32_t ack);

bool frame_sums_right(const struct frame *f);
struct shunt_tuple frame_tuple(const struct frame *f);

#endif
