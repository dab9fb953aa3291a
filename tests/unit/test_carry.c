// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <libgen.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "carry_contents.h"
#include "datapath/carry.h"
#include "datapath/datapath.h"
#include "datapath/flowmem.h"
#include "dp_lab.h"

/*
 * This file is built twice, for both ABIs (make ABI_NEXT=1). The tests run in the build of
 * the real ABI; where they need an agent of the other one, they start the other build's
 * binary, which then is no test but does what SHUNT_CARRY_ROLE says.
 */
#define OTHER_ABI (SHUNT_ABI_VERSION + 1)

static struct dp_lab lab;

static void enter(void)
{
	dp_lab_enter(&lab);
}

TestSuite(carry, .init = enter, .timeout = 300);

/* ---- the agent of the other ABI
 * ------------------------------------------------------------------ */

/* Runs before Criterion's main: opens, checks, and ends with 0 if all is as it should be. */
__attribute__((constructor)) static void be_the_other_agent(void)
{
	const char *role = getenv("SHUNT_CARRY_ROLE"), *wrong = NULL;
	struct shunt_dp_opts opts = {
		.bpffs = getenv("SHUNT_CARRY_BPFFS"),
		.state_dir = getenv("SHUNT_CARRY_STATE"),
		.sizes = DP_LAB_SIZES,
	};
	struct shunt_err err = { .text = "" };
	struct shunt_dp *dp = NULL;

	if (!role)
		return;
	if (shunt_dp_open(&opts, &dp, &err) < 0)
		wrong = err.text;
	else if (!strcmp(role, "check"))
		wrong = contents_check(dp);
	if (!wrong && !strcmp(role, "check"))
		wrong = contents_check_counters(dp);
	if (wrong)
		fprintf(stderr, "agent of ABI %d: %s\n", SHUNT_ABI_VERSION, wrong);
	shunt_dp_close(dp);
	_exit(wrong ? 1 : 0);
}

static pid_t start_other(const char *role)
{
	char self[256] = "", other[512];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	pid_t pid;

	cr_assert_gt(n, 0);
	/* <build>/tests/unit/test_carry -> <build>/abi-next/tests/unit/test_carry */
	snprintf(other, sizeof(other), "%s/abi-next/tests/unit/test_carry",
		 dirname(dirname(dirname(self))));
	pid = fork();
	if (!pid) {
		setenv("SHUNT_CARRY_ROLE", role, 1);
		setenv("SHUNT_CARRY_BPFFS", lab.bpffs, 1);
		setenv("SHUNT_CARRY_STATE", lab.state, 1);
		execl(other, other, NULL);
		perror(other);
		_exit(2);
	}
	return pid;
}

static void run_other(const char *role)
{
	int status = -1;

	waitpid(start_other(role), &status, 0);
	cr_assert_eq(status, 0, "the other agent failed");
}

static bool version_exists(int version)
{
	char path[128];

	sprintf(path, "%s/v%d", lab.bpffs, version);
	return !access(path, F_OK);
}

static void assert_all_there(struct shunt_dp *dp)
{
	const char *wrong = contents_check(dp);

	cr_assert_null(wrong, "%s", wrong);
}

/* ---- there and back
 * --------------------------------------------------------------------------------- */

Test(carry, everything_goes_to_the_next_abi_and_back)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	const char *wrong;

	contents_fill(dp);
	shunt_dp_close(dp);
	run_other("check");
	cr_expect_not(version_exists(SHUNT_ABI_VERSION), "the old pins are gone");
	cr_expect(version_exists(OTHER_ABI));
	dp = dp_lab_open(&lab);
	assert_all_there(dp);
	wrong = contents_check_counters(dp);
	cr_expect_null(wrong, "%s", wrong);
	cr_expect(version_exists(SHUNT_ABI_VERSION));
	cr_expect_not(version_exists(OTHER_ABI));
	shunt_dp_close(dp);
}

Test(carry, secret_and_maps_stay_when_other_sizes_are_asked_for)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	struct shunt_settings before = *(struct shunt_settings *)shunt_dp_maps(dp)->settings.base;
	const struct shunt_settings *after;

	contents_fill(dp);
	shunt_dp_close(dp);
	run_other("check");
	lab.opts.sizes = (struct shunt_dp_sizes){ .flows = 64, .services = 16, .backends = 2048 };
	dp = dp_lab_open(&lab);
	after = shunt_dp_maps(dp)->settings.base;
	cr_expect_eq(shunt_dp_maps(dp)->flows.n, N_FLOWS, "flows stay where their hash says");
	cr_expect_eq(shunt_dp_maps(dp)->services.n, 64, "nothing is cut off");
	cr_expect_eq(shunt_dp_maps(dp)->backends.n, 2048, "but may grow");
	cr_expect_arr_eq(after->choice_key, before.choice_key, sizeof(before.choice_key));
	cr_expect_eq(after->table_key, before.table_key);
	shunt_dp_close(dp);
}

static uint32_t first_at(const char *ifname, int type)
{
	uint32_t ids[64] = { 0 }, n = 64;

	if (bpf_prog_query((int)dp_lab_ifindex(ifname), (enum bpf_attach_type)type, 0, NULL, ids,
			   &n) < 0)
		return 0;
	return ids[0];
}

static uint32_t xdp_at(const char *ifname)
{
	uint32_t id = 0;

	bpf_xdp_query_id((int)dp_lab_ifindex(ifname), 0, &id);
	return id;
}

static void attach(struct shunt_dp *dp, const char *ifname, enum shunt_hook hook)
{
	struct shunt_err err = { .text = "" };
	struct shunt_dp_gate gate;

	cr_assert_eq(shunt_dp_attach(dp, dp_lab_ifindex(ifname), ifname, hook, &gate, &err), 0,
		     "%s", err.text);
}

Test(carry, gates_run_the_programs_of_the_agent_that_came)
{
	struct shunt_dp *dp;
	uint32_t tcx, xdp;

	dp_lab_veth("gate-a", "peer-a");
	dp_lab_veth("gate-b", "peer-b");
	dp_lab_veth("gate-c", "peer-c");
	lab.opts.tc_mode = SHUNT_TC_CLSACT;
	dp = dp_lab_open(&lab);
	attach(dp, "gate-c", SHUNT_HOOK_TC);
	shunt_dp_close(dp);
	lab.opts.tc_mode = SHUNT_TC_AUTO;
	dp = dp_lab_open(&lab);
	attach(dp, "gate-a", SHUNT_HOOK_TC);
	attach(dp, "gate-b", SHUNT_HOOK_XDP);
	contents_fill(dp);
	shunt_dp_close(dp);
	tcx = first_at("gate-a", 46);
	xdp = xdp_at("gate-b");

	run_other("check");
	cr_expect_neq(first_at("gate-a", 46), 0, "tcx ingress is attached");
	cr_expect_neq(first_at("gate-a", 46), tcx, "by the new agent's program");
	cr_expect_neq(first_at("gate-a", 47), 0);
	cr_expect_neq(first_at("gate-b", 47), 0);
	cr_expect_neq(xdp_at("gate-b"), 0);
	cr_expect_neq(xdp_at("gate-b"), xdp);
	cr_expect_eq(shunt_clsact_is_ours(lab.bpffs, dp_lab_ifindex("gate-c"), SHUNT_INGRESS, 0),
		     1);

	dp = dp_lab_open(&lab);
	assert_all_there(dp);
	shunt_object_prog(dp->tc, "shunt_tc_ingress", &tcx);
	cr_expect_eq(first_at("gate-a", 46), tcx);
	shunt_object_prog(dp->xdp, "shunt_xdp_ingress", &xdp);
	cr_expect_eq(xdp_at("gate-b"), xdp);
	cr_expect_eq(shunt_clsact_is_ours(lab.bpffs, dp_lab_ifindex("gate-c"), SHUNT_INGRESS, tcx),
		     1);
	cr_expect_eq(shunt_dp_detach(dp, dp_lab_ifindex("gate-a")), 0,
		     "the links are pinned here now");
	cr_expect_eq(first_at("gate-a", 46), 0);
	shunt_dp_close(dp);
}

/*
 * The handover is killed after a time that moves through all of it; sometimes the same agent
 * comes again, sometimes the other one. Packets always meet some program.
 */
Test(carry, an_agent_killed_at_any_moment_leaves_all_flows_and_no_hold)
{
	struct shunt_dp *dp;
	int status, killed = 0;

	dp_lab_veth("gate-a", "peer-a");
	dp = dp_lab_open(&lab);
	attach(dp, "gate-a", SHUNT_HOOK_TC);
	contents_fill(dp);
	shunt_dp_close(dp);
	for (useconds_t delay_us = 0; delay_us < 400000; delay_us += delay_us / 8 + 1000) {
		pid_t pid = start_other("open");

		usleep(delay_us);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		killed += WIFSIGNALED(status);
		cr_assert_neq(first_at("gate-a", 46), 0, "killed after %u us", delay_us);
		cr_assert_neq(first_at("gate-a", 47), 0, "killed after %u us", delay_us);
		if (killed % 3 == 1) {
			waitpid(start_other("open"), &status, 0);
			cr_assert_eq(status, 0, "killed after %u us", delay_us);
		}
		dp = dp_lab_open(&lab);
		assert_all_there(dp);
		cr_assert_not(version_exists(OTHER_ABI), "killed after %u us", delay_us);
		cr_assert_neq(first_at("gate-a", 46), 0);
		shunt_dp_close(dp);
	}
	cr_log_info("%d handovers were cut short", killed);
	cr_expect_gt(killed, 5);
}

Test(carry, a_copy_that_was_cut_short_is_begun_again)
{
	struct shunt_settings *settings;
	struct shunt_dp *dp;
	char bpffs[96];

	run_other("open");
	/* Half a copy, made elsewhere: flows are there, the version is not. */
	strcpy(bpffs, lab.bpffs);
	strcat(lab.bpffs, "2");
	dp = dp_lab_open(&lab);
	contents_fill(dp);
	settings = shunt_dp_maps(dp)->settings.base;
	settings->abi_version = 0;
	shunt_dp_close(dp);
	dp_lab_run("mv %s/v%d %s/v%d", lab.bpffs, SHUNT_ABI_VERSION, bpffs, SHUNT_ABI_VERSION);

	strcpy(lab.bpffs, bpffs);
	dp = dp_lab_open(&lab);
	cr_expect_not(version_exists(OTHER_ABI));
	cr_expect_eq(SHUNT_DP_AT(shunt_dp_maps(dp)->flows, struct shunt_flow, 5)->life, 0);
	cr_expect_eq(
		SHUNT_DP_AT(shunt_dp_maps(dp)->backend_active, struct shunt_active, 5)->connections,
		0);
	shunt_dp_close(dp);
}

Test(carry, maps_without_a_readable_layout_are_left_alone)
{
	struct shunt_layout *broken = calloc(1, sizeof(*broken));
	struct shunt_dp *dp = NULL;
	struct shunt_settings settings;
	struct shunt_err err;
	char path[160], named[32];
	uint32_t key = 0;
	int fd;

	run_other("open");
	sprintf(named, "v%d/shunt_layout", OTHER_ABI);
	sprintf(path, "%s/%s", lab.bpffs, named);
	fd = bpf_obj_get(path);
	broken->size = 100;
	cr_assert_eq(bpf_map_update_elem(fd, &key, broken, BPF_ANY), 0);
	close(fd);
	cr_expect_lt(shunt_dp_open(&lab.opts, &dp, &err), 0);
	cr_expect_not_null(strstr(err.text, named), "%s", err.text);
	sprintf(path, "%s/v%d/shunt_settings", lab.bpffs, OTHER_ABI);
	fd = bpf_obj_get(path);
	cr_assert_eq(bpf_map_lookup_elem(fd, &key, &settings), 0);
	cr_expect_eq(settings.flags & SHUNT_S_HOLD, 0, "no hold on what cannot be carried");
	close(fd);
	free(broken);
}

/* ---- the second pass
 * ------------------------------------------------------------------------------- */

Test(carry, of_two_states_the_further_one_counts)
{
	cr_expect_eq(shunt_carry_further(SHUNT_F_SYN_ACK, SHUNT_F_SYN), SHUNT_F_SYN_ACK);
	cr_expect_eq(shunt_carry_further(SHUNT_F_SYN, SHUNT_F_SYN_ACK), 0);
	cr_expect_eq(shunt_carry_further(SHUNT_F_ESTABLISHED, SHUNT_F_ESTABLISHED), 0);
	cr_expect_eq(shunt_carry_further(SHUNT_F_FIN_CLIENT, SHUNT_F_FIN_BACKEND), SHUNT_F_CLOSED);
	cr_expect_eq(shunt_carry_further(SHUNT_F_FIN_BACKEND, SHUNT_F_FIN_CLIENT), SHUNT_F_CLOSED);
	cr_expect_eq(shunt_carry_further(SHUNT_F_CLOSED, SHUNT_F_ESTABLISHED), SHUNT_F_CLOSED);
	cr_expect_eq(shunt_carry_further(SHUNT_F_UDP, SHUNT_F_UDP_NEW), SHUNT_F_UDP);
	cr_expect_eq(shunt_carry_further(SHUNT_F_RESET_BY_CLIENT, SHUNT_F_FIN_BACKEND),
		     SHUNT_F_RESET_BY_CLIENT);
	cr_expect_eq(shunt_carry_further(SHUNT_F_ESTABLISHED, SHUNT_F_RESET_BY_BACKEND), 0);
	cr_expect_eq(shunt_carry_further(SHUNT_F_RESET_BY_CLIENT, SHUNT_F_RESET_BY_BACKEND), 0);
	cr_expect_eq(shunt_carry_further(SHUNT_F_CLOSED, SHUNT_F_RESET_BY_BACKEND), SHUNT_F_CLOSED);
	cr_expect_eq(shunt_carry_further(SHUNT_F_RESET_BY_BACKEND, SHUNT_F_CLOSED), 0);
	cr_expect_eq(shunt_carry_further(SHUNT_F_FREE, SHUNT_F_ESTABLISHED), 0);
	cr_expect_eq(shunt_carry_further(SHUNT_F_CLOSED, SHUNT_F_FREE), 0);
}

/* Two installations of one ABI stand for the old and the new maps. */
Test(carry, what_old_programs_saw_during_the_switch_is_brought_in)
{
	struct shunt_dp *old = dp_lab_open(&lab), *new;
	struct shunt_carry_maps maps = { .from = bpf_object__btf(old->tc) };
	struct shunt_carry_map flows;
	struct shunt_flow *theirs, *ours;
	struct shunt_active *active;
	struct shunt_flow_set *set;

	memcpy(maps.dir, old->dir, sizeof(old->dir));
	strcat(lab.bpffs, "2");
	maps.dp = new = dp_lab_open(&lab);
	maps.to = bpf_object__btf(new->tc);
	for (uint32_t i = 0; i < 5; i++) {
		theirs = SHUNT_DP_AT(old->maps.flows, struct shunt_flow, i);
		ours = SHUNT_DP_AT(new->maps.flows, struct shunt_flow, i);
		contents_flow(theirs, i);
		theirs->life = 0x100 | SHUNT_F_SYN;
		theirs->backend = 5;
		*ours = *theirs;
	}
	active = SHUNT_DP_AT(new->maps.backend_active, struct shunt_active, 5);
	active->connections = 5;
	set = new->maps.flow_sets.base;
	set->tag[0] = set->tag[1] = 7; /* half-open */

	theirs = old->maps.flows.base;
	ours = new->maps.flows.base;
	theirs[0].life = 0x100 | SHUNT_F_ESTABLISHED; /* promoted there */
	theirs[0].seen_jiffies = ours[0].seen_jiffies + 9;
	theirs[1].life = 0x100 | SHUNT_F_CLOSED;    /* reset there */
	ours[2].life = 0x100 | SHUNT_F_ESTABLISHED; /* further here */
	ours[2].seen_jiffies += 5;
	theirs[3].life = 0x200 | SHUNT_F_ESTABLISHED; /* not the same flow */
	theirs[4].life = 0x100 | SHUNT_F_SYN_ACK;
	theirs[4].backend_isn = 99;

	cr_assert_eq(shunt_carry_map_open(&maps, "shunt_flows", &flows, NULL), 1);
	cr_assert_eq(shunt_carry_merge_flows(&flows, &new->maps), 0);
	shunt_carry_map_close(&flows);
	cr_expect_eq(ours[0].life, 0x100 | SHUNT_F_ESTABLISHED);
	cr_expect_eq(ours[0].seen_jiffies, theirs[0].seen_jiffies);
	cr_expect_eq(set->tag[0], 6, "no longer half-open");
	cr_expect_eq(ours[1].life, 0x100 | SHUNT_F_CLOSED);
	cr_expect_eq(active->connections, 4, "the closed one gave its count back");
	cr_expect_eq(ours[2].life, 0x100 | SHUNT_F_ESTABLISHED);
	cr_expect_eq(ours[2].seen_jiffies, theirs[2].seen_jiffies + 5);
	cr_expect_eq(ours[3].life, 0x100 | SHUNT_F_SYN);
	cr_expect_eq(ours[4].life, 0x100 | SHUNT_F_SYN_ACK);
	cr_expect_eq(ours[4].backend_isn, 99);
	shunt_dp_close(old);
	shunt_dp_close(new);
}

Test(carry, a_flow_that_ends_between_two_copies_is_not_counted)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	struct shunt_flow *flow = SHUNT_DP_AT(dp->maps.flows, struct shunt_flow, 0);
	struct shunt_flow_set *set = dp->maps.flow_sets.base;

	for (uint32_t i = 0; i < 2; i++) {
		contents_flow(&flow[i], i);
		flow[i].life = 0x100 | SHUNT_F_ESTABLISHED;
		flow[i].backend = 5;
	}
	set->tag[1] = 6;
	shunt_carry_count_active(&dp->maps);
	cr_expect_eq(flow[0].life, 0x100 | SHUNT_F_FREE);
	cr_expect_eq(flow[1].life, 0x100 | SHUNT_F_ESTABLISHED);
	cr_expect_eq(SHUNT_DP_AT(dp->maps.backend_active, struct shunt_active, 5)->connections, 1);
	shunt_dp_close(dp);
}

Test(carry, a_request_in_flight_counts_with_its_flow_and_ends_with_it)
{
	struct shunt_dp *dp = dp_lab_open(&lab);
	struct shunt_flow *flow = SHUNT_DP_AT(dp->maps.flows, struct shunt_flow, 0);
	struct shunt_http *http = SHUNT_DP_AT(dp->maps.http, struct shunt_http, 0);
	struct shunt_flow_set *set = dp->maps.flow_sets.base;
	const struct shunt_active *active =
		SHUNT_DP_AT(dp->maps.backend_active, struct shunt_active, 5);
	const struct shunt_client_active *client =
		SHUNT_DP_AT(dp->maps.client_active, struct shunt_client_active, 3);

	for (uint32_t i = 0; i < 3; i++) {
		contents_flow(&flow[i], i);
		flow[i].life = 0x100 | SHUNT_F_ESTABLISHED;
		flow[i].backend = 5;
		flow[i].variant = flow[i].service = 1;
		flow[i].flags = SHUNT_FLOW_REQUESTS;
		http[i].in_flight = i == 1 ? 1 : 2 + 3;
	}
	set->tag[1] = set->tag[2] = 6; /* the first one has ended */
	shunt_carry_count_active(&dp->maps);
	cr_expect_eq(http[0].in_flight, 0);
	cr_expect_eq(active->requests, 2);
	cr_expect_eq((uint32_t)client->word, 1);
	shunt_ft_end_request(&dp->maps, 1);
	shunt_ft_end_request(&dp->maps, 2);
	shunt_ft_end_request(&dp->maps, 2);
	cr_expect_eq(active->requests, 0);
	cr_expect_eq((uint32_t)client->word, 0);
	shunt_dp_close(dp);
}
