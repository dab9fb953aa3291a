// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the kernel decides by responses, on events whose time and throws a test chooses. */
#include "hook.h"
#include "streams.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct stream_input);
} stream_input SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, STREAM_EVENTS);
	__type(key, __u32);
	__type(value, struct stream_event);
} stream_events SEC(".maps");

static __always_inline struct stream_input *stream_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&stream_input, &zero);
}

static __always_inline __u64 stream_now(void)
{
	struct stream_input *input = stream_get();

	return input ? input->now_ns : 0;
}

static __always_inline __u32 stream_random(void)
{
	struct stream_input *input = stream_get();

	return input ? input->random : 0;
}

#define bpf_ktime_get_ns      stream_now
#define bpf_get_prandom_u32() stream_random()

#include "guard.h"

static __always_inline void stream_response(struct stream_event *e)
{
	__u32 now;

	guard_record(e->breaker, e->instance, e->now_ns, e->code, e->told);
	e->done = shunt_breaker_check(GUARD_BK, e->breaker, e->instance, e->now_ns);
	now = dead_man_count(e->variant, e->code);
	e->worse = now ? dead_man_judge(e->variant, now) : 0;
	e->did = 0;
	if (shunt_eject_record(EJECT_EJ, e->variant, e->backend, e->code))
		e->did = shunt_eject_judge(EJECT_EJ, e->variant, e->backend, e->code,
					   SHUNT_EJECT_TIME(e->now_ns));
}

static __always_inline void stream_clear(__u32 variant)
{
	struct shunt_overlay *overlay = bpf_map_lookup_elem(&shunt_overlay, &variant);

	if (overlay)
		SHUNT_WRITE_ONCE(overlay->tripped, 0);
}

/* One event; the next one each run. */
SEC("tc")
int stream_run(struct __sk_buff *ctx)
{
	struct stream_input *input = stream_get();
	struct stream_event *e;
	__u32 index;

	(void)ctx;
	if (!input)
		return 1;
	index = input->next++;
	e = bpf_map_lookup_elem(&stream_events, &index);
	if (!e)
		return 1;
	input->now_ns = e->now_ns;
	input->random = e->random;
	if (e->kind == STREAM_ADMIT) {
		e->done = shunt_breaker_admit(GUARD_BK, e->breaker, e->instance, bpf_ktime_get_ns(),
					      bpf_get_prandom_u32());
		e->did = eject_refuses(e->variant, e->backend, e->backend & 1);
	} else if (e->kind == STREAM_RESPONSE)
		stream_response(e);
	else
		stream_clear(e->variant);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
