/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BENCH_NEWFLOWS_H
#define SHUNT_TESTS_BENCH_NEWFLOWS_H

#include "figure.h"
#include "rig.h"

/* The packets that make a connection. */
enum newflow_packet { NEWFLOW_SYN, NEWFLOW_ANSWER, NEWFLOW_ACK, NEWFLOW_PACKETS };

/* What each of them costs. */
struct newflow_case {
	const char *name;
	uint32_t flows; /* 1, or 65 536 */
	bool cold;	/* the table is overwritten before, not emptied flow by flow */
	struct figure figure[NEWFLOW_PACKETS];
};

/**
 * newflow_prepare - build the packets, pass each once and check what comes out
 * @dst, @dport: the service that connections are made to
 */
void newflow_prepare(struct rig *rig, const char *dst, uint16_t dport);

/* One round of a case. @record: false: only warm up. Afterwards the table is empty. */
void newflow_measure(struct rig *rig, struct newflow_case *c, bool record);

#endif
