/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_STAGES_OBJECTS_H
#define SHUNT_TESTS_STAGES_OBJECTS_H

#include <stdbool.h>
#include <stdint.h>

#include "shim.h"

/*
 * The BPF objects of the comparison. Opened alone they say what maps there are; loaded, they
 * are the kernel's side. One of them a process. Calls that fail say why and end the program.
 */

/* Opens both objects and makes each of their maps in memory, small. No root needed. */
void objects_open(void);

/* Loads them, with two gates in a network namespace of this process alone. Needs root. */
void objects_load(void);

/* ifindex of gate 0 or 1: after objects_load(), as long as that, 1 and 2 before. */
uint32_t objects_gate(int gate);

/* Makes the kernel's maps, or one of them, what those in memory are. */
void objects_push_all(void);
void objects_push(const struct shim_map *map);

/*
 * Runs the kernel's program, as shim_run() ours, with the same script. Return: false if
 * BPF_PROG_TEST_RUN refuses such a frame, which it does of IP headers that are cut short.
 */
bool objects_run(struct shim_packet *packet, bool egress, int *ret_verdict);

/* Do all maps agree? Prints the first entry that does not. */
bool objects_compare(void);

#endif
