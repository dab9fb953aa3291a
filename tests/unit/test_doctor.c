// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "datapath/doctor.h"
#include "dp_lab.h"

#define TCX_INGRESS 46 /* of kernel 6.6 */
#define TCX_BEFORE  (1u << 3)

struct findings {
	struct shunt_check *checks;
	size_t n;
};

static struct findings look(const struct dp_lab *lab)
{
	struct findings f;

	cr_assert_eq(shunt_doctor(lab->bpffs, &f.checks, &f.n), 0);
	for (size_t i = 0; i < f.n; i++) {
		cr_assert(*f.checks[i].text, "%s says nothing", f.checks[i].name);
		cr_assert_eq(f.checks[i].state == SHUNT_CHECK_OK, !*f.checks[i].hint, "%s",
			     f.checks[i].name);
	}
	return f;
}

/* Return: the first check of @name whose text has @words. */
static const struct shunt_check *find(const struct findings *f, const char *name, const char *words)
{
	for (size_t i = 0; i < f->n; i++) {
		if (!strcmp(f->checks[i].name, name) && strstr(f->checks[i].text, words))
			return &f->checks[i];
	}
	cr_assert_fail("no check %s says \"%s\"", name, words);
	return NULL;
}

Test(doctor, a_host_without_an_installation_can_do_it_and_has_nothing)
{
	struct dp_lab lab;
	struct findings f;

	dp_lab_enter(&lab);
	f = look(&lab);
	cr_expect_eq(find(&f, "tc programs", "works")->state, SHUNT_CHECK_OK);
	cr_expect_eq(find(&f, "xdp programs", "works")->state, SHUNT_CHECK_OK);
	cr_expect_eq(find(&f, "xdp.frags", "there")->state, SHUNT_CHECK_OK);
	cr_expect_eq(find(&f, "bpffs", "is on a BPF file system")->state, SHUNT_CHECK_OK);
	cr_expect_eq(find(&f, "pins", "")->state, SHUNT_CHECK_WARN);
	cr_expect_eq(find(&f, "gates", "no interface is a gate")->state, SHUNT_CHECK_WARN);
	free(f.checks);
}

Test(doctor, gates_are_shown_with_their_place)
{
	struct dp_lab lab;
	struct shunt_dp_gate gate;
	struct shunt_dp *dp;
	struct findings f;

	dp_lab_enter(&lab);
	dp_lab_veth("h4a", "h4b");
	dp_lab_veth("h4c", "h4d");
	dp = dp_lab_open(&lab);
	cr_assert_eq(shunt_dp_attach(dp, dp_lab_ifindex("h4a"), "h4a", SHUNT_HOOK_TC, &gate, NULL),
		     0);
	cr_assert_eq(shunt_dp_attach(dp, dp_lab_ifindex("h4c"), "h4c", SHUNT_HOOK_XDP, &gate, NULL),
		     0);
	f = look(&lab);
	cr_expect_eq(find(&f, "gate h4a", "ingress")->state, SHUNT_CHECK_OK);
	cr_expect_eq(find(&f, "gate h4a", "egress")->state, SHUNT_CHECK_OK);
	cr_expect_eq(find(&f, "gate h4c", "XDP in native mode")->state, SHUNT_CHECK_OK);
	cr_expect_eq(find(&f, "generation", "of map ABI")->state, SHUNT_CHECK_OK);
	cr_expect_eq(find(&f, "flow table", "0 of")->state, SHUNT_CHECK_OK);
	free(f.checks);
	shunt_dp_close(dp);
}

Test(doctor, a_program_that_came_before_ours_is_a_warning)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts, .flags = TCX_BEFORE);
	struct dp_lab lab;
	struct shunt_dp_gate gate;
	struct shunt_dp *dp;
	struct findings f;
	int foreign, link_fd;

	dp_lab_enter(&lab);
	dp_lab_veth("h4a", "h4b");
	dp = dp_lab_open(&lab);
	cr_assert_eq(shunt_dp_attach(dp, dp_lab_ifindex("h4a"), "h4a", SHUNT_HOOK_TC, &gate, NULL),
		     0);
	/* Where the kernel has no tcx, clsact's first priority cannot be taken from us. */
	if (gate.tc_mode == SHUNT_TC_TCX) {
		foreign = dp_lab_foreign_prog("tc");
		link_fd = bpf_link_create(foreign, (int)dp_lab_ifindex("h4a"),
					  (enum bpf_attach_type)TCX_INGRESS, &opts);
		cr_assert_geq(link_fd, 0);
		f = look(&lab);
		cr_expect_eq(find(&f, "gate h4a", "ingress, runs as number 2")->state,
			     SHUNT_CHECK_WARN);
		free(f.checks);
		close(link_fd);
	}
	shunt_dp_close(dp);
}

Test(doctor, the_way_of_new_connections_is_said)
{
	struct dp_lab lab;
	struct shunt_settings *settings;
	struct shunt_dp *dp;
	struct findings f;

	dp_lab_enter(&lab);
	dp = dp_lab_open(&lab);
	settings = SHUNT_DP_AT(shunt_dp_maps(dp)->settings, struct shunt_settings, 0);
	f = look(&lab);
	cr_expect_eq(find(&f, "forward", "stack: ")->state, SHUNT_CHECK_OK);
	free(f.checks);
	settings->flags |= SHUNT_S_REDIRECT;
	f = look(&lab);
	cr_expect_eq(find(&f, "forward", "network policies")->state, SHUNT_CHECK_OK);
	free(f.checks);
	shunt_dp_close(dp);
}

Test(doctor, draining_and_other_versions_are_seen)
{
	struct dp_lab lab;
	struct shunt_dp *dp;
	struct findings f;

	dp_lab_enter(&lab);
	dp = dp_lab_open(&lab);
	SHUNT_DP_AT(shunt_dp_maps(dp)->settings, struct shunt_settings, 0)->flags |= SHUNT_S_DRAIN;
	dp_lab_run("mkdir %s/v77", lab.bpffs);
	f = look(&lab);
	cr_expect_eq(find(&f, "generation", "draining")->state, SHUNT_CHECK_WARN);
	cr_expect_eq(find(&f, "other pins", "map ABI 77")->state, SHUNT_CHECK_WARN);
	free(f.checks);
	shunt_dp_close(dp);
}
