// SPDX-License-Identifier: Apache-2.0
#include "dp_lab.h"

#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <net/if.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

void dp_lab_run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	cr_assert_eq(system(command), 0, "%s", command);
}

void dp_lab_enter(struct dp_lab *lab)
{
	memset(lab, 0, sizeof(*lab));
	strcpy(lab->dir, "/media/shunt-lab-XXXXXX");
	cr_assert_eq(unshare(CLONE_NEWNS | CLONE_NEWNET), 0, "this test needs root");
	cr_assert_eq(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	/* In a tmpfs over /media nothing stays behind, whatever becomes of the test. */
	cr_assert_eq(mount("lab", "/media", "tmpfs", 0, "mode=755"), 0);
	cr_assert_not_null(mkdtemp(lab->dir));
	chmod(lab->dir, 0755);
	snprintf(lab->bpffs, sizeof(lab->bpffs), "%s/bpf", lab->dir);
	snprintf(lab->state, sizeof(lab->state), "%s/state", lab->dir);
	mkdir(lab->bpffs, 0755);
	cr_assert_eq(mount("lab", lab->bpffs, "bpf", 0, "mode=755"), 0);
	strcat(lab->bpffs, "/shunt");

	lab->opts = (struct shunt_dp_opts){
		.bpffs = lab->bpffs,
		.state_dir = lab->state,
		.sizes = DP_LAB_SIZES,
	};
}

struct shunt_dp *dp_lab_open(const struct dp_lab *lab)
{
	struct shunt_dp *dp = NULL;
	struct shunt_err err = { .text = "" };
	int r = shunt_dp_open(&lab->opts, &dp, &err);

	cr_assert_eq(r, 0, "%s: %s", strerror(-r), err.text);
	return dp;
}

uint32_t dp_lab_ifindex(const char *ifname)
{
	uint32_t ifindex = if_nametoindex(ifname);

	cr_assert_neq(ifindex, 0, "no interface %s", ifname);
	return ifindex;
}

void dp_lab_veth(const char *a, const char *b)
{
	dp_lab_run(
		"ip link add %s type veth peer name %s && ip link set %s up && ip link set %s up",
		a, b, a, b);
}

int dp_lab_foreign_prog(const char *type)
{
	/* r0 = TC_ACT_UNSPEC or XDP_PASS; exit */
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	bool is_tc = !strcmp(type, "tc");
	int fd;

	insns[0].imm = is_tc ? -1 : 2;
	fd = bpf_prog_load(is_tc ? BPF_PROG_TYPE_SCHED_CLS : BPF_PROG_TYPE_XDP, "foreign", "GPL",
			   insns, 2, NULL);
	cr_assert_geq(fd, 0);
	return fd;
}
