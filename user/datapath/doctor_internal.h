/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_DOCTOR_INTERNAL_H
#define SHUNT_DATAPATH_DOCTOR_INTERNAL_H

#include <stdbool.h>

#include "datapath/doctor.h"

/* The checks being collected; a check that finds no memory is left out and remembered. */
struct doctor {
	const char *bpffs;
	struct shunt_check *checks;
	size_t n;
	bool is_out_of_memory;
	bool has_bridge_port; /* some gate is a port of a bridge */
};

void doctor_add(struct doctor *doctor, enum shunt_check_state state, const char *name,
		const char *hint, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Reads the number in a small file. Return: 0 or -errno. */
int doctor_read_number(const char *path, long *ret_value);

void doctor_check_pins(struct doctor *doctor);	 /* doctor_pins.c: also every gate */
void doctor_check_sysctl(struct doctor *doctor); /* doctor_sysctl.c: after the gates */

#endif
