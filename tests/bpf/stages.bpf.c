// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Single stages on inputs that tests choose, which no packet could bring about: compiled for
 * tc here and, by stages_xdp.bpf.c, for XDP.
 */
#include "hook.h"
#include "action.h"
#include "newflow.h"
#include "stages.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stage_input);
} stage_input SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STAGE_TUPLES);
	__type(key, __u32);
	__type(value, struct stage_tuple);
} stage_tuples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STAGE_TUPLES);
	__type(key, __u32);
	__type(value, struct stage_event);
} stage_events SEC(".maps");

static __always_inline struct stage_input *stage_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&stage_input, &zero);
}

/* The verdict of a reason that the test gives. */
static __always_inline int stage_finish(hook_ctx *ctx)
{
	struct stage_input *input = stage_get();

	return input ? action_finish(ctx, input->reason, input->variant) : HOOK_DROP;
}

/* The hash of one tuple, under the installation's key. */
__attribute__((noinline)) __u64 stage_hash(const struct shunt_tuple *tuple, __u64 seed,
					   __u32 affinity, __u32 prefix_len)
{
	const struct shunt_settings *settings = lookup_settings();

	if (!settings || !tuple)
		return 0;
	return shunt_choice_hash(settings->choice_key, seed, tuple, affinity, prefix_len);
}

/* Variant and backend of one tuple, as newflow_split() chooses them; the next one each run. */
static __always_inline int stage_choose(void)
{
	struct stage_input *input = stage_get();
	struct scratch *s = scratch_get();
	struct stage_tuple *t;
	__u32 index;

	if (!input || !s)
		return 1;
	index = input->next++;
	t = bpf_map_lookup_elem(&stage_tuples, &index);
	if (!t)
		return 1;
	s->pkt.tuple = t->tuple;
	s->nf.split = input->split;
	t->hash = stage_hash(&s->pkt.tuple, input->seed, input->affinity, input->prefix_len);
	t->reason = newflow_choose(input->seed, input->affinity, input->prefix_len);
	t->variant = s->nf.choice.variant;
	t->backend = s->nf.backend_index;
	return 0;
}

/* One event asks the first rate of a policy; the next one each run. */
static __always_inline int stage_limit(void)
{
	struct stage_input *input = stage_get();
	struct scratch *s = scratch_get();
	struct stage_event *e;
	__u32 index = 0;
	__u64 found;

	if (!input || !s)
		return 1;
	if (!input->step_ns)
		index = input->next++;
	e = bpf_map_lookup_elem(&stage_events, &index);
	if (!e)
		return 1;
	s->limited.client = e->client;
	s->limited.family = SHUNT_V4;
	s->limited.packets = e->units;
	s->limited.now_ns = e->now_ns;
	if (input->step_ns)
		s->limited.now_ns = shunt_fetch_add(&input->clock_ns, input->step_ns);
	found = limit_find(input->policy, 0);
	e->over = found ? limit_take(found) : 0;
	return 0;
}

#ifdef SHUNT_HOOK_XDP
SEC("xdp")
int stage_finish_xdp(struct xdp_md *ctx)
{
	return stage_finish(ctx);
}
#else
SEC("tc")
int stage_finish_tc(struct __sk_buff *ctx)
{
	return stage_finish(ctx);
}

SEC("tc")
int stage_limit_tc(struct __sk_buff *ctx)
{
	(void)ctx;
	return stage_limit();
}

SEC("tc")
int stage_choose_tc(struct __sk_buff *ctx)
{
	(void)ctx;
	return stage_choose();
}
#endif

char _license[] SEC("license") = "Dual BSD/GPL";
