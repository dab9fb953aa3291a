/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_DATAPATH_DOCTOR_H
#define SHUNT_DATAPATH_DOCTOR_H

#include <stddef.h>

/* What this host offers, and what of it is in use: found out by trial where that is harmless. */
enum shunt_check_state { SHUNT_CHECK_OK, SHUNT_CHECK_WARN, SHUNT_CHECK_FAIL };

struct shunt_check {
	char name[40]; /* "bpffs", "gate veth1" */
	enum shunt_check_state state;
	char text[256]; /* what is */
	char hint[256]; /* what to do; "" when ok */
};

/**
 * shunt_doctor - look at the host and at the pins below @bpffs
 * @bpffs: borrowed
 * @ret_checks: freed with free(); written on 0 only
 *
 * Changes nothing. Needs no agent; without root the trials fail and say so.
 *
 * Return: 0 or -ENOMEM.
 */
int shunt_doctor(const char *bpffs, struct shunt_check **ret_checks, size_t *ret_n);

#endif
