// SPDX-License-Identifier: Apache-2.0
/* Tracing programs on gates, and the plain ones back; what they tell is for tests/bpf. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "datapath/internal.h"
#include "datapath/trace.h"
#include "dp_lab.h"

static struct dp_lab lab;
static struct shunt_dp *dp;

static void enter(void)
{
	dp_lab_enter(&lab);
	dp_lab_veth("gate0", "peer0");
	dp_lab_veth("gate1", "peer1");
	dp = dp_lab_open(&lab);
}

static void leave(void)
{
	shunt_dp_close(dp);
}

TestSuite(trace_programs, .init = enter, .fini = leave, .timeout = 60);

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void attach(const char *ifname, enum shunt_hook hook)
{
	struct shunt_dp_gate gate = { 0 };
	struct shunt_err err = { .text = "" };

	cr_assert_eq(shunt_dp_attach(dp, dp_lab_ifindex(ifname), ifname, hook, &gate, &err), 0,
		     "%s", err.text);
}

static struct shunt_trace *start(void)
{
	struct shunt_trace_filter filter = { .rate = 1000000, .until_ns = now_ns() + 10000000000 };
	struct shunt_trace *trace = NULL;
	struct shunt_err err = { .text = "" };

	cr_assert_eq(shunt_trace_start(dp, &filter, &trace, &err), 0, "%s", err.text);
	return trace;
}

static void stop(struct shunt_trace *trace)
{
	struct shunt_err err = { .text = "" };

	cr_assert_eq(shunt_trace_stop(trace, &err), 0, "%s", err.text);
}

/* The program that the pinned link @what of @ifname runs; 0: there is no such link. */
static uint32_t program_of(const char *ifname, const char *what)
{
	CLEANUP(fd_closep) int fd = -EBADF;
	uint32_t ifindex, prog_id = 0;
	char pin[SHUNT_PATH_LEN];

	shunt_gate_pin(pin, dp->dir, dp_lab_ifindex(ifname), what);
	fd = bpf_obj_get(pin);
	if (fd >= 0)
		cr_assert_eq(shunt_link_info(fd, &ifindex, &prog_id), 0);
	return prog_id;
}

/* Does the program have the ring of a tracing among its maps? */
static bool tells(uint32_t prog_id)
{
	CLEANUP(fd_closep) int fd = bpf_prog_get_fd_by_id(prog_id);
	uint32_t maps[64] = { 0 }, len = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = { .map_ids = (uintptr_t)maps, .nr_map_ids = 64 };

	cr_assert_geq(fd, 0, "program %u", prog_id);
	cr_assert_eq(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	for (uint32_t i = 0; i < info.nr_map_ids; i++) {
		CLEANUP(fd_closep) int map_fd = bpf_map_get_fd_by_id(maps[i]);
		struct bpf_map_info map = { 0 };
		uint32_t map_len = sizeof(map);

		cr_assert_eq(bpf_obj_get_info_by_fd(map_fd, &map, &map_len), 0);
		if (map.type == BPF_MAP_TYPE_RINGBUF && strcmp(map.name, "shunt_events"))
			return true;
	}
	return false;
}

/* A frame that is no IP, from the peer into the gate. */
static void knock(const char *peer)
{
	dp_lab_run("/usr/bin/python3 -c 'import socket; s = socket.socket(socket.AF_PACKET, "
		   "socket.SOCK_RAW); s.bind((\"%s\", 0)); "
		   "s.send(b\"\\xff\" * 12 + b\"\\x08\\x06\" + bytes(46))'",
		   peer);
}

static int keep(void *ctx, const struct shunt_trace_event *event)
{
	*(struct shunt_trace_event *)ctx = *event;
	return 0;
}

/* Knocks at the gate of @peer and reads the record of it. */
static void expect_told(struct shunt_trace *trace, const char *peer, const char *gate)
{
	struct pollfd fd = { .fd = shunt_trace_fd(trace), .events = POLLIN };
	struct shunt_trace_event event = { 0 };

	knock(peer);
	do
		cr_assert_eq(poll(&fd, 1, 2000), 1, "nothing was told of %s", gate);
	while (shunt_trace_read(trace, 1, keep, &event) == 1 &&
	       (event.ifindex != dp_lab_ifindex(gate) || event.reason != SHUNT_R_NOT_IP));
	cr_expect_eq(ntohs(event.eth_proto_be), 0x0806);
}

Test(trace_programs, every_gate_gets_them_and_the_plain_ones_back)
{
	struct shunt_trace *trace;
	uint32_t before[4];

	attach("gate0", SHUNT_HOOK_TC);
	attach("gate1", SHUNT_HOOK_XDP);
	before[0] = program_of("gate0", "ingress");
	before[1] = program_of("gate0", "egress");
	before[2] = program_of("gate1", "xdp");
	before[3] = program_of("gate1", "egress");
	for (int i = 0; i < 4; i++)
		cr_assert(before[i] && !tells(before[i]));
	for (int round = 0; round < 3; round++) {
		trace = start();
		cr_expect(tells(program_of("gate0", "ingress")));
		cr_expect(tells(program_of("gate0", "egress")));
		cr_expect(tells(program_of("gate1", "xdp")));
		cr_expect(tells(program_of("gate1", "egress")));
		expect_told(trace, "peer0", "gate0");
		expect_told(trace, "peer1", "gate1");
		stop(trace);
		cr_expect_eq(program_of("gate0", "ingress"), before[0]);
		cr_expect_eq(program_of("gate0", "egress"), before[1]);
		cr_expect_eq(program_of("gate1", "xdp"), before[2]);
		cr_expect_eq(program_of("gate1", "egress"), before[3]);
	}
}

Test(trace_programs, clsact_filters_are_replaced_and_put_back_too)
{
	struct shunt_trace *trace;
	uint32_t plain;

	dp->tc_mode = SHUNT_TC_CLSACT;
	attach("gate0", SHUNT_HOOK_TC);
	cr_assert_geq(shunt_object_prog(dp->tc, SHUNT_PROG_INGRESS, &plain), 0);
	trace = start();
	cr_expect_eq(shunt_clsact_is_ours(lab.bpffs, dp_lab_ifindex("gate0"), SHUNT_INGRESS, plain),
		     0);
	expect_told(trace, "peer0", "gate0");
	stop(trace);
	cr_expect_eq(shunt_clsact_is_ours(lab.bpffs, dp_lab_ifindex("gate0"), SHUNT_INGRESS, plain),
		     1);
}

Test(trace_programs, a_gate_that_appears_meanwhile_is_traced_and_then_not)
{
	struct shunt_trace *trace;

	attach("gate0", SHUNT_HOOK_TC);
	trace = start();
	attach("gate1", SHUNT_HOOK_TC);
	expect_told(trace, "peer1", "gate1");
	attach("gate0", SHUNT_HOOK_TC); /* looked at again, as the agent does each minute */
	expect_told(trace, "peer0", "gate0");
	stop(trace);
	cr_expect_not(tells(program_of("gate0", "ingress")));
	cr_expect_not(tells(program_of("gate1", "ingress")));
}

Test(trace_programs, the_next_agent_puts_the_plain_ones_back)
{
	static struct shunt_trace *dead;
	static struct shunt_dp *killed;
	uint32_t traced;

	attach("gate0", SHUNT_HOOK_TC);
	attach("gate1", SHUNT_HOOK_XDP);
	dead = start(); /* and never ends: as if the agent had been killed */
	killed = dp;
	traced = program_of("gate0", "ingress");
	fd_closep(&dp->lock_fd);
	dp->lock_fd = -EBADF;
	dp = dp_lab_open(&lab);
	cr_assert(dead && killed != dp);
	cr_expect_neq(program_of("gate0", "ingress"), traced);
	cr_expect_not(tells(program_of("gate0", "ingress")));
	cr_expect_not(tells(program_of("gate0", "egress")));
	cr_expect_not(tells(program_of("gate1", "xdp")));
}

Test(trace_programs, what_was_told_limited_and_lost_is_summed_up_over_the_cpus)
{
	struct shunt_trace *trace = start();
	struct shunt_trace_sums sums;

	attach("gate0", SHUNT_HOOK_TC);
	expect_told(trace, "peer0", "gate0");
	sums = shunt_trace_sums(trace);
	cr_expect_gt(sums.told, 0);
	cr_expect_eq(sums.limited, 0);
	shunt_trace_filter(trace)->rate = 0;
	knock("peer0");
	cr_expect_gt(shunt_trace_sums(trace).limited, 0);
	cr_expect_eq(shunt_trace_sums(trace).lost, 0);
	stop(trace);
}
