// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <linux/if_link.h>
#include <string.h>

#include "base/cleanup.h"
#include "datapath/datapath.h"
#include "datapath/internal.h"
#include "dp_lab.h"

#define TCX_INGRESS ((enum bpf_attach_type)46)
#define TCX_EGRESS  ((enum bpf_attach_type)47)

static struct dp_lab lab;
static struct shunt_dp *dp;
static uint32_t gate; /* ifindex of the interface "gate" */

static void enter(void)
{
	dp_lab_enter(&lab);
	dp_lab_veth("gate", "peer");
	gate = dp_lab_ifindex("gate");
	dp = dp_lab_open(&lab);
}

static void leave(void)
{
	shunt_dp_close(dp);
}

TestSuite(attach, .init = enter, .fini = leave, .timeout = 180);

/* ---- looking at it ------------------------------------------------------------------------- */

static uint32_t tcx_programs(enum bpf_attach_type type, uint32_t ids[64])
{
	uint32_t n = 64;

	memset(ids, 0, 64 * sizeof(*ids));
	cr_assert_eq(bpf_prog_query((int)gate, type, 0, NULL, ids, &n), 0);
	return n;
}

static uint32_t our_id(const char *name)
{
	uint32_t id = 0;

	cr_assert_geq(shunt_object_prog(strstr(name, "xdp") ? dp->xdp : dp->tc, name, &id), 0);
	return id;
}

static uint32_t link_id(const char *what)
{
	struct bpf_link_info info = { 0 };
	uint32_t len = sizeof(info);
	char pin[SHUNT_PATH_LEN];
	int fd;

	shunt_gate_pin(pin, dp->dir, gate, what);
	fd = bpf_obj_get(pin);
	cr_assert_geq(fd, 0, "%s", pin);
	cr_assert_eq(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	close(fd);
	return info.id;
}

static bool is_pinned(const char *what)
{
	char pin[SHUNT_PATH_LEN];

	shunt_gate_pin(pin, dp->dir, gate, what);
	return !access(pin, F_OK);
}

static uint32_t xdp_id(void)
{
	uint32_t id = 0;

	bpf_xdp_query_id((int)gate, 0, &id);
	return id;
}

static int clsact_is_ours(enum shunt_direction direction, const char *prog)
{
	return shunt_clsact_is_ours(lab.bpffs, gate, direction, our_id(prog));
}

static struct shunt_dp_gate attach(enum shunt_hook hook)
{
	struct shunt_dp_gate ret = { 0 };
	struct shunt_err err = { .text = "" };
	int r = shunt_dp_attach(dp, gate, "gate", hook, &ret, &err);

	cr_assert_eq(r, 0, "%s: %s", strerror(-r), err.text);
	return ret;
}

static int attach_fails(enum shunt_hook hook, struct shunt_err *err)
{
	struct shunt_dp_gate ret = { .ifindex = 77 };
	int r = shunt_dp_attach(dp, gate, "gate", hook, &ret, err);

	cr_assert_lt(r, 0);
	cr_assert_eq(ret.ifindex, 77, "ret_gate must stay untouched");
	return r;
}

static void restart(void)
{
	shunt_dp_close(dp);
	dp = dp_lab_open(&lab);
}

static void assert_only_ours(enum bpf_attach_type type, const char *prog)
{
	uint32_t ids[64];

	cr_assert_eq(tcx_programs(type, ids), 1);
	cr_assert_eq(ids[0], our_id(prog));
}

/* ---- tcx ----------------------------------------------------------------------------------- */

Test(attach, tcx_is_used_where_the_kernel_has_it)
{
	struct shunt_dp_gate ret = attach(SHUNT_HOOK_TC);

	cr_expect_eq(ret.tc_mode, SHUNT_TC_TCX);
	cr_expect_eq(ret.ifindex, gate);
	cr_expect_str_eq(ret.ifname, "gate");
	assert_only_ours(TCX_INGRESS, "shunt_tc_ingress");
	assert_only_ours(TCX_EGRESS, "shunt_tc_egress");
}

Test(attach, attaching_again_changes_nothing)
{
	uint32_t ingress, egress;

	attach(SHUNT_HOOK_TC);
	ingress = link_id("ingress");
	egress = link_id("egress");
	attach(SHUNT_HOOK_TC);
	cr_expect_eq(link_id("ingress"), ingress);
	cr_expect_eq(link_id("egress"), egress);
	assert_only_ours(TCX_INGRESS, "shunt_tc_ingress");
}

Test(attach, a_restarted_agent_replaces_the_programs_in_the_same_links)
{
	uint32_t ingress, egress, old_id;

	attach(SHUNT_HOOK_TC);
	ingress = link_id("ingress");
	egress = link_id("egress");
	old_id = our_id("shunt_tc_ingress");
	restart();
	cr_expect_neq(our_id("shunt_tc_ingress"), old_id);
	cr_expect_eq(link_id("ingress"), ingress);
	cr_expect_eq(link_id("egress"), egress);
	assert_only_ours(TCX_INGRESS, "shunt_tc_ingress");
	assert_only_ours(TCX_EGRESS, "shunt_tc_egress");
}

Test(attach, programs_outlive_the_agent)
{
	uint32_t ids[64], id;

	attach(SHUNT_HOOK_TC);
	id = our_id("shunt_tc_ingress");
	shunt_dp_close(dp);
	dp = NULL;
	cr_expect_eq(tcx_programs(TCX_INGRESS, ids), 1);
	cr_expect_eq(ids[0], id);
}

static void put_foreign_first(enum bpf_attach_type type)
{
	LIBBPF_OPTS(bpf_link_create_opts, before, .flags = 1u << 3);

	/* The descriptor stays open, and with it the link, until the test ends. */
	cr_assert_geq(bpf_link_create(dp_lab_foreign_prog("tc"), (int)gate, type, &before), 0);
}

Test(attach, the_first_place_is_taken_before_programs_that_were_there)
{
	uint32_t ids[64];

	put_foreign_first(TCX_INGRESS);
	attach(SHUNT_HOOK_TC);
	cr_expect_eq(tcx_programs(TCX_INGRESS, ids), 2);
	cr_expect_eq(ids[0], our_id("shunt_tc_ingress"));
}

Test(attach, the_first_place_is_taken_back_from_programs_that_came_later)
{
	uint32_t ids[64];

	attach(SHUNT_HOOK_TC);
	put_foreign_first(TCX_INGRESS);
	put_foreign_first(TCX_EGRESS);
	attach(SHUNT_HOOK_TC);
	usleep(50000); /* the old link is given back by a kernel worker */
	for (int i = 0; i < 2; i++) {
		struct bpf_prog_info info = { 0 };
		uint32_t len = sizeof(info);
		int fd;

		cr_expect_eq(tcx_programs(i ? TCX_EGRESS : TCX_INGRESS, ids), 2);
		fd = bpf_prog_get_fd_by_id(ids[0]);
		cr_assert_eq(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
		cr_expect_eq(strncmp(info.name, i ? "shunt_tc_egress" : "shunt_tc_ingres", 15), 0,
			     "%s is first", info.name);
		close(fd);
	}
	attach(SHUNT_HOOK_TC);
	cr_expect_eq(tcx_programs(TCX_INGRESS, ids), 2);
	cr_expect_eq(ids[0], our_id("shunt_tc_ingress"));
}

/* ---- clsact -------------------------------------------------------------------------------- */

static void use_clsact(void)
{
	shunt_dp_close(dp);
	lab.opts.tc_mode = SHUNT_TC_CLSACT;
	dp = dp_lab_open(&lab);
}

Test(attach, clsact_takes_the_first_priority)
{
	struct shunt_dp_gate ret;

	use_clsact();
	ret = attach(SHUNT_HOOK_TC);
	cr_expect_eq(ret.tc_mode, SHUNT_TC_CLSACT);
	cr_expect_eq(clsact_is_ours(SHUNT_INGRESS, "shunt_tc_ingress"), 1);
	cr_expect_eq(clsact_is_ours(SHUNT_EGRESS, "shunt_tc_egress"), 1);
	dp_lab_run("tc filter show dev gate ingress | grep -q 'pref 1 bpf.*handle 0x1 "
		   "shunt_tc_ingress@%s direct-action'",
		   lab.bpffs);
}

Test(attach, a_restarted_agent_replaces_the_clsact_filters)
{
	uint32_t old_id;

	use_clsact();
	attach(SHUNT_HOOK_TC);
	old_id = our_id("shunt_tc_ingress");
	restart();
	cr_expect_neq(our_id("shunt_tc_ingress"), old_id);
	cr_expect_eq(clsact_is_ours(SHUNT_INGRESS, "shunt_tc_ingress"), 1);
	cr_expect_eq(clsact_is_ours(SHUNT_EGRESS, "shunt_tc_egress"), 1);
	dp_lab_run("test $(tc filter show dev gate ingress | grep -c handle) = 1");
}

Test(attach, a_filter_of_somebody_else_at_the_first_priority_is_named)
{
	struct shunt_err err;
	char pin[128];

	use_clsact();
	sprintf(pin, "%s/bpf/foreign", lab.dir);
	cr_assert_eq(bpf_obj_pin(dp_lab_foreign_prog("tc"), pin), 0);
	dp_lab_run("tc qdisc add dev gate clsact && tc filter add dev gate ingress prio 1 handle 7 "
		   "bpf da object-pinned %s",
		   pin);
	cr_expect_eq(attach_fails(SHUNT_HOOK_TC, &err), -EBUSY);
	cr_expect_not_null(strstr(err.text, "handle 0x7"), "%s", err.text);
	cr_expect_not_null(strstr(err.text, "gate"), "%s", err.text);
	/* Of another kind, too: one priority has one kind. */
	dp_lab_run("tc filter del dev gate ingress prio 1 && tc filter add dev gate ingress prio 1 "
		   "protocol all u32 match u32 0 0 classid 1:1");
	cr_expect_eq(attach_fails(SHUNT_HOOK_TC, &err), -EBUSY);
	cr_expect_not_null(strstr(err.text, "u32"), "%s", err.text);
}

Test(attach, filters_of_other_priorities_go_on_and_keep_the_qdisc)
{
	use_clsact();
	dp_lab_run("tc qdisc add dev gate clsact && tc filter add dev gate ingress prio 2 "
		   "protocol all u32 match u32 0 0 classid 1:1");
	attach(SHUNT_HOOK_TC);
	cr_expect_eq(shunt_dp_detach(dp, gate), 0);
	dp_lab_run("tc filter show dev gate ingress | grep -q u32");
	dp_lab_run("! tc filter show dev gate ingress | grep -q shunt");
}

Test(attach, an_ingress_qdisc_without_egress_is_explained)
{
	struct shunt_err err;

	use_clsact();
	dp_lab_run("tc qdisc add dev gate ingress");
	cr_expect_lt(attach_fails(SHUNT_HOOK_TC, &err), 0);
	cr_expect_not_null(strstr(err.text, "tc qdisc del dev gate ingress"), "%s", err.text);
}

Test(attach, another_installation_is_not_touched)
{
	struct shunt_dp *first;
	struct shunt_err err;

	use_clsact();
	attach(SHUNT_HOOK_TC);
	first = dp;
	strcat(lab.bpffs, "2");
	dp = dp_lab_open(&lab);
	cr_expect_eq(attach_fails(SHUNT_HOOK_TC, &err), -EBUSY);
	cr_expect_not_null(strstr(err.text, first->bpffs), "%s", err.text);
	cr_expect_eq(shunt_dp_detach(dp, gate), 0);
	cr_expect_eq(shunt_clsact_is_ours(first->bpffs, gate, SHUNT_EGRESS, 0), 1);
	shunt_dp_close(first);
}

Test(attach, a_gate_can_move_from_clsact_to_tcx_and_back)
{
	uint32_t ids[64];

	use_clsact();
	attach(SHUNT_HOOK_TC);
	shunt_dp_close(dp);
	lab.opts.tc_mode = SHUNT_TC_AUTO;
	dp = dp_lab_open(&lab);
	attach(SHUNT_HOOK_TC);
	assert_only_ours(TCX_INGRESS, "shunt_tc_ingress");
	dp_lab_run("! tc qdisc show dev gate | grep -q clsact");
	use_clsact();
	attach(SHUNT_HOOK_TC);
	cr_expect_eq(tcx_programs(TCX_INGRESS, ids), 0);
	cr_expect_eq(tcx_programs(TCX_EGRESS, ids), 0);
	cr_expect_eq(clsact_is_ours(SHUNT_INGRESS, "shunt_tc_ingress"), 1);
}

/* ---- XDP ----------------------------------------------------------------------------------- */

Test(attach, an_xdp_gate_restores_at_tc_egress)
{
	struct shunt_dp_gate ret = attach(SHUNT_HOOK_XDP);
	uint32_t ids[64];

	cr_expect(ret.xdp_native);
	cr_expect_eq(xdp_id(), our_id("shunt_xdp_ingress"));
	cr_expect_eq(tcx_programs(TCX_INGRESS, ids), 0);
	assert_only_ours(TCX_EGRESS, "shunt_tc_egress");
}

Test(attach, a_restarted_agent_replaces_the_xdp_program_in_the_same_link)
{
	uint32_t link;

	attach(SHUNT_HOOK_XDP);
	link = link_id("xdp");
	restart();
	cr_expect_eq(link_id("xdp"), link);
	cr_expect_eq(xdp_id(), our_id("shunt_xdp_ingress"));
	attach(SHUNT_HOOK_XDP);
	cr_expect_eq(link_id("xdp"), link);
}

Test(attach, a_foreign_xdp_program_is_left_alone_and_named)
{
	int foreign = dp_lab_foreign_prog("xdp");
	struct shunt_err err;
	char id[32];

	cr_assert_eq(bpf_xdp_attach((int)gate, foreign, XDP_FLAGS_DRV_MODE, NULL), 0);
	sprintf(id, "program id %u", xdp_id());
	cr_expect_eq(attach_fails(SHUNT_HOOK_XDP, &err), -EBUSY);
	cr_expect_not_null(strstr(err.text, id), "%s", err.text);
	cr_expect_not_null(strstr(err.text, "gate"), "%s", err.text);
}

Test(attach, an_interface_without_native_xdp_is_refused_with_the_alternative)
{
	struct shunt_err err;

	dp_lab_run("ip link add plain type bridge && ip link set plain up");
	gate = dp_lab_ifindex("plain");
	cr_expect_eq(attach_fails(SHUNT_HOOK_XDP, &err), -EOPNOTSUPP);
	cr_expect_not_null(strstr(err.text, "no native XDP"), "%s", err.text);
	cr_expect_not_null(strstr(err.text, ":tc"), "%s", err.text);
}

Test(attach, a_gate_can_move_from_xdp_to_tc_and_back)
{
	uint32_t ids[64];

	attach(SHUNT_HOOK_XDP);
	attach(SHUNT_HOOK_TC);
	cr_expect_eq(xdp_id(), 0);
	assert_only_ours(TCX_INGRESS, "shunt_tc_ingress");
	attach(SHUNT_HOOK_XDP);
	cr_expect_eq(xdp_id(), our_id("shunt_xdp_ingress"));
	cr_expect_eq(tcx_programs(TCX_INGRESS, ids), 0);
}

/* ---- the way out --------------------------------------------------------------------------- */

static void assert_nothing_attached(void)
{
	uint32_t ids[64];

	cr_expect_eq(tcx_programs(TCX_INGRESS, ids), 0);
	cr_expect_eq(tcx_programs(TCX_EGRESS, ids), 0);
	cr_expect_eq(xdp_id(), 0);
	cr_expect_eq(shunt_clsact_is_ours(lab.bpffs, gate, SHUNT_INGRESS, 0), 0);
	cr_expect_eq(shunt_clsact_is_ours(lab.bpffs, gate, SHUNT_EGRESS, 0), 0);
}

Test(attach, detach_takes_everything_off)
{
	attach(SHUNT_HOOK_TC);
	cr_expect_eq(shunt_dp_detach(dp, gate), 0);
	assert_nothing_attached();
	cr_expect_not(is_pinned("ingress"));
	attach(SHUNT_HOOK_XDP);
	cr_expect_eq(shunt_dp_detach(dp, gate), 0);
	assert_nothing_attached();
	cr_expect_eq(shunt_dp_detach(dp, gate), 0, "nothing there is fine");
	use_clsact();
	attach(SHUNT_HOOK_TC);
	cr_expect_eq(shunt_dp_detach(dp, gate), 0);
	assert_nothing_attached();
}

Test(attach, a_vanished_interface_is_forgotten)
{
	attach(SHUNT_HOOK_TC);
	dp_lab_run("ip link del gate");
	cr_expect(is_pinned("ingress"));
	cr_expect_eq(shunt_dp_detach(dp, gate), 0);
	cr_expect_not(is_pinned("ingress"));
	cr_expect_not(is_pinned("egress"));
}

Test(attach, a_restarted_agent_forgets_interfaces_that_vanished_meanwhile)
{
	attach(SHUNT_HOOK_TC);
	dp_lab_run("ip link del gate");
	restart();
	cr_expect_not(is_pinned("ingress"));
	cr_expect_not(is_pinned("egress"));
}

Test(attach, a_new_interface_with_the_index_of_a_vanished_one_becomes_a_gate)
{
	attach(SHUNT_HOOK_TC);
	dp_lab_run("ip link del gate");
	dp_lab_run("ip link add gate index %u type veth peer name peer && ip link set gate up",
		   gate);
	attach(SHUNT_HOOK_TC);
	assert_only_ours(TCX_INGRESS, "shunt_tc_ingress");
}

Test(attach, a_missing_interface_is_an_error)
{
	struct shunt_err err;

	gate = 9999;
	cr_expect_eq(attach_fails(SHUNT_HOOK_TC, &err), -ENODEV);
	cr_expect_eq(attach_fails(SHUNT_HOOK_XDP, &err), -ENODEV);
}

Test(attach, remove_detaches_every_gate_and_unpins_all)
{
	struct shunt_err err = { .text = "" };

	attach(SHUNT_HOOK_XDP);
	shunt_dp_close(dp);
	lab.opts.tc_mode = SHUNT_TC_CLSACT;
	dp = dp_lab_open(&lab);
	dp_lab_veth("gate2", "peer2");
	gate = dp_lab_ifindex("gate2");
	attach(SHUNT_HOOK_TC);
	shunt_dp_close(dp);
	dp = NULL;
	cr_expect_eq(shunt_dp_remove(lab.bpffs, &err), 0, "%s", err.text);
	assert_nothing_attached();
	gate = dp_lab_ifindex("gate");
	assert_nothing_attached();
	cr_expect_eq(access(lab.bpffs, F_OK), -1);
}
