// SPDX-License-Identifier: Apache-2.0
#include "datapath/doctor.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/array.h"
#include "base/cleanup.h"
#include "datapath/doctor_internal.h"
#include "datapath/internal.h"

#define TCX_INGRESS 46 /* BPF_TCX_INGRESS of kernel 6.6 */

void doctor_add(struct doctor *doctor, enum shunt_check_state state, const char *name,
		const char *hint, const char *fmt, ...)
{
	struct shunt_check *check;
	va_list args;

	check = shunt_array_add(&doctor->checks, &doctor->n, sizeof(*check));
	if (!check) {
		doctor->is_out_of_memory = true;
		return;
	}
	check->state = state;
	snprintf(check->name, sizeof(check->name), "%s", name);
	snprintf(check->hint, sizeof(check->hint), "%s", state == SHUNT_CHECK_OK ? "" : hint);
	va_start(args, fmt);
	vsnprintf(check->text, sizeof(check->text), fmt, args);
	va_end(args);
}

static FILE *open_below(const char *root, const char *fmt, va_list args)
{
	char path[SHUNT_PATH_LEN];
	int len = snprintf(path, sizeof(path), "%s", root);

	vsnprintf(path + len, sizeof(path) - (size_t)len, fmt, args);
	return fopen(path, "re");
}

FILE *doctor_open(const struct doctor *doctor, const char *fmt, ...)
{
	va_list args;
	FILE *file;

	va_start(args, fmt);
	file = open_below(doctor->root, fmt, args);
	va_end(args);
	return file;
}

int doctor_read_number(const struct doctor *doctor, long *ret_value, const char *fmt, ...)
{
	CLEANUP(file_closep) FILE *file = NULL;
	va_list args;

	va_start(args, fmt);
	file = open_below(doctor->root, fmt, args);
	va_end(args);
	if (!file)
		return -errno;
	return fscanf(file, "%ld", ret_value) == 1 ? 0 : -EINVAL;
}

static void check_kernel(struct doctor *doctor)
{
	unsigned major = 0, minor = 0;
	struct utsname name;
	bool is_old;

	uname(&name);
	is_old = sscanf(name.release, "%u.%u", &major, &minor) == 2 &&
		 (major < 5 || (major == 5 && minor < 15));
	doctor_add(doctor, is_old ? SHUNT_CHECK_FAIL : SHUNT_CHECK_OK, "kernel",
		   "Shunt is built for 5.15 and newer: boot a newer kernel", "Linux %s",
		   name.release);
}

static void check_btf(struct doctor *doctor)
{
	bool is_there = access("/sys/kernel/btf/vmlinux", R_OK) == 0;

	doctor_add(doctor, is_there ? SHUNT_CHECK_OK : SHUNT_CHECK_WARN, "btf",
		   "maps will not show named fields in bpftool: use a kernel with "
		   "CONFIG_DEBUG_INFO_BTF",
		   "%s",
		   is_there ? "the kernel describes its types" : "no /sys/kernel/btf/vmlinux");
}

static void check_bpffs(struct doctor *doctor)
{
	struct shunt_err err = { 0 };
	int r = shunt_pins_check_mount(doctor->bpffs, &err);

	if (r < 0)
		doctor_add(doctor, SHUNT_CHECK_FAIL, "bpffs", "mount -t bpf bpf /sys/fs/bpf", "%s",
			   err.text);
	else
		doctor_add(doctor, SHUNT_CHECK_OK, "bpffs", "", "%s is on a BPF file system",
			   doctor->bpffs);
}

/* Older headers do not have it. */
#define PROG_F_XDP_HAS_FRAGS (1u << 5)

/* return -1 (TCX_NEXT, TC_ACT_UNSPEC) or 2 (XDP_PASS): the smallest program there is. */
static int trial_load(enum bpf_prog_type type, int verdict, uint32_t flags, bool *ret_jited)
{
	const struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = verdict },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .prog_flags = flags);
	CLEANUP(fd_closep) int fd = -EBADF;
	struct bpf_prog_info info = { 0 };
	uint32_t len = sizeof(info);

	fd = bpf_prog_load(type, "shunt_trial", "GPL", insns, ARRAY_LEN(insns), &opts);
	if (fd < 0)
		return -errno;
	if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0)
		*ret_jited = info.jited_prog_len > 0;
	return 0;
}

static int trial_map(void)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "shunt_trial", 4, 8, 1, &opts);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static void add_trial(struct doctor *doctor, const char *name, const char *what, int r)
{
	if (r == 0)
		doctor_add(doctor, SHUNT_CHECK_OK, name, "", "%s works", what);
	else if (r == -EPERM || r == -EACCES)
		doctor_add(doctor, SHUNT_CHECK_FAIL, name,
			   "run as root, or with CAP_BPF and CAP_NET_ADMIN", "%s: no right to",
			   what);
	else
		doctor_add(doctor, SHUNT_CHECK_FAIL, name,
			   "the kernel lacks it: see CONFIG_BPF_SYSCALL, CONFIG_NET_CLS_BPF",
			   "%s: %s", what, strerror(-r));
}

static void check_programs(struct doctor *doctor)
{
	bool is_jited = false, has_frags;

	add_trial(doctor, "tc programs", "loading a tc program",
		  trial_load(BPF_PROG_TYPE_SCHED_CLS, -1, 0, &is_jited));
	add_trial(doctor, "xdp programs", "loading an XDP program",
		  trial_load(BPF_PROG_TYPE_XDP, 2, 0, &is_jited));
	has_frags = !trial_load(BPF_PROG_TYPE_XDP, 2, PROG_F_XDP_HAS_FRAGS, &is_jited);
	doctor_add(doctor, SHUNT_CHECK_OK, "xdp.frags", "", "%s",
		   has_frags ? "there: XDP gates take jumbo frames and packets of any form"
			     : "not there (5.18 has it): XDP gates pass on VLAN tags, options, "
			       "extension headers and fragments; tc gates take them");
	if (is_jited)
		doctor_add(doctor, SHUNT_CHECK_OK, "jit", "", "programs run as machine code");
	else
		doctor_add(
			doctor, SHUNT_CHECK_WARN, "jit",
			"sysctl -w net.core.bpf_jit_enable=1: without it programs are interpreted",
			"no program was seen to run as machine code");
}

/* A query changes nothing; kernels before 6.6 do not know the attach type. */
static void check_tcx(struct doctor *doctor)
{
	uint32_t n = 0;
	int loopback = 1;
	bool has_tcx;

	has_tcx =
		bpf_prog_query(loopback, (enum bpf_attach_type)TCX_INGRESS, 0, NULL, NULL, &n) == 0;
	if (!has_tcx && (errno == EPERM || errno == EACCES))
		doctor_add(doctor, SHUNT_CHECK_WARN, "tcx",
			   "run as root, or with CAP_BPF and CAP_NET_ADMIN",
			   "no right to ask for it");
	else
		doctor_add(doctor, SHUNT_CHECK_OK, "tcx", "", "%s",
			   has_tcx ? "there: gates are attached before all other programs"
				   : "not there (6.6 has it): gates use clsact's first priority");
}

int shunt_doctor(const char *bpffs, struct shunt_check **ret_checks, size_t *ret_n)
{
	struct doctor doctor = { .bpffs = bpffs, .root = "" };

	/* Without it nothing is known of the devices, and nothing said of them. */
	shunt_links_read(&doctor.links, &doctor.n_links);

	check_kernel(&doctor);
	check_btf(&doctor);
	check_bpffs(&doctor);
	check_programs(&doctor);
	add_trial(&doctor, "maps", "making an mmapable array", trial_map());
	check_tcx(&doctor);
	doctor_check_pins(&doctor);
	doctor_check_gates(&doctor);
	doctor_check_sysctl(&doctor);
	free(doctor.gates);
	free(doctor.links);

	if (doctor.is_out_of_memory) {
		free(doctor.checks);
		return -ENOMEM;
	}
	*ret_checks = doctor.checks;
	*ret_n = doctor.n;
	return 0;
}
