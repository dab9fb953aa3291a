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
#include "skel/tc_trace.skel.h"
#include "skel/xdp.skel.h"
#include "skel/xdp_frags.skel.h"
#include "skel/xdp_frags_trace.skel.h"
#include "skel/xdp_trace.skel.h"

/* The verifier is stricter without CAP_PERFMON: the agent has two capabilities only. */
#define AGENT_UID 65534
#define TWO_CAPS  (1ull << CAP_BPF | 1ull << CAP_NET_ADMIN)
#define LOG_BYTES (16u << 20)

/* No program may come near the verifier's million: a newer kernel may count more. */
#define MAX_INSNS 200000

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
	{ "xdp_frags", shunt_xdp_frags__elf_bytes },
	{ "tc", shunt_tc__elf_bytes },
	{ "xdp_trace", shunt_xdp_trace__elf_bytes },
	{ "xdp_frags_trace", shunt_xdp_frags_trace__elf_bytes },
	{ "tc_trace", shunt_tc_trace__elf_bytes },
	{ "probe", shunt_probe__elf_bytes },
};

/* The tracing objects' programs have the names of the plain ones. */
static const char *mark_of(const struct object *object)
{
	return strstr(object->name, "_trace") ? " (tracing)" : "";
}

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
			printf("%s%s: %u instructions verified\n", outcome->progs[p].name,
			       mark_of(&objects[i]), outcome->progs[p].insns);
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

/* ---- the stack ------------------------------------------------------------------------------- */

#define STACK_MAX   512
#define STACK_ROUND 32 /* what a frame is rounded up to, in kernels before 6.9 */
#define MAX_DEPTH   8  /* frames that the verifier allows */

struct code {
	const struct bpf_insn *insns;
	size_t n;
	int *known; /* by instruction: what stack_from() said of a function there; 0: not asked */
};

static bool is_call(const struct bpf_insn *insn)
{
	return insn->code == (BPF_JMP | BPF_CALL) && insn->src_reg == BPF_PSEUDO_CALL;
}

static size_t target_of(const struct code *code, size_t i)
{
	return i + 1 + (size_t)code->insns[i].imm;
}

/* Functions lie one after the other: this one ends where the next that is called begins. */
static size_t end_of(const struct code *code, size_t begin)
{
	size_t end = code->n;

	for (size_t i = 0; i < code->n; i++)
		if (is_call(&code->insns[i]) && target_of(code, i) > begin &&
		    target_of(code, i) < end)
			end = target_of(code, i);
	return end;
}

/* How far below the frame pointer instruction @i reaches. */
static int reach_of(const struct code *code, size_t i)
{
	const struct bpf_insn *insn = &code->insns[i];
	uint8_t class = BPF_CLASS(insn->code);

	if ((class == BPF_LDX && insn->src_reg == BPF_REG_10) ||
	    ((class == BPF_ST || class == BPF_STX) && insn->dst_reg == BPF_REG_10))
		return -insn->off;
	if (i && insn->code == (BPF_ALU64 | BPF_ADD | BPF_K) &&
	    insn[-1].code == (BPF_ALU64 | BPF_MOV | BPF_X) && insn[-1].src_reg == BPF_REG_10 &&
	    insn[-1].dst_reg == insn->dst_reg)
		return -insn->imm;
	return 0;
}

/* Bytes of stack from the function at @begin on, as kernels of the floor count them. */
static int stack_from(const struct code *code, size_t begin, int depth)
{
	int frame = 1, below = 0;

	cr_assert_lt(depth, MAX_DEPTH);
	if (code->known[begin])
		return code->known[begin];
	for (size_t i = begin; i < end_of(code, begin); i++) {
		int reach = reach_of(code, i);
		int callee = 0;

		if (is_call(&code->insns[i]))
			callee = stack_from(code, target_of(code, i), depth + 1);
		frame = reach > frame ? reach : frame;
		below = callee > below ? callee : below;
	}
	code->known[begin] = (frame + STACK_ROUND - 1) / STACK_ROUND * STACK_ROUND + below;
	return code->known[begin];
}

Test(load, every_chain_of_calls_fits_the_stack_also_where_frames_are_rounded_to_32)
{
	for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
		struct bpf_program *prog;
		struct bpf_object *obj;
		size_t size;
		const void *bytes = objects[i].bytes(&size);

		obj = bpf_object__open_mem(bytes, size, NULL);
		cr_assert_not_null(obj);
		cr_assert_eq(bpf_object__load(obj), 0);
		bpf_object__for_each_program(prog, obj)
		{
			struct code code = { bpf_program__insns(prog), bpf_program__insn_cnt(prog),
					     calloc(bpf_program__insn_cnt(prog), sizeof(int)) };
			int bytes_used = stack_from(&code, 0, 0);

			free(code.known);

			printf("%s%s: %d bytes of stack\n", bpf_program__name(prog),
			       mark_of(&objects[i]), bytes_used);
			cr_expect_leq(bytes_used, STACK_MAX, "%s: %d", bpf_program__name(prog),
				      bytes_used);
		}
		bpf_object__close(obj);
	}
}
