/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#ifndef SHUNT_BPF_CONNECTIONS_H
#define SHUNT_BPF_CONNECTIONS_H

#include "flowmem.h"
#include "lookup.h"

/*
 * What becomes of the TCP connections of services whose signals are not off: counted where a
 * flow's state changes, so packets of established flows pay nothing.
 */

/* A SYN that comes again so soon is a copy that the network made: clients wait for a second. */
#define CONNECTIONS_REPEAT_US 250000

/* The backend has answered the SYN of @mark. */
static __always_inline void connections_time(const struct shunt_settings *settings,
					     const struct shunt_flow *flow, __u32 mark,
					     struct shunt_counters *c)
{
	__u32 us = shunt_syn_age_us(mark, bpf_ktime_get_ns(),
				    (__u32)bpf_jiffies64() - flow->created_jiffies,
				    settings->jiffy_us);
	__u32 bucket = flow->variant * SHUNT_TIME_BUCKETS + shunt_time_bucket(us);
	struct shunt_connect_time *time = bpf_map_lookup_elem(&shunt_connect_times, &bucket);

	c->connect_us += us;
	c->connects_timed++;
	if (time)
		shunt_fetch_add(&time->connections, 1);
}

/*
 * Is it the first time that the client has waited in vain for an answer to its SYN? Its mark goes:
 * nothing more is told of it before the answer, and which SYN that is for nobody knows.
 */
static __always_inline int connections_is_unanswered(struct shunt_flow *flow, __u32 mark,
						     __u32 jiffy_us)
{
	__u64 age_us = (__u64)((__u32)bpf_jiffies64() - flow->created_jiffies) * jiffy_us;

	return age_us >= CONNECTIONS_REPEAT_US &&
	       shunt_cmpxchg(&flow->backend_isn, mark, 0) == mark;
}

/*
 * What those who judge are told of a flow. Where its responses are seen a failure stands beside
 * them; elsewhere connections stand beside each other.
 */
#define CONNECTIONS_OF(flow, code, outcome) ((flow)->flags & SHUNT_FLOW_HTTP ? (code) : (outcome))

/* What connections_tell() says. */
#define CONNECTIONS_CODE(told) ((told)&0xffff)
#define CONNECTIONS_AGAIN      0x10000

/**
 * connections_tell - count what has become of a connection
 * @ref:     of its flow, as the lookup gave it
 * @tracked: enum shunt_ft_tracked
 * @mark:    of its SYN, while it was not answered
 *
 * Of one that has been unanswered it is not told that it was refused in the end.
 *
 * Return: CONNECTIONS_CODE() is what it is to those who judge backends by responses, or 0: nothing.
 * With CONNECTIONS_AGAIN the client has waited in vain, and sends its SYN again.
 */
__attribute__((noinline)) int connections_tell(__u64 ref, __u32 tracked, __u32 mark)
{
	const struct shunt_settings *settings = lookup_settings();
	struct shunt_flow *flow = shunt_ft_flow(FT, SHUNT_FT_INDEX(ref));
	__u32 backend = flow ? flow->backend : 0;
	struct shunt_counters *c = bpf_map_lookup_elem(&shunt_backend_counters, &backend);

	if (!settings || !flow || !c || !shunt_ft_is_fresh(flow, SHUNT_FT_LIFE(ref)))
		return 0;
	switch (tracked) {
	case SHUNT_FT_ACCEPTED:
		if (shunt_syn_is_timed(mark))
			connections_time(settings, flow, mark, c);
		break;
	case SHUNT_FT_PROMOTED:
		c->established++;
		return CONNECTIONS_OF(flow, 0, SHUNT_CONNECTED);
	case SHUNT_FT_REFUSED:
		c->refused++;
		return CONNECTIONS_OF(flow, 502, SHUNT_NOT_CONNECTED);
	case SHUNT_FT_REPEATED:
		if (!connections_is_unanswered(flow, mark, settings->jiffy_us))
			break;
		if (shunt_syn_is_refused(mark))
			return CONNECTIONS_AGAIN;
		c->unanswered++;
		return CONNECTIONS_AGAIN | CONNECTIONS_OF(flow, 504, SHUNT_NOT_CONNECTED);
	case SHUNT_FT_CUT:
		c->reset++;
		return CONNECTIONS_OF(flow, 502, SHUNT_CUT_OFF);
	case SHUNT_FT_CLOSED:
		c->closed++;
		break;
	}
	return 0;
}

#endif
