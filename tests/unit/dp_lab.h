/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_DP_LAB_H
#define SHUNT_TESTS_DP_LAB_H

#include "datapath/datapath.h"

/*
 * A place of its own for tests of the loader: a mount and a network namespace, a BPF file
 * system and a state directory. All of it ends with the test's process. Needs root.
 */
struct dp_lab {
	char dir[64];
	char bpffs[96]; /* <dir>/bpf/shunt; the file system is mounted at <dir>/bpf */
	char state[96];
	struct shunt_dp_opts opts; /* small maps */
};

/* Small maps; an initializer. */
#define DP_LAB_SIZES                                                                               \
	{                                                                                          \
		.flows = 1024, .frontends = 256, .services = 64, .variants = 128, .backends = 256, \
		.ring_entries = 65536, .sessions = 256                                             \
	}

/* Moves the calling process there. Aborts the test when that is not possible. */
void dp_lab_enter(struct dp_lab *lab);

/* Runs a shell command; the test fails if it does. */
void dp_lab_run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Opens with @lab->opts; the test fails with the error's text if that fails. */
struct shunt_dp *dp_lab_open(const struct dp_lab *lab);

/* The index of an interface that must exist. */
uint32_t dp_lab_ifindex(const char *ifname);

/* Makes a veth pair, both ends up and without addresses. */
void dp_lab_veth(const char *a, const char *b);

/* Descriptor of a program that does nothing, of somebody else: "tc" or "xdp". */
int dp_lab_foreign_prog(const char *type);

#endif
