/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_UNIT_CARRY_CONTENTS_H
#define TESTS_UNIT_CARRY_CONTENTS_H

#include "datapath/datapath.h"

/*
 * Contents of all maps that the builds of both ABIs know: one fills them, the other looks
 * whether all has come over.
 */
#define N_FLOWS 1024

void contents_fill(struct shunt_dp *dp);

/* Flow number @i of them. */
void contents_flow(struct shunt_flow *flow, uint32_t i);

/* Return: NULL, or what is wrong. */
const char *contents_check(struct shunt_dp *dp);
const char *contents_check_counters(struct shunt_dp *dp);

#endif
