// SPDX-License-Identifier: Apache-2.0
/* The lab's life and its runs of programs. */
#include "lab.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/pkt_cls.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "skel/probe.skel.h"
#include "skel/tc.skel.h"
#include "skel/tc_trace.skel.h"
#include "skel/xdp.skel.h"
#include "skel/xdp_frags.skel.h"
#include "skel/xdp_frags_trace.skel.h"
#include "shunt/histogram.h"
#include "shunt/tuple.h"

#define LAB_INDICES 256 /* of variants and backends that tests use */

const char *lab_what = "";
bool lab_traced;

/* ---- maps ------------------------------------------------------------------------------------ */

static size_t array_bytes(const struct shunt_dp_array *array)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return ((size_t)array->n * array->stride + page - 1) / page * page;
}

static int map_fd(const struct bpf_object *obj, const char *name)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(obj, name);

	cr_assert_not_null(map, "no map %s", name);
	return bpf_map__fd(map);
}

static void array_open(const struct bpf_object *obj, const char *name, struct shunt_dp_array *array)
{
	const struct bpf_map *map = bpf_object__find_map_by_name(obj, name);

	array->fd = map_fd(obj, name);
	array->n = bpf_map__max_entries(map);
	array->stride = (bpf_map__value_size(map) + 7) / 8 * 8;
	array->base =
		mmap(NULL, array_bytes(array), PROT_READ | PROT_WRITE, MAP_SHARED, array->fd, 0);
	cr_assert_neq(array->base, MAP_FAILED, "%s: %m", name);
}

static void maps_open(struct lab *lab)
{
	const struct bpf_object *obj = lab->tc->obj;

#define OPEN_ARRAY(name) array_open(obj, "shunt_" #name, &lab->maps.name);
	SHUNT_DP_ARRAYS(OPEN_ARRAY)
#undef OPEN_ARRAY
	lab->maps.frontends_fd = map_fd(obj, "shunt_frontends");
	lab->maps.sessions_fd = map_fd(obj, "shunt_sessions");
	lab->maps.gates_fd = map_fd(obj, "shunt_gates");
	lab->fragments_fd = map_fd(obj, "shunt_fragments");
	lab->maps.backend_counters_fd = map_fd(obj, "shunt_backend_counters");
	lab->maps.variant_counters_fd = map_fd(obj, "shunt_variant_counters");
	lab->maps.reasons_fd = map_fd(obj, "shunt_reasons");
	lab->maps.limit_counters_fd = map_fd(obj, "shunt_limit_counters");
	lab->maps.event_counters_fd = map_fd(obj, "shunt_event_counters");
	lab->maps.events_fd = map_fd(obj, "shunt_events");
	lab->maps.sources_fd[SHUNT_V4] = map_fd(obj, "shunt_sources_v4");
	lab->maps.sources_fd[SHUNT_V6] = map_fd(obj, "shunt_sources_v6");
}

void lab_share_maps(const struct lab *lab, struct bpf_object *obj)
{
	const struct bpf_map *shared;
	struct bpf_map *map;

	bpf_object__for_each_map(map, obj)
	{
		const char *name = bpf_map__name(map);

		shared = bpf_object__find_map_by_name(lab->tc->obj, name);
		if (shared && (!strncmp(name, "shunt_", 6) || !strncmp(name, "tracing_", 8)))
			cr_assert_eq(bpf_map__reuse_fd(map, bpf_map__fd(shared)), 0);
	}
}

void *lab_map_memory(const struct bpf_map *map)
{
	size_t bytes = (size_t)bpf_map__value_size(map) * bpf_map__max_entries(map);
	void *base = mmap(NULL, (bytes + 4095) / 4096 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
			  bpf_map__fd(map), 0);

	cr_assert_neq(base, MAP_FAILED, "%m");
	return base;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int quiet(enum libbpf_print_level level, const char *format, va_list args)
{
	return level == LIBBPF_WARN ? vfprintf(stderr, format, args) : 0;
}

/* Packets need interfaces to come in by: two, in a network namespace of this test alone. */
static void gates_make(struct lab *lab)
{
	cr_assert_eq(unshare(CLONE_NEWNET), 0, "unshare: %m (these tests need root)");
	cr_assert_eq(system("ip link add gate0 type veth peer name gate1"), 0);
	lab->gates[0] = if_nametoindex("gate0");
	lab->gates[1] = if_nametoindex("gate1");
	cr_assert(lab->gates[0] && lab->gates[1]);
}

/* The tracing objects have all that the plain ones have, by the same names, and more. */
static void programs_open(struct lab *lab)
{
	const bool traced = lab_traced || getenv("SHUNT_LAB_TRACED");

	lab->tc = calloc(1, sizeof(*lab->tc));
	lab->xdp = calloc(1, sizeof(*lab->xdp));
	cr_assert(lab->tc && lab->xdp);
	cr_assert_eq(shunt_tc__create_skeleton(lab->tc), 0);
	cr_assert_eq(shunt_xdp_frags__create_skeleton(lab->xdp), 0);
	if (traced) {
		lab->tc->skeleton->data =
			(void *)shunt_tc_trace__elf_bytes(&lab->tc->skeleton->data_sz);
		lab->xdp->skeleton->data =
			(void *)shunt_xdp_frags_trace__elf_bytes(&lab->xdp->skeleton->data_sz);
	}
	cr_assert_eq(bpf_object__open_skeleton(lab->tc->skeleton, NULL), 0, "opening tc: %m");
	cr_assert_eq(bpf_object__open_skeleton(lab->xdp->skeleton, NULL), 0, "opening XDP: %m");
}

void lab_open(struct lab *lab, uint32_t n_flow_sets)
{
	memset(lab, 0, sizeof(*lab));
	libbpf_set_print(quiet);
	gates_make(lab);
	programs_open(lab);
	bpf_map__set_max_entries(lab->tc->maps.shunt_flow_sets, n_flow_sets);
	bpf_map__set_max_entries(lab->tc->maps.shunt_flows, n_flow_sets * SHUNT_FLOW_WAYS);
	bpf_map__set_max_entries(lab->tc->maps.shunt_http, n_flow_sets * SHUNT_FLOW_WAYS);
	bpf_map__set_max_entries(lab->tc->maps.shunt_response_times,
				 LAB_INDICES * SHUNT_TIME_BUCKETS);
	bpf_map__set_max_entries(lab->tc->maps.shunt_connect_times,
				 LAB_INDICES * SHUNT_TIME_BUCKETS);
	bpf_map__set_max_entries(lab->tc->maps.shunt_reply_sets, n_flow_sets * 4);
	cr_assert_eq(shunt_tc__load(lab->tc), 0, "loading tc: %m (these tests need root)");
	lab_share_maps(lab, lab->xdp->obj);
	cr_assert_eq(shunt_xdp_frags__load(lab->xdp), 0, "loading XDP: %m");
	lab->probe = shunt_probe__open_and_load();
	cr_assert_not_null(lab->probe, "loading the clock: %m");
	maps_open(lab);
}

void lab_close(struct lab *lab)
{
#define CLOSE_ARRAY(name) munmap(lab->maps.name.base, array_bytes(&lab->maps.name));
	SHUNT_DP_ARRAYS(CLOSE_ARRAY)
#undef CLOSE_ARRAY
	shunt_probe__destroy(lab->probe);
	shunt_xdp__destroy(lab->xdp_plain);
	shunt_xdp_frags__destroy(lab->xdp);
	shunt_tc__destroy(lab->tc);
}

static void hash_empty(int fd, size_t key_size)
{
	uint8_t key[64];

	cr_assert_leq(key_size, sizeof(key));
	while (!bpf_map_get_next_key(fd, NULL, key))
		cr_assert_eq(bpf_map_delete_elem(fd, key), 0);
}

static void percpu_zero(int fd, size_t value_size, uint32_t n)
{
	void *zero = calloc((size_t)libbpf_num_possible_cpus(), (value_size + 7) / 8 * 8);

	cr_assert_not_null(zero);
	for (uint32_t i = 0; i < n; i++)
		cr_assert_eq(bpf_map_update_elem(fd, &i, zero, BPF_ANY), 0);
	free(zero);
}

static void settings_reset(struct lab *lab)
{
	struct shunt_settings *settings = lab_settings(lab);

	*settings = (struct shunt_settings){
		.abi_version = SHUNT_ABI_VERSION,
		.choice_key = { 0x0123456789abcdefull, 0xfedcba9876543210ull },
		.table_key = 0x5bd1e995cafef00dull,
		.flow_set_mask = lab->maps.flow_sets.n - 1,
		.reply_set_mask = lab->maps.reply_sets.n - 1,
		.nat_port_first = 61000,
		.nat_port_count = 4536,
		.limit_set_mask = lab->maps.client_sets.n - 1,
		.jiffy_us = 1000,
	};
	for (int i = 0; i < SHUNT_N_TIMEOUTS; i++)
		settings->timeout_jiffies[i] = LAB_LONG;
}

void lab_reset(struct lab *lab, const struct lab_kind *kind)
{
#define ZERO_ARRAY(name) memset(lab->maps.name.base, 0, array_bytes(&lab->maps.name));
	SHUNT_DP_ARRAYS(ZERO_ARRAY)
#undef ZERO_ARRAY
	hash_empty(lab->maps.frontends_fd, sizeof(struct shunt_frontend_key));
	hash_empty(lab->maps.sessions_fd, sizeof(struct shunt_session_key));
	hash_empty(lab->maps.gates_fd, sizeof(uint32_t));
	hash_empty(lab->fragments_fd, sizeof(struct shunt_fragment_key));
	hash_empty(lab->maps.sources_fd[SHUNT_V4], sizeof(struct shunt_source_key_v4));
	hash_empty(lab->maps.sources_fd[SHUNT_V6], sizeof(struct shunt_source_key_v6));
	percpu_zero(lab->maps.backend_counters_fd, sizeof(struct shunt_counters), LAB_INDICES);
	percpu_zero(lab->maps.variant_counters_fd, sizeof(struct shunt_counters), LAB_INDICES);
	percpu_zero(lab->maps.reasons_fd, sizeof(uint64_t), SHUNT_R_MAX);
	percpu_zero(lab->maps.limit_counters_fd, sizeof(struct shunt_limit_counters),
		    lab->maps.buckets.n);
	percpu_zero(lab->maps.event_counters_fd, sizeof(struct shunt_event_counters), 1);
	hash_empty(map_fd(lab->tc->obj, "shunt_placed"), sizeof(struct shunt_tuple));
	percpu_zero(map_fd(lab->tc->obj, "shunt_answer_limits"), sizeof(struct shunt_answer_limit),
		    SHUNT_N_ANSWERS);
	settings_reset(lab);
	lab->kind = kind;
	lab->gate = lab->gates[0];
	lab->rings_used = lab->members_used = 0;
	lab_what = kind->name;
}

static const struct lab_kind kinds[] = {
	{ "IPv4 TCP XDP", SHUNT_V4, IPPROTO_TCP, LAB_XDP },
	{ "IPv4 TCP tc", SHUNT_V4, IPPROTO_TCP, LAB_TC },
	{ "IPv4 UDP XDP", SHUNT_V4, IPPROTO_UDP, LAB_XDP },
	{ "IPv4 UDP tc", SHUNT_V4, IPPROTO_UDP, LAB_TC },
	{ "IPv6 TCP XDP", SHUNT_V6, IPPROTO_TCP, LAB_XDP },
	{ "IPv6 TCP tc", SHUNT_V6, IPPROTO_TCP, LAB_TC },
	{ "IPv6 UDP XDP", SHUNT_V6, IPPROTO_UDP, LAB_XDP },
	{ "IPv6 UDP tc", SHUNT_V6, IPPROTO_UDP, LAB_TC },
};

static bool takes_part(const struct lab_kind *kind, uint32_t only)
{
	if (only & LAB_ONLY_TCP && kind->proto != IPPROTO_TCP)
		return false;
	if (only & LAB_ONLY_UDP && kind->proto != IPPROTO_UDP)
		return false;
	if (only & LAB_ONLY_V4 && kind->family != SHUNT_V4)
		return false;
	if (only & LAB_ONLY_V6 && kind->family != SHUNT_V6)
		return false;
	if (only & LAB_ONLY_TC && kind->hook != LAB_TC)
		return false;
	return !(only & LAB_ONLY_XDP && kind->hook != LAB_XDP);
}

void lab_each(uint32_t only, void (*body)(struct lab *lab, const struct lab_kind *k))
{
	struct lab lab;
	size_t n = 0;

	lab_open(&lab, LAB_SETS);
	for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
		if (!takes_part(&kinds[i], only))
			continue;
		lab_reset(&lab, &kinds[i]);
		body(&lab, &kinds[i]);
		n++;
	}
	cr_expect(n, "no kind takes part");
	lab_close(&lab);
}

void lab_use_plain_xdp(struct lab *lab)
{
	if (lab->xdp_plain)
		return;
	lab->xdp_plain = shunt_xdp__open();
	cr_assert_not_null(lab->xdp_plain, "opening the plain XDP object: %m");
	lab_share_maps(lab, lab->xdp_plain->obj);
	cr_assert_eq(shunt_xdp__load(lab->xdp_plain), 0, "loading plain XDP: %m");
}

/* ---- runs ------------------------------------------------------------------------------------ */

int lab_ingress_fd(const struct lab *lab)
{
	if (lab->kind->hook == LAB_TC)
		return bpf_program__fd(lab->tc->progs.shunt_tc_ingress);
	return bpf_program__fd(lab->xdp_plain ? lab->xdp_plain->progs.shunt_xdp_ingress
					      : lab->xdp->progs.shunt_xdp_ingress);
}

int lab_egress_fd(const struct lab *lab)
{
	return bpf_program__fd(lab->tc->progs.shunt_tc_egress);
}

int lab_run(struct lab *lab, int prog_fd, enum lab_hook hook, const struct lab_frame *in,
	    uint32_t segments, struct lab_frame *out, uint32_t *ret_code)
{
	struct xdp_md xdp = { .data_end = in->len, .ingress_ifindex = lab->gate };
	struct __sk_buff skb = { .ifindex = lab->gate, .gso_segs = segments };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = in->data, .data_size_in = in->len,
		    .data_out = out->data, .data_size_out = sizeof(out->data), .repeat = 1);
	int r;

	opts.ctx_in = hook == LAB_XDP ? (void *)&xdp : (void *)&skb;
	opts.ctx_size_in = hook == LAB_XDP ? sizeof(xdp) : sizeof(skb);
	r = bpf_prog_test_run_opts(prog_fd, &opts);
	if (r < 0)
		return r;
	out->len = opts.data_size_out;
	*ret_code = opts.retval;
	return 0;
}

enum lab_verdict lab_verdict(enum lab_hook hook, uint32_t code)
{
	const struct {
		enum lab_hook hook;
		int code;
		enum lab_verdict verdict;
	} meanings[] = {
		{ LAB_XDP, XDP_PASS, LAB_PASS },	 { LAB_XDP, XDP_DROP, LAB_DROP },
		{ LAB_XDP, XDP_TX, LAB_BOUNCE },	 { LAB_TC, TC_ACT_UNSPEC, LAB_PASS },
		{ LAB_XDP, XDP_REDIRECT, LAB_SENT },	 { LAB_TC, TC_ACT_SHOT, LAB_DROP },
		{ LAB_TC, TC_ACT_REDIRECT, LAB_BOUNCE },
	};

	for (size_t i = 0; i < ARRAY_LEN(meanings); i++)
		if (meanings[i].hook == hook && meanings[i].code == (int)code)
			return meanings[i].verdict;
	return LAB_OTHER;
}

static void reasons_read(const struct lab *lab, uint64_t reasons[SHUNT_R_MAX])
{
	for (uint32_t i = 0; i < SHUNT_R_MAX; i++)
		reasons[i] = lab_reason(lab, i);
}

/* The one reason that was counted between the two readings. */
static enum shunt_reason reason_between(const uint64_t *before, const uint64_t *after)
{
	enum shunt_reason reason = SHUNT_R_MAX;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < SHUNT_R_MAX; i++) {
		sum += after[i] - before[i];
		if (after[i] != before[i])
			reason = i;
	}
	cr_assert_eq(sum, 1, "%s: %llu reasons were counted for one packet", lab_what,
		     (unsigned long long)sum);
	return reason;
}

static struct lab_result run(struct lab *lab, int prog_fd, enum lab_hook hook,
			     const struct lab_frame *frame, uint32_t segments)
{
	uint64_t before[SHUNT_R_MAX], after[SHUNT_R_MAX];
	struct lab_result result = { 0 };
	uint32_t code;
	int r;

	reasons_read(lab, before);
	r = lab_run(lab, prog_fd, hook, frame, segments, &result.frame, &code);
	cr_assert_eq(r, 0, "%s: running %u bytes: %s", lab_what, frame->len, strerror(-r));
	reasons_read(lab, after);
	result.reason = reason_between(before, after);
	result.verdict = lab_verdict(hook, code);
	packet_parse(&result.frame, &result.packet, &result.sums_right);
	return result;
}

struct lab_result lab_ingress_frame(struct lab *lab, const struct lab_frame *frame)
{
	return run(lab, lab_ingress_fd(lab), lab->kind->hook, frame, 0);
}

struct lab_result lab_ingress_gso(struct lab *lab, const struct lab_frame *frame, uint32_t segments)
{
	return run(lab, lab_ingress_fd(lab), lab->kind->hook, frame, segments);
}

struct lab_result lab_egress_frame(struct lab *lab, const struct lab_frame *frame)
{
	return run(lab, lab_egress_fd(lab), LAB_TC, frame, 0);
}

struct lab_result lab_ingress(struct lab *lab, const struct lab_packet *packet)
{
	struct lab_frame frame;

	packet_build(packet, &frame);
	return lab_ingress_frame(lab, &frame);
}

struct lab_result lab_egress(struct lab *lab, const struct lab_packet *packet)
{
	struct lab_frame frame;

	packet_build(packet, &frame);
	return lab_egress_frame(lab, &frame);
}

uint32_t lab_jiffies(struct lab *lab)
{
	struct lab_frame frame = { .len = 64 }, out;
	uint32_t now = 0;

	cr_assert_eq(lab_run(lab, bpf_program__fd(lab->probe->progs.shunt_jiffies), LAB_TC, &frame,
			     0, &out, &now),
		     0);
	return now;
}

void lab_run_ip(const char *format, const struct shunt_addr *addr, int family)
{
	char text[INET6_ADDRSTRLEN], command[256];

	inet_ntop(family == SHUNT_V4 ? AF_INET : AF_INET6,
		  family == SHUNT_V4 ? (const void *)&addr->word_be[3] : addr, text, sizeof(text));
	snprintf(command, sizeof(command), format, text, family == SHUNT_V4 ? "32" : "128");
	cr_assert_eq(system(command), 0, "%s", command);
}
