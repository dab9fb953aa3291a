/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BENCH_LAB_H
#define SHUNT_TESTS_BENCH_LAB_H

#include "datapath/datapath.h"
#include "datapath/install.h"
#include "model/model.h"

/*
 * An installation of its own for a measurement: real maps in a private BPF file system, filled
 * by the product's own pipeline from YAML. Everything goes with the process. A call that
 * fails ends the process with one line.
 */
struct bench_lab {
	struct shunt_dp *dp;
	const struct shunt_dp_maps *maps;
	struct shunt_installer *installer;
	char dir[64]; /* <dir>/bpf is the BPF file system */
	char pins[96];
};

void bench_die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

/* @sizes: of the maps; 0: the agent's default */
void bench_lab_open(struct bench_lab *lab, const struct shunt_dp_sizes *sizes);
void bench_lab_close(struct bench_lab *lab);

/*
 * With BENCH_AS_AGENT in the environment: true: only CAP_BPF and CAP_NET_ADMIN, as the agent
 * has them, from now on; false: all again. Root also has CAP_PERFMON, and the verifier asks.
 */
void bench_lab_as_agent(bool on);

/* Translates @yaml. The model is the caller's. */
void bench_lab_model(const char *yaml, struct shunt_model *ret_model);

/* Compiles and installs all of @model. */
void bench_lab_install(struct bench_lab *lab, const struct shunt_model *model);

/* CPU time of this thread and wall time, nanoseconds. */
double bench_cpu_ns(void);
double bench_wall_ns(void);

/* Sorts @v and returns its q-quantile (nearest rank), 0 < q <= 1. */
double bench_quantile(double *v, unsigned n, double q);

#endif
