/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_DOCTOR_INTERNAL_H
#define SHUNT_DATAPATH_DOCTOR_INTERNAL_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "datapath/doctor.h"
#include "datapath/links.h"

struct doctor_gate {
	uint32_t ifindex;
	char ifname[IF_NAMESIZE];
	bool is_xdp;
};

/* The checks being collected; a check that finds no memory is left out and remembered. */
struct doctor {
	const char *bpffs;
	const char *root; /* before /proc and /sys: "", or a test's own */
	struct shunt_check *checks;
	size_t n;
	bool is_out_of_memory;
	struct doctor_gate *gates; /* each once */
	size_t n_gates;
	struct shunt_link *links;
	size_t n_links;
	uint32_t nat_port_first, nat_port_count; /* of the pinned settings; 0: not known */
};

void doctor_add(struct doctor *doctor, enum shunt_check_state state, const char *name,
		const char *hint, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* Reads the number in a small file below the root. Return: 0 or -errno. */
int doctor_read_number(const struct doctor *doctor, long *ret_value, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Opens a file below the root. Return: NULL on failure. */
FILE *doctor_open(const struct doctor *doctor, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Remembers a gate for the checks below; once, however often it is told. */
void doctor_note_gate(struct doctor *doctor, uint32_t ifindex, const char *ifname, bool is_xdp);

/* Which gates a finding is about. */
typedef bool (*doctor_want_t)(const struct doctor *doctor, const struct doctor_gate *gate);

/* "veth1, veth2 and 5 more": those that @want says yes to. Return: how many. */
#define DOCTOR_NAMES_LEN 100
size_t doctor_gate_names(const struct doctor *doctor, doctor_want_t want,
			 char buf[DOCTOR_NAMES_LEN]);

/*
 * Warns by @check of the gates that @want says yes to, if any: "veth1, veth2: @what".
 * Return: are there any?
 */
bool doctor_warn_gates(struct doctor *doctor, doctor_want_t want, const char *check,
		       const char *advice, const char *what);

/* What @gate stands in: its bridge, NULL if it is no port of one. */
const struct shunt_link *doctor_bridge_of(const struct doctor *doctor,
					  const struct doctor_gate *gate);

void doctor_check_pins(struct doctor *doctor);	 /* doctor_pins.c: also every gate's hooks */
void doctor_check_gates(struct doctor *doctor);	 /* doctor_gates.c: their devices */
void doctor_check_sysctl(struct doctor *doctor); /* doctor_sysctl.c: after the gates */

#endif
