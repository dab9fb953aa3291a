/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_STAGES_STEPS_H
#define SHUNT_TESTS_STAGES_STEPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "shim.h"

/*
 * A conversation as a list of steps: what a corpus file holds, and what both drivers run. The
 * history lets a step speak of an earlier packet, whatever the programs made of it.
 *
 * As bytes, integers little endian; what is cut short ends the list:
 *	op 1, where, length (2), frame		a frame as it is
 *	op 2, where, flags, n, n * (at, value)	the answer to a packet of the history; TCP flags,
 *						255: a handshake's next
 *	op 3, where, type, n, n * (at, value)	an ICMP error about it, of this type; 255:
 *						the family's unreachable
 *	op 4, jiffies (2)			time goes by
 *	op 5, what, value			scene_edit()
 * where: bit 0: tc egress (op 1), at ingress (op 2), from a router (op 3); bit 1: XDP; with both
 *(op 1) the XDP program of old kernels; bit 2: gate 1; bit 3: not linear (of tc, that is not
 *compared with the kernel); bits 4..7: op 1: segments; op 2, 3: which packet, the last is 0. (at,
 *value): byte AT of the frame becomes VALUE.
 */
enum step_op { STEP_FRAME = 1, STEP_ANSWER, STEP_ERROR, STEP_TIME, STEP_EDIT };

enum step_where {
	STEP_EGRESS = 1 << 0,
	STEP_XDP = 1 << 1,
	STEP_GATE_1 = 1 << 2,
	STEP_SPLIT = 1 << 3,
	STEP_PLAIN = STEP_EGRESS | STEP_XDP,
};

#define STEP_NATURAL 255
#define STEP_EDITS   8

struct step {
	uint8_t op;
	uint8_t where;
	uint8_t a;	/* flags, type, what */
	uint8_t n;	/* edits */
	uint16_t value; /* jiffies, value */
	struct {
		uint8_t at, value;
	} edit[STEP_EDITS];
	uint16_t len;
	const uint8_t *frame; /* borrowed */
};

/* Reads one step at *@at and moves it. Return: false at the end. */
bool step_read(const uint8_t *data, size_t size, size_t *at, struct step *ret_step);

#define STEP_HISTORY 16

struct history {
	struct {
		bool egress;
		struct shim_packet packet; /* as it came out */
	} past[STEP_HISTORY];
	uint32_t n, untouched;
};

/* Remembers @packet as it came out; of those that came out as they went in (@sent), one in four. */
void history_add(struct history *history, const struct shim_packet *sent,
		 const struct shim_packet *packet, bool egress);

/*
 * The packet that a step of op 1 to 3 sends. Return: false if there is none: nothing to answer,
 * or so short that no hook sees it: under 14 bytes, and on tc 14 (BPF_PROG_TEST_RUN wants more).
 */
bool step_packet(const struct step *step, const struct history *history,
		 struct shim_packet *ret_packet, bool *ret_egress);

#endif
