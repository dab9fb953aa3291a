// SPDX-License-Identifier: Apache-2.0
#include <criterion/criterion.h>
#include <errno.h>

#include "datapath/drain.h"
#include "dp_lab.h"

static struct shunt_settings *settings_of(struct shunt_dp *dp)
{
	return SHUNT_DP_AT(shunt_dp_maps(dp)->settings, struct shunt_settings, 0);
}

/* Puts a flow into the table that nobody will ever end. */
static void put_flow(struct shunt_dp *dp, uint32_t index, uint32_t state)
{
	const struct shunt_dp_maps *maps = shunt_dp_maps(dp);
	struct shunt_flow *flow = SHUNT_DP_AT(maps->flows, struct shunt_flow, index);

	*flow = (struct shunt_flow){ .life = 0x100 | state, .seen_jiffies = shunt_dp_jiffies(dp) };
	SHUNT_DP_AT(maps->flow_sets, struct shunt_flow_set, index / SHUNT_FLOW_WAYS)
		->tag[index % SHUNT_FLOW_WAYS] = 0x42;
}

Test(drain, a_live_agent_is_not_drained_behind_its_back)
{
	struct shunt_err err = { 0 };
	struct dp_lab lab;
	struct shunt_dp *dp;
	uint64_t left;

	dp_lab_enter(&lab);
	dp = dp_lab_open(&lab);
	cr_assert_eq(shunt_dp_drain(lab.bpffs, 100, &left, &err), -EBUSY, "%s", err.text);
	cr_assert_eq(settings_of(dp)->flags & SHUNT_S_DRAIN, 0);
	shunt_dp_close(dp);
}

Test(drain, without_pins_there_is_nothing_to_drain)
{
	struct shunt_err err = { 0 };
	struct dp_lab lab;
	uint64_t left;

	dp_lab_enter(&lab);
	cr_assert_eq(shunt_dp_drain(lab.bpffs, 100, &left, &err), -ENOENT, "%s", err.text);
}

Test(drain, an_empty_table_is_drained_at_once)
{
	struct shunt_err err = { 0 };
	struct dp_lab lab;
	struct shunt_dp *dp;
	uint64_t left = 99;

	dp_lab_enter(&lab);
	dp = dp_lab_open(&lab);
	put_flow(dp, 3, SHUNT_F_CLOSED);
	shunt_dp_close(dp);
	cr_assert_eq(shunt_dp_drain(lab.bpffs, 60000, &left, &err), 0, "%s", err.text);
	cr_assert_eq(left, 0);
	dp = dp_lab_open(&lab);
	shunt_dp_close(dp);
}

Test(drain, what_is_open_at_the_deadline_is_counted)
{
	struct shunt_err err = { 0 };
	struct dp_lab lab;
	struct shunt_dp *dp;
	uint64_t left = 99;

	dp_lab_enter(&lab);
	dp = dp_lab_open(&lab);
	put_flow(dp, 3, SHUNT_F_ESTABLISHED);
	put_flow(dp, 20, SHUNT_F_UDP);
	put_flow(dp, 40, SHUNT_F_CLOSED);
	put_flow(dp, 41, SHUNT_F_RESET_BY_CLIENT);
	shunt_dp_close(dp);
	cr_assert_eq(shunt_dp_drain(lab.bpffs, 300, &left, &err), 0, "%s", err.text);
	cr_assert_eq(left, 2);
	cr_assert_eq(shunt_dp_open_maps(lab.bpffs, false, &dp, &err), 0, "%s", err.text);
	cr_assert(settings_of(dp)->flags & SHUNT_S_DRAIN);
	shunt_dp_close(dp);
}
