/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SHUNT_TESTS_BENCH_RIG_H
#define SHUNT_TESTS_BENCH_RIG_H

#include "datapath/flowmem.h"
#include "frames.h"
#include "lab.h"

/*
 * The shipped programs on real maps, the floor and the empty programs, and the wrapper around
 * them (tests/bench/wrap.bpf.c). A call that fails ends the process with one line.
 */
struct rig {
	struct bench_lab lab;
	struct shunt_xdp_frags *xdp;
	struct shunt_tc *tc;
	struct floor *floor;
	struct wrap *wrap;
};

enum rig_program {
	RIG_INGRESS, /* as shipped, XDP */
	RIG_EGRESS,  /* as shipped, tc: for answers */
	RIG_FLOOR,
};

/* Two orders in which all flows can be walked; neither is that of the table. */
enum rig_order { RIG_TIMED, RIG_BETWEEN };

/* What is run, and how often. */
struct rig_walk {
	const struct frame *frame;
	enum rig_program program;
	bool empty;	/* the empty program instead */
	bool drops;	/* what is right is not to pass, but to be dropped */
	uint32_t flows; /* a power of two, of answers up to 65 536 */
	uint32_t first; /* the walk begins at its n-th flow */
	uint32_t n;
	/* IPv4, above 1: the flows go to as many services, from this address on, in turn. */
	uint32_t services, service_first;
};

/* @sizes: of the maps; 0: the agent's default */
void rig_open(struct rig *rig, const char *manifests, const struct shunt_dp_sizes *sizes);
void rig_close(struct rig *rig);

/* The flow that comes @n-th in a walk over @flows. */
uint32_t rig_flow(enum rig_order order, uint32_t flows, uint32_t n);

/**
 * rig_run - packet after packet, in the order RIG_TIMED
 * @wrong: verdicts other than the right one are added to it
 *
 * Return: nanoseconds of CPU, for all of them.
 */
double rig_run(struct rig *rig, const struct rig_walk *walk, uint64_t *wrong);

/* One packet, unwrapped; @ret is what comes out if it is passed. Return: is it? */
bool rig_try(struct rig *rig, enum rig_program program, const char *what, const struct frame *in,
	     struct frame *ret);

/* One packet that must be passed, unwrapped; @ret is what comes out. @what: for the message. */
void rig_pass(struct rig *rig, enum rig_program program, const char *what, const struct frame *in,
	      struct frame *ret);

void rig_empty_table(struct rig *rig);

/* The flow of a client's frame, as a reference; 0: none. */
uint64_t rig_find(const struct rig *rig, const struct frame *frame);

#endif
