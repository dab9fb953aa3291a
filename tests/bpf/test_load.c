// SPDX-License-Identifier: Apache-2.0
#include "lab.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "skel/probe.skel.h"
#include "skel/tc.skel.h"
#include "skel/xdp.skel.h"

/* The verifier is stricter without CAP_PERFMON: the agent has two capabilities only. */
#define AGENT_UID 65534
#define TWO_CAPS  (1ull << CAP_BPF | 1ull << CAP_NET_ADMIN)
#define LOG_BYTES (16u << 20)

/* No program may come near the verifier's million: a newer kernel may count more. */
#define MAX_INSNS 250000

TestSuite(load, .timeout = 120);

static int drop_to(uint64_t caps)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	for (int i = 0; i < 2; i++)
		data[i].effective = data[i].permitted = (uint32_t)(caps >> (32 * i));
	if (prctl(PR_SET_KEEPCAPS, 1) || setgroups(0, NULL) ||
	    setresgid(AGENT_UID, AGENT_UID, AGENT_UID) ||
	    setresuid(AGENT_UID, AGENT_UID, AGENT_UID))
		return -errno;
	return syscall(SYS_capset, &header, data) ? -errno : 0;
}

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

struct object {
	const char *name;
	const void *(*bytes)(size_t *size);
};

/* What a child found out; shared with it. */
struct outcome {
	int code;
	uint32_t n_progs;
	struct {
		char name[32];
		uint32_t insns;
	} progs[4];
	char log[LOG_BYTES];
};

static int note_programs(struct bpf_object *obj, struct outcome *outcome)
{
	struct bpf_program *prog;

	bpf_object__for_each_program(prog, obj)
	{
		struct bpf_prog_info info = { 0 };
		uint32_t len = sizeof(info);

		if (bpf_obj_get_info_by_fd(bpf_program__fd(prog), &info, &len) < 0)
			return -errno;
		snprintf(outcome->progs[outcome->n_progs].name, 32, "%s", bpf_program__name(prog));
		outcome->progs[outcome->n_progs++].insns = info.verified_insns;
	}
	return 0;
}

static int load(const struct object *object, struct outcome *outcome)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts, .kernel_log_buf = outcome->log,
		    .kernel_log_size = sizeof(outcome->log), .kernel_log_level = 0);
	struct bpf_object *obj;
	const void *bytes;
	size_t size;
	int r;

	libbpf_set_print(quiet);
	bytes = object->bytes(&size);
	obj = bpf_object__open_mem(bytes, size, &opts);
	if (!obj)
		return -errno;
	r = bpf_object__load(obj);
	if (!r)
		r = note_programs(obj, outcome);
	bpf_object__close(obj);
	return r;
}

/* Loads @object in a child as the agent's user. The outcome is to be unmapped. */
static struct outcome *load_as_agent(const struct object *object, uint64_t caps)
{
	struct outcome *outcome = mmap(NULL, sizeof(*outcome), PROT_READ | PROT_WRITE,
				       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int status;
	pid_t pid;

	cr_assert_neq(outcome, MAP_FAILED);
	outcome->code = -ECHILD;
	pid = fork();
	if (!pid) {
		int r = drop_to(caps);

		outcome->code = r < 0 ? r : load(object, outcome);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	cr_assert_eq(status, 0, "the child died: 0x%x", status);
	return outcome;
}

static const struct object objects[] = {
	{ "xdp", shunt_xdp__elf_bytes },
	{ "tc", shunt_tc__elf_bytes },
	{ "probe", shunt_probe__elf_bytes },
};

/* The verifier's last words, which name the instruction. */
static const char *last_of(const char *log)
{
	size_t len = strlen(log);

	return log + (len > 1500 ? len - 1500 : 0);
}

Test(load, every_program_loads_with_uid_65534_and_two_capabilities)
{
	for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
		struct outcome *outcome = load_as_agent(&objects[i], TWO_CAPS);

		cr_expect_eq(outcome->code, 0, "%s: %s\n%s", objects[i].name,
			     strerror(-outcome->code), last_of(outcome->log));
		cr_expect(outcome->code || outcome->n_progs, "%s has no program", objects[i].name);
		for (uint32_t p = 0; p < outcome->n_progs; p++) {
			printf("%s: %u instructions verified\n", outcome->progs[p].name,
			       outcome->progs[p].insns);
			cr_expect_lt(outcome->progs[p].insns, MAX_INSNS, "%s",
				     outcome->progs[p].name);
		}
		munmap(outcome, sizeof(*outcome));
	}
}

/* Otherwise the test above would say nothing. */
Test(load, without_the_two_capabilities_nothing_loads)
{
	struct outcome *outcome = load_as_agent(&objects[0], 0);

	cr_expect_eq(outcome->code, -EPERM, "%d", outcome->code);
	munmap(outcome, sizeof(*outcome));
}
