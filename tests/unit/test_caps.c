// SPDX-License-Identifier: Apache-2.0
#include <bpf/bpf.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "datapath/datapath.h"
#include "dp_lab.h"

/* The agent in a cluster is uid 65534 and has two capabilities; so do these tests. */
#define AGENT_UID 65534
#define BPF	  (1ull << CAP_BPF)
#define NET_ADMIN (1ull << CAP_NET_ADMIN)

static struct dp_lab lab;

struct outcome {
	int code;
	struct shunt_err err;
};

static void enter(void)
{
	dp_lab_enter(&lab);
	dp_lab_veth("gate", "peer");
	mkdir(lab.bpffs, 0700);
	mkdir(lab.state, 0700);
	cr_assert_eq(chown(lab.bpffs, AGENT_UID, AGENT_UID), 0);
	cr_assert_eq(chown(lab.state, AGENT_UID, AGENT_UID), 0);
}

TestSuite(caps, .init = enter, .timeout = 120);

/* Becomes the agent's user with @caps and nothing else. */
static int drop_to(uint64_t caps)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct rlimit memlock = { 8 << 20, 8 << 20 };
	struct __user_cap_data_struct data[2];

	for (int i = 0; i < 2; i++) {
		data[i].effective = data[i].permitted = (uint32_t)(caps >> (32 * i));
		data[i].inheritable = 0;
	}
	if (setrlimit(RLIMIT_MEMLOCK, &memlock) || prctl(PR_SET_KEEPCAPS, 1) ||
	    setgroups(0, NULL) || setresgid(AGENT_UID, AGENT_UID, AGENT_UID) ||
	    setresuid(AGENT_UID, AGENT_UID, AGENT_UID) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

/* Runs @fn in a child with @caps; what it says comes back. */
static struct outcome as_agent(uint64_t caps, int (*fn)(struct shunt_err *err))
{
	struct outcome *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct outcome ret;
	int status;
	pid_t pid;

	shared->code = -ECHILD;
	pid = fork();
	if (!pid) {
		int r = drop_to(caps);

		shared->code = r < 0 ? shunt_err_set(&shared->err, r, "drop_to: %s", strerror(-r))
				     : fn(&shared->err);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0, "the child died: status 0x%x", status);
	ret = *shared;
	munmap(shared, sizeof(*shared));
	return ret;
}

static int open_and_close(struct shunt_err *err)
{
	struct shunt_dp *dp = NULL;
	int r = shunt_dp_open(&lab.opts, &dp, err);

	shunt_dp_close(dp);
	return r;
}

static int attach_and_detach(struct shunt_err *err, enum shunt_hook hook, enum shunt_tc_mode mode)
{
	struct shunt_dp_opts opts = lab.opts;
	uint32_t ifindex = dp_lab_ifindex("gate");
	struct shunt_dp *dp = NULL;
	struct shunt_dp_gate gate;
	int r;

	opts.tc_mode = mode;
	r = shunt_dp_open(&opts, &dp, err);
	if (!r)
		r = shunt_dp_attach(dp, ifindex, "gate", hook, &gate, err);
	if (!r) {
		shunt_dp_close(dp);
		r = shunt_dp_open(&opts, &dp, err); /* and replace the programs */
	}
	if (!r)
		r = shunt_dp_attach(dp, ifindex, "gate", hook, &gate, err);
	if (!r)
		r = shunt_dp_grace(dp);
	if (!r)
		r = shunt_dp_detach(dp, ifindex);
	shunt_dp_close(dp);
	return r;
}

static int use_tcx(struct shunt_err *err)
{
	return attach_and_detach(err, SHUNT_HOOK_TC, SHUNT_TC_TCX);
}

static int use_clsact(struct shunt_err *err)
{
	return attach_and_detach(err, SHUNT_HOOK_TC, SHUNT_TC_CLSACT);
}

static int use_xdp(struct shunt_err *err)
{
	return attach_and_detach(err, SHUNT_HOOK_XDP, SHUNT_TC_AUTO);
}

/* Somebody else's program stands before ours: looked at and overtaken without more rights. */
static int overtake(struct shunt_err *err)
{
	LIBBPF_OPTS(bpf_link_create_opts, before, .flags = 1u << 3);
	uint32_t ifindex = dp_lab_ifindex("gate");
	struct shunt_dp *dp = NULL;
	struct shunt_dp_gate gate;
	int r, foreign;

	r = shunt_dp_open(&lab.opts, &dp, err);
	if (!r)
		r = shunt_dp_attach(dp, ifindex, "gate", SHUNT_HOOK_TC, &gate, err);
	if (r < 0)
		return r;
	foreign = bpf_link_create(dp_lab_foreign_prog("tc"), (int)ifindex, 46, &before);
	r = foreign < 0 ? shunt_err_set(err, foreign, "foreign program: %s", strerror(-foreign))
			: shunt_dp_attach(dp, ifindex, "gate", SHUNT_HOOK_TC, &gate, err);
	shunt_dp_close(dp);
	return r;
}

Test(caps, two_capabilities_are_enough_for_everything)
{
	static const struct {
		const char *what;
		int (*fn)(struct shunt_err *err);
	} cases[] = {
		{ "load all programs, create and pin the maps", open_and_close },
		{ "adopt them", open_and_close },
		{ "tcx", use_tcx },
		{ "clsact", use_clsact },
		{ "XDP", use_xdp },
		{ "first place at tcx", overtake },
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct outcome outcome = as_agent(BPF | NET_ADMIN, cases[i].fn);

		cr_expect_eq(outcome.code, 0, "%s: %s: %s", cases[i].what, strerror(-outcome.code),
			     outcome.err.text);
	}
}

static void assert_names(uint64_t caps, int code, const char *word)
{
	struct outcome outcome = as_agent(caps, open_and_close);

	cr_expect_eq(outcome.code, code, "%d: %s", outcome.code, outcome.err.text);
	cr_expect_not_null(strstr(outcome.err.text, word), "'%s' lacks '%s'", outcome.err.text,
			   word);
	cr_expect_null(strchr(outcome.err.text, '\n'), "one line: %s", outcome.err.text);
}

Test(caps, a_missing_capability_is_named)
{
	assert_names(0, -EPERM, "CAP_BPF is missing");
	assert_names(NET_ADMIN, -EPERM, "CAP_BPF is missing");
	assert_names(BPF, -EPERM, "CAP_NET_ADMIN is missing");
}

Test(caps, a_directory_of_another_user_is_named_with_the_way_out)
{
	cr_assert_eq(chown(lab.bpffs, 0, 0), 0);
	assert_names(BPF | NET_ADMIN, -EACCES, "chown -R 65534");
	assert_names(BPF | NET_ADMIN, -EACCES, lab.bpffs);
}

Test(caps, a_directory_that_cannot_be_made_is_named)
{
	rmdir(lab.bpffs);
	assert_names(BPF | NET_ADMIN, -EACCES, lab.bpffs);
}

Test(caps, pins_of_root_are_named)
{
	cr_assert_eq(chown(lab.bpffs, 0, 0), 0);
	shunt_dp_close(dp_lab_open(&lab));
	cr_assert_eq(chown(lab.bpffs, AGENT_UID, AGENT_UID), 0);
	assert_names(BPF | NET_ADMIN, -EACCES, "uid 65534");
}

Test(caps, a_state_directory_of_another_user_is_named)
{
	cr_assert_eq(chown(lab.state, 0, 0), 0);
	assert_names(BPF | NET_ADMIN, -EACCES, lab.state);
}
